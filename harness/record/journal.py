"""The journal: what the harness did and saw, one typed event a line, written at once (D5).

It is the one source for the terminal, the report and replay: they listen to it or read it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from harness.errors import UnreadableError


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened `time` nanoseconds after the run's start.

    Names: `run`, `phase`, `fault` (with `step` asked, undo, injected, proved, healing, healed; or
    failed and undone), `node` (with `step` started, exited), `progress`, `note`, `end`.
    """

    time: int
    name: str
    data: dict[str, Any]

    @property
    def at_s(self) -> float:
        """Seconds since the run's start."""
        return self.time / 1e9


Listener = Callable[[Event], None]


class Journal:
    """Appends events to `journal.jsonl`, each in one unbuffered write, and tells listeners."""

    def __init__(self, path: Path, start_ns: int, listeners: list[Listener] | None = None) -> None:
        self._path = path
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._start_ns = start_ns
        self.listeners: list[Listener] = listeners or []

    def write(self, name: str, **data: Any) -> Event:
        """Record that `name` happened now."""
        event = Event(time.monotonic_ns() - self._start_ns, name, data)
        line = {"time": event.time, "event": name, **data}
        self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self.tell(event)
        return event

    def progress(self, **data: Any) -> None:
        """Tell listeners how the run is doing; not worth a line in the file."""
        self.tell(Event(time.monotonic_ns() - self._start_ns, "progress", data))

    def tell(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    def mark(self) -> int:
        """Where the journal is now, in bytes."""
        return os.fstat(self._file.fileno()).st_size

    def forget(self, begin: int, end: int, keep: Path) -> None:
        """Take what was written between two marks out of the journal, and write it to `keep`."""
        data = self._path.read_bytes()
        keep.write_bytes(data[begin:end])
        self._file.truncate(0)
        self._file.write(data[:begin] + data[end:])

    def close(self) -> None:
        """Safe to call twice."""
        self._file.close()


def read_journal(path: Path) -> Iterator[Event]:
    """The events of a journal. A half-written last line, as a killed run leaves it, is left out;
    other damage raises `UnreadableError` with file and line."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    data = orjson.loads(line)
                    yield Event(data.pop("time"), data.pop("event"), data)
                except (ValueError, KeyError, AttributeError) as error:
                    if not line.endswith(b"\n"):
                        return
                    raise UnreadableError(
                        f"{path}:{number}: this line is no event of a journal.",
                        why=f"{type(error).__name__}: {error}",
                        do="The file was changed or damaged after the run; use another run.",
                    ) from None
    except OSError as error:
        raise UnreadableError(
            f"{path} cannot be read.", why=str(error), do="Name the folder of a finished run."
        ) from None
