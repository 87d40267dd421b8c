"""Reports: pages that tell what happened in recorded runs, made from their folders alone.

`write` makes a run's `report.html`, `write_index` the overview of a folder of runs,
`write_comparison` a page of two runs on one time axis. Pages open from the disk, without a network.

`reading` reads a folder, whatever became of its run; `ops`, `faults`, `series`, `logs` make of it
what is drawn, `story` what is told; `page`, `index`, `comparison` are the pages, of the pieces in
`parts`; `assets` is the script and the style that they share.
"""

from __future__ import annotations

from pathlib import Path

from harness.record.folder import RunFolder

__all__ = ["write", "write_comparison", "write_index"]


def write(folder: RunFolder, inline: bool = False) -> Path:
    """Make `report.html` in the folder of a run, and return its path.

    The script and the style are stored once beside the runs, or with `inline` in the page itself,
    which can then be sent by mail. A run that died half-way, and files that are damaged, make a
    report that says what is missing. Raises `UnreadableError` only if this is no folder of a run,
    `UsageError` if it cannot be written to.
    """
    from harness.report.page import write_report

    return write_report(folder, inline)


def write_index(runs_dir: Path, inline: bool = False) -> Path:
    """Make `index.html` in a folder of runs: all of them, the newest first, and how often each
    experiment failed. Raises `UsageError` if the folder cannot be read or written to."""
    from harness.report.index import write_overview

    return write_overview(runs_dir, inline)


def write_comparison(a: RunFolder, b: RunFolder, inline: bool = False) -> Path:
    """Make `compare-<a>.html` in the folder of `b`: both runs on one time axis, aligned where the
    phase of the faults began, and what differed. Raises as `write` does."""
    from harness.report.comparison import write_both

    return write_both(a, b, inline)
