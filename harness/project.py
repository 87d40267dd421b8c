"""Where a project is: the folder that the names of its experiments are relative to."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UsageError


def file_of(experiment: str) -> str:
    """The test file in the id of an experiment."""
    return experiment.partition("::")[0]


def find_root(experiment: str, *places: Path) -> Path:
    """The folder in which the test file of `experiment` lies: one of `places`, or above it.

    Raises `UsageError` if there is none.
    """
    for place in places:
        resolved = place.resolve()
        for folder in (resolved, *resolved.parents):
            if (folder / file_of(experiment)).is_file():
                return folder
    raise UsageError(
        f"{experiment} is not found here.",
        why=f"Neither {places[0]} nor a folder above it holds {file_of(experiment)}.",
        do="Go to the project that the run is of, or replay a file that `harness export` made: it "
        "brings the experiment along.",
    )


def find_runs_dir(name: Path, start: Path) -> Path:
    """The folder `name` in `start` or the nearest folder above it that has one; else that in
    `start`."""
    if name.is_absolute():
        return name
    for folder in (start, *start.resolve().parents):
        if (folder / name).is_dir():
            return folder / name
    return start / name
