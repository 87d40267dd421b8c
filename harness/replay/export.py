"""A run as one file for another machine: its folder, and the experiment with what it imports.

The harness itself and the servers under test are not in it; which versions they had is in
`run.json`.
"""

from __future__ import annotations

import contextlib
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import harness
from harness.declare import experiment_of
from harness.errors import UsageError
from harness.plugin import IMPORTED, experiment_id
from harness.record.folder import RunFolder
from harness.report.page import report
from harness.report.reading import read

MAX_FILE_BYTES = 5_000_000
"""Of the project's files: what is larger is no source."""


def export(folder: RunFolder, root: Path, to: Path) -> list[Path]:
    """Write the run and its project's sources to the zip `to`; the files of the project at `root`
    that went in, relative to it.

    Raises `UsageError` if the experiment cannot be collected any more, or `to` cannot be written.
    """
    experiment = str(folder.read_identity()["experiment"])
    sources = sorted(_sources(experiment, root))
    name = folder.path.resolve().name
    try:
        with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.path.rglob("*")):
                inside = path.relative_to(folder.path)
                if path.is_file() and inside.parts[0] not in ("source", "shrink", "report.html"):
                    archive.write(path, f"{name}/{inside}")
            archive.writestr(f"{name}/report.html", report(read(folder), inline=True))
            for path in sources:
                archive.write(root / path, f"{name}/source/{path}")
    except OSError as error:
        raise UsageError(f"{to} cannot be written.", why=str(error)) from None
    return sources


def _sources(experiment: str, root: Path) -> set[Path]:
    """The project's files that the experiment needs: its own, the configuration of pytest, what
    was imported to collect it, whole packages of that, and the script of its load."""
    collector = _Collector(experiment)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        options = ["--collect-only", "-q", "-p", "no:cacheprovider", f"--rootdir={root}", *IMPORTED]
        pytest.main([*options, str(root / experiment.partition("::")[0])], [collector])
    if collector.item is None:
        raise UsageError(
            f"{experiment} cannot be collected.", why=output.getvalue().strip()[-2000:]
        )
    files = {collector.item.path}
    if collector.item.config.inipath is not None:
        files.add(collector.item.config.inipath)
    declared = experiment_of(getattr(collector.item, "function", None))
    if declared is not None and declared.load is not None:
        files.add(declared.load.path)
    for module in list(sys.modules.values()):
        files.update(_files_of(module, root))
    return {path.relative_to(root) for path in files if path.is_relative_to(root)}


def _files_of(module: ModuleType, root: Path) -> Iterator[Path]:
    """The files of a module of the project; of one in a package, those of the whole package: what
    nodes run is not imported here."""
    name = getattr(module, "__file__", None)
    if not isinstance(name, str):
        return
    file = Path(name).resolve()
    ours = Path(harness.__file__).parent
    installed = "site-packages" in file.parts or file.is_relative_to(ours)
    if installed or not file.is_relative_to(root) or not file.is_file():
        return
    top = root / file.relative_to(root).parts[0]
    for path in top.rglob("*") if (top / "__init__.py").is_file() else (file,):
        hidden = any(one.startswith((".", "__pycache__")) for one in path.relative_to(root).parts)
        if path.is_file() and not hidden and path.stat().st_size <= MAX_FILE_BYTES:
            yield path


class _Collector:
    """A plugin that keeps the experiment of that id."""

    def __init__(self, experiment: str) -> None:
        self._experiment = experiment
        self.item: pytest.Item | None = None

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        found = (one for one in session.items if experiment_id(one.nodeid) == self._experiment)
        self.item = next(found, None)
