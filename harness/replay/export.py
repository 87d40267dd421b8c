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
from harness.project import file_of
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
        unfinished = to.with_name(f".{to.name}.part")
        with zipfile.ZipFile(
            unfinished, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False
        ) as archive:
            for path in sorted(folder.path.rglob("*")):
                inside = path.relative_to(folder.path)
                shrunk = inside.parts[0] == "shrink" and inside != Path("shrink/plan.json")
                if (
                    path.is_file()
                    and not shrunk
                    and inside.parts[0] not in ("source", "report.html")
                ):
                    archive.write(path, f"{name}/{inside}")
            archive.writestr(f"{name}/report.html", report(read(folder), inline=True))
            for path in sources:
                archive.write(root / path, f"{name}/source/{path}")
        unfinished.rename(to)
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
        pytest.main([*options, str(root / file_of(experiment))], [collector])
    if collector.item is None:
        raise UsageError(
            f"{experiment} cannot be collected.", why=output.getvalue().strip()[-2000:]
        )
    files = {collector.item.path}
    if collector.item.config.inipath is not None:
        files.add(collector.item.config.inipath)
    # The file is imported as a whole, and with it what its other experiments name.
    files |= collector.scripts
    # What lies beside it may be needed while it runs: compose files, what scripts import.
    if collector.item.path.parent != root:
        files.update(_below(collector.item.path.parent, root))
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
    top = file.parent
    while (top.parent / "__init__.py").is_file() and top.parent.is_relative_to(root):
        top = top.parent
    yield from _below(top, root) if (top / "__init__.py").is_file() else (file,)


def _below(folder: Path, root: Path) -> Iterator[Path]:
    """The files in a folder of the project that may be sources: neither hidden nor large, and none
    that only leads elsewhere."""
    for path in folder.rglob("*"):
        hidden = any(one.startswith((".", "__pycache__")) for one in path.relative_to(root).parts)
        small = path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_FILE_BYTES
        if small and not hidden and path.resolve().is_relative_to(root):
            yield path


class _Collector:
    """A plugin that keeps the experiment of that id."""

    def __init__(self, experiment: str) -> None:
        self._experiment = experiment
        self.item: pytest.Item | None = None
        self.scripts: set[Path] = set()
        """The k6 scripts of all experiments in the file."""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            declared = experiment_of(getattr(item, "function", None))
            if declared is not None and declared.load is not None:
                self.scripts.add(declared.load.path.resolve())
        found = (one for one in session.items if experiment_id(one.nodeid) == self._experiment)
        self.item = next(found, None)
