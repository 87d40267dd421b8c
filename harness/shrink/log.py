"""The log of a shrink: every run of every candidate, a line each, written as it happens.

It is what a shrink that was stopped goes on from: nothing in it is run again.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from harness.errors import UnreadableError, UsageError
from harness.failure import Failure

SCHEMA = 1
"""Version of `log.jsonl`."""


@dataclass
class Known:
    """What the log tells about one candidate: whether each of its runs reproduced the failure, in
    order, and how many runs were spoilt by the infrastructure and do not count."""

    results: list[bool] = field(default_factory=list)
    spoilt: int = 0


class Log:
    """`log.jsonl` in the folder of a shrink, open for more. `known` holds what it tells."""

    def __init__(self, path: Path, plan: str, wanted: Failure) -> None:
        """Open the log of the shrink of the plan with that digest. Raises `UsageError` if it is the
        log of another or another process is writing it, `UnreadableError` if it is damaged."""
        self.known: dict[str, Known] = {}
        self.runs = 0
        self._judged: set[tuple[str, bool]] = set()
        self._file = path.open("ab", buffering=0)
        try:
            _lock(self._file, path)
            self._read(path, {"schema": SCHEMA, "plan": plan, "wanted": wanted.to_json()})
        except BaseException:
            self._file.close()
            raise

    def _read(self, path: Path, head: dict[str, Any]) -> None:
        lines = _lines(path)
        if lines and lines[0] != head:
            raise UsageError(
                f"{path} is the log of the shrink of another plan.",
                do="Name another folder, or remove this one.",
            )
        for line in lines[1:]:
            self._learn(line)
        if not lines:
            self._write(head)

    def ran(self, digest: str, what: str, *, hit: bool, counts: bool, **facts: Any) -> None:
        """Write down how one run of a candidate ended."""
        line = {"run_of": digest, "what": what, "hit": hit, "counts": counts, **facts}
        self._learn(line)
        self._write(line)

    def judged(self, digest: str, what: str, accepted: bool, said: str) -> None:
        """Write down what was decided about a candidate; once, also if it is decided again."""
        if (digest, accepted) not in self._judged:
            line = {"judged": digest, "what": what, "accepted": accepted, "because": said}
            self._learn(line)
            self._write(line)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _learn(self, line: dict[str, Any]) -> None:
        if "judged" in line:
            self._judged.add((line["judged"], line["accepted"]))
            return
        self.runs += 1
        known = self.known.setdefault(line["run_of"], Known())
        if line["counts"]:
            known.results.append(line["hit"])
        else:
            known.spoilt += 1

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def _lock(file: FileIO, path: Path) -> None:
    """Keep others from writing it, until it is closed or the process ends in whatever way."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(
            "This run is being shrunk already.",
            why=f"Another process is writing {path}.",
            do="Wait until it has ended, or end it: what it found so far is kept.",
        ) from None


def _lines(path: Path) -> list[dict[str, Any]]:
    """What a log holds. A last line that was cut off is removed."""
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    try:
        return [orjson.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        raise UnreadableError(
            f"{path} is damaged.", why=str(error), do="Remove it; the shrink begins anew."
        ) from None
