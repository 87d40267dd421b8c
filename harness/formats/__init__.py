"""Histories in: reads what this harness, Jepsen, elle-cli and Porcupine have recorded.

    from harness.formats import read

    history = read(Path("history.edn"))

Every reader streams, and refuses what is damaged or half-written: no history is better than a wrong
one. What the formats are, and how foreign ops become a `History`, is told at `read`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import orjson

from harness import collector
from harness.errors import UnreadableError, UsageError
from harness.formats._detect import detected
from harness.formats._edn import Edn
from harness.formats._json import Json
from harness.formats._log import logged
from harness.formats._pairing import paired, taken_apart
from harness.formats._sequence import op_maps
from harness.formats._source import AGAIN, Source
from harness.history import History, Phase, Record, read_records

__all__ = ["FORMATS", "from_maps", "read"]

OpMaps = Iterator[Mapping[Any, Any]]

_FOREIGN: Mapping[str, Callable[[Source], OpMaps]] = {
    "edn": lambda source: op_maps(source, Edn()),
    "json": lambda source: op_maps(source, Json()),
    "jepsen-log": logged,
    "porcupine-kv": lambda source: op_maps(source, Edn()),
}

FORMATS = ("auto", "jsonl", *_FOREIGN)
"""What `read` takes as `format`."""


def read(path: str | PathLike[str], format: str = "auto", *, independent: bool = False) -> History:
    """The history in a file, or in the folder of a run (then with its phases).

    `jsonl` is this harness's own (docs/runs.md). The others are sequences of op maps:

    - `edn`: Jepsen's, one map after another or one vector or list of them. Keywords and symbols
      become strings, nil None, sets lists; of tagged literals the value is taken.
    - `json`: elle-cli's, one array of objects or one object after another.
    - `jepsen-log`: lines `INFO  jepsen.util - 3\\t:ok\\t:read\\t1`; other lines are ignored. A
      `cas` that failed saw another value (error `MISMATCH`), unless the line names another error.
    - `porcupine-kv`: EDN maps of `get`, `put` and `append` with `:key` and `:value`.

    With `independent`, every value is a pair of a key and the value itself, as in tests of Jepsen's
    that work on many keys (`jepsen.independent`); the file itself does not tell.

    `auto` looks at the beginning of the file. Op maps have `type` and `value`, and may have `f`
    (else `txn`), `key`, `process` (else all ops belong to process 0), `index` (else their place),
    `time` in nanoseconds (else, or where times fall, ops start and end at their index), `node`,
    `final`, `error` or `exception`. Ops of the nemesis are left out. Processes with other names
    get numbers, and so does one that goes on after an `info` op. Ops never completed are `info`.
    Completions in a history that has no invocations are ops that start and end at their index, and
    `realtime` is False.

    O(n) in time; holds the ops and about a megabyte of the file. Raises `UnreadableError` with
    file, line and reason where the file is damaged, half-written, empty or of no known format
    (only the half line that a killed run leaves behind at the end of a `jsonl` is left out), and
    `UsageError` if there is no such format.
    """
    path = Path(path)
    if format not in FORMATS:
        raise UsageError(f"There is no format {format!r}.", do=f"Formats: {', '.join(FORMATS)}.")
    phases: tuple[Phase, ...] = ()
    if path.is_dir():
        phases = _phases(path / "run.json")
        path = path / "history.jsonl"
    try:
        with collector.paused():
            history = _read(path, format, independent)
    except OSError as error:
        raise UnreadableError(
            f"{path} cannot be read.",
            why=str(error),
            do="Name the file of a history, or the folder of a run.",
        ) from None
    if not history.ops:
        raise UnreadableError(
            f"{path} holds no ops.",
            why="Nothing in it is an op of a client; those of the nemesis do not count.",
            do=f"Name a file with ops in one of the formats: {', '.join(FORMATS)}.",
        )
    return replace(history, phases=phases) if phases else history


def from_maps(maps: Iterable[Mapping[Any, Any]]) -> History:
    """The history in op maps that are read already, as `read` would make it of a file. O(n).

    Raises `UnreadableError` that names the map, counted from 1.
    """
    place = 0

    def counted() -> OpMaps:
        nonlocal place
        for place, line in enumerate(maps, start=1):  # noqa: B007 (`refused` reads it)
            yield line

    def refused(why: str) -> UnreadableError:
        return UnreadableError(f"Op map {place} cannot be.", why=why, do=AGAIN)

    return paired(counted(), refused)


def _phases(path: Path) -> tuple[Phase, ...]:
    """The phases that a run's identity names; none where that is missing or not whole."""
    try:
        told = orjson.loads(path.read_bytes())["phases"]
        return tuple(Phase(name, start, end) for name, start, end in told)
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _read(path: Path, format: str, independent: bool) -> History:
    with path.open("rb") as file:
        name = detected(path, file, FORMATS) if format == "auto" else format
        if name == "jsonl":
            if independent:
                raise UsageError(
                    f"{path} names the key of every op.", do="Leave `independent` out."
                )
            return _ours(path)
        source = Source(path, file)
        maps = _FOREIGN[name](source)
        if independent:
            maps = taken_apart(maps, source.damaged_here)
        return paired(maps, source.damaged_here)


def _ours(path: Path) -> History:
    line = 0

    def counted() -> Iterator[Record]:
        nonlocal line
        for line, record in enumerate(read_records(path), start=1):  # noqa: B007 (used below)
            yield record

    try:
        return History.of(counted())
    except UnreadableError as error:
        if error.what.startswith(str(path)):
            raise
        what = f"{path}:{line}: {error.what}"
        raise UnreadableError(what, why=error.why, do=error.do) from None
