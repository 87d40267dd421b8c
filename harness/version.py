"""Which version of the harness this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def harness_version() -> str:
    """The version of the installed harness."""
    try:
        return version("chaos-harness")
    except PackageNotFoundError:
        return "unknown"
