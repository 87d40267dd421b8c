"""The recorder of the history: every invocation and completion, in order, soon on disk (D5)."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from harness.errors import BrokenError
from harness.history import Op, Outcome

FLUSH_INTERVAL_S = 0.1

RECENT = 20_000
"""How many ops are remembered as those that ended last: seconds of a fast workload."""

_BUFFER_BYTES = 1 << 20
_LINE = orjson.OPT_APPEND_NEWLINE


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a history: the ops before it, and the bytes of its file."""

    ops: int = 0
    size: int = 0


class Recorder:
    """Writes ops to `history.jsonl` and keeps them for the checks.

    One event loop calls it, so the order of records is the order in which things happened.
    It refuses completions that cannot be: of an op that is not open, or of an unknown kind; such a
    history would be judged wrongly, and silently. Values must be JSON.
    """

    def __init__(self, path: Path, start_ns: int) -> None:
        self.ops: list[Op] = []
        self.recent: deque[tuple[int, Op]] = deque(maxlen=RECENT)
        """The ops that ended last, with the moment: also those of which nothing is known."""
        self.in_flight = 0
        self.outcomes: dict[str, int] = {"ok": 0, "fail": 0, "info": 0}
        self._start_ns = start_ns
        self._path = path
        self._index = 0
        self._open: dict[int, Op] = {}
        self._retired: set[int] = set()
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._buffer = bytearray()

    def now(self) -> int:
        """Nanoseconds since the run's start."""
        return time.monotonic_ns() - self._start_ns

    def invoke(
        self,
        process: int,
        f: str,
        key: Any,
        value: Any,
        node: str | None,
        final: bool = False,
        call: Mapping[str, Any] | None = None,
    ) -> Op:
        """Record that `process` begins an operation, just before it is sent. `call` is what is to
        be known of the call beside its `value` (`harness.workload.script.call_note`)."""
        if process in self._open or process in self._retired:
            state = "has another op open" if process in self._open else "ended with an info op"
            raise _impossible(f"process {process} cannot begin {f}: it {state}")
        index = self._index
        now = time.monotonic_ns() - self._start_ns
        record: dict[str, Any] = {
            "index": index,
            "time": now,
            "process": process,
            "type": "invoke",
            "f": f,
            "key": key,
            "value": value,
            "node": node,
        }
        if final:
            record["final"] = True
        if call is not None:
            record["call"] = call
        self._write(record)
        op = Op(process, f, key, value, "info", None, now, None, index, None, node, None, final)
        self._index = index + 1
        self._open[process] = op
        self.ops.append(op)
        self.in_flight += 1
        return op

    def complete(self, op: Op, outcome: Outcome, value: Any, error: str | None = None) -> None:
        """Record how `op` ended, just after it was answered."""
        process = op.process
        if self._open.get(process) is not op:
            raise _impossible(f"{op.f} of process {process} is completed, but it is not open")
        if outcome not in self.outcomes:
            raise _impossible(f"{op.f} of process {process} is completed as {outcome!r}")
        now = time.monotonic_ns() - self._start_ns
        record: dict[str, Any] = {
            "index": self._index,
            "time": now,
            "process": process,
            "type": outcome,
            "f": op.f,
            "key": op.key,
            "value": value,
            "node": op.node,
        }
        if error is not None:
            record["error"] = error
        if op.final:
            record["final"] = True
        self._write(record)
        del self._open[process]
        op.outcome = outcome
        op.error = error
        if outcome == "info":
            self._retired.add(process)
        else:
            op.result = value
            op.end = now
            op.end_index = self._index
        self._index += 1
        self.recent.append((now, op))
        self.outcomes[outcome] += 1
        self.in_flight -= 1

    def mark(self) -> Mark:
        """Where the history is now. No op should be open."""
        self.flush()
        return Mark(len(self.ops), os.fstat(self._file.fileno()).st_size)

    def forget(self, mark: Mark, keep: Path) -> None:
        """Take all that was recorded before `mark` out of the history, and write it to `keep`."""
        self.flush()
        data = self._path.read_bytes()
        keep.write_bytes(data[: mark.size])
        self._file.truncate(0)
        self._file.write(data[mark.size :])
        del self.ops[: mark.ops]
        still_open = {id(op) for op in self._open.values()}
        ended = [op.outcome for op in self.ops if id(op) not in still_open]
        self.outcomes = {outcome: sum(one == outcome for one in ended) for outcome in self.outcomes}

    def flush(self) -> None:
        """Hand everything recorded so far to the operating system."""
        if self._buffer:
            data = self._buffer
            self._buffer = bytearray()
            self._file.write(data)

    def close(self) -> None:
        """Flush and close; safe to call twice."""
        if not self._file.closed:
            self.flush()
            self._file.close()

    def _write(self, record: dict[str, Any]) -> None:
        try:
            self._buffer += orjson.dumps(record, option=_LINE)
        except TypeError as error:
            raise BrokenError(
                f"Client returned a value that a history cannot hold, in {record['f']} of key "
                f"{record['key']!r}: {record['value']!r}.",
                why=str(error),
                do="Return numbers, strings, lists, maps, true, false or None from client methods.",
            ) from None
        if len(self._buffer) >= _BUFFER_BYTES:
            self.flush()


def _impossible(what: str) -> BrokenError:
    return BrokenError(
        f"Impossible history: {what}.",
        why="A process has at most one op open, and none after an info op.",
        do="This is a bug of the workload or client that records by itself.",
    )
