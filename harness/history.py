"""The history: what the clients did and what they were told, in Jepsen's words (D7).

A history file is JSON Lines. Each line is a `Record`: an invocation or a completion. A record of
type `invoke` opens an operation of its process; `ok`, `fail` or `info` closes it:

- `ok`: it happened, and `value` is what was answered;
- `fail`: it certainly had no effect;
- `info`: nobody knows; it may take effect at any later time, or never. The process never returns.

`History` pairs them into `Op`s, which is what checks look at, with the `Timeline` of what happened
beside them. This module depends on nothing but `harness.errors` and `harness.timeline`, so that
`harness.check` can be used with no cluster at all.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import Any, Literal, TypeAlias

import orjson

from harness.errors import UnreadableError
from harness.timeline import Timeline

SCHEMA = 1

RecordType: TypeAlias = Literal["invoke", "ok", "fail", "info"]
Outcome: TypeAlias = Literal["ok", "fail", "info"]

MISMATCH = "mismatch"
"""The `error` of an op that was refused because of the state it met (a compare-and-set whose
expected value was not there): a definite answer of a working system, unlike other failures."""


@dataclass(slots=True)
class Record:
    """One line of a history: an invocation or a completion.

    `time` is in nanoseconds since the run's start. `final` marks the reads after quiescing.
    """

    index: int
    time: int
    process: int
    type: RecordType
    f: str
    key: Any
    value: Any
    node: str | None = None
    error: str | None = None
    final: bool = False

    def to_json(self) -> dict[str, Any]:
        """The record as it stands in a file; empty optional fields are left out."""
        line = {
            "index": self.index,
            "time": self.time,
            "process": self.process,
            "type": self.type,
            "f": self.f,
            "key": self.key,
            "value": self.value,
        }
        if self.node is not None:
            line["node"] = self.node
        if self.error is not None:
            line["error"] = self.error
        if self.final:
            line["final"] = True
        return line


@dataclass(slots=True)
class Op:
    """One operation: its invocation and, if there was one, its completion.

    `value` is what was asked (written, or `[expected, new]` for a cas), `result` what was answered.
    `end` and `end_index` are None while nothing is known (`info`): the op stays pending for ever.
    """

    process: int
    f: str
    key: Any
    value: Any
    outcome: Outcome
    result: Any
    start: int
    end: int | None
    index: int
    end_index: int | None
    node: str | None = None
    error: str | None = None
    final: bool = False

    @property
    def answered(self) -> bool:
        """Whether the system gave a definite answer: it did it, or refused for what it held."""
        return self.outcome == "ok" or (self.outcome == "fail" and self.error == MISMATCH)


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the run, in nanoseconds since its start."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class History:
    """The ops of one run in order of invocation, with the nodes and phases they belong to, and
    what happened beside them.

    `phases` may be empty (a bare file); then checks look at the whole history. `realtime` is False
    where only completions are known, as in some published histories: then an op that stands before
    another need not have ended before that one began.
    """

    ops: Sequence[Op]
    nodes: Sequence[str] = ()
    phases: Sequence[Phase] = field(default=())
    timeline: Timeline = field(default_factory=Timeline)
    realtime: bool = True

    def __len__(self) -> int:
        return len(self.ops)

    def phase(self, name: str) -> Phase | None:
        """The phase of that name, or None if this history knows none."""
        return next((phase for phase in self.phases if phase.name == name), None)

    def by_key(self) -> dict[Hashable, list[Op]]:
        """The ops of each key, in order of invocation. Keys are made `hashable`."""
        parts: dict[Hashable, list[Op]] = {}
        for op in self.ops:
            parts.setdefault(hashable(op.key), []).append(op)
        return parts

    @classmethod
    def of(
        cls,
        records: Iterable[Record],
        *,
        nodes: Sequence[str] = (),
        phases: Sequence[Phase] = (),
    ) -> History:
        """Pair records into ops. Raises `UnreadableError` where no such history can have been.

        A process that has an `info` op must never be heard of again; one that has an open op
        cannot begin another. Invocations without any completion count as `info`. O(n).
        """
        ops: list[Op] = []
        opened: dict[int, Op] = {}
        retired: set[int] = set()
        last = -1
        for record in records:
            if record.index <= last:
                raise _impossible(record, f"its index does not follow {last}")
            last = record.index
            process = record.process
            if record.type == "invoke":
                if process in opened:
                    raise _impossible(record, "its process has another op open")
                if process in retired:
                    raise _impossible(record, "its process ended with an info op before")
                op = opened[process] = opened_by(record)
                ops.append(op)
                continue
            done = opened.pop(process, None)
            if done is None:
                raise _impossible(record, "its process has no op open")
            if done.f != record.f:
                raise _impossible(record, f"it completes an op {done.f!r}")
            if done.key != record.key:
                raise _impossible(record, f"it completes an op on key {done.key!r}")
            if record.time < done.start:
                raise _impossible(record, "it ended before it began")
            done.error = record.error
            if record.type == "info":
                retired.add(process)
                continue
            done.outcome = record.type
            done.result = record.value
            done.end = record.time
            done.end_index = record.index
        return cls(ops, nodes=tuple(nodes), phases=tuple(phases))

    @classmethod
    def read(
        cls, path: Path, *, nodes: Sequence[str] = (), phases: Sequence[Phase] = ()
    ) -> History:
        """The history in a JSON Lines file. Raises `UnreadableError` with file, line and reason."""
        return cls.of(read_records(path), nodes=nodes, phases=phases)


def opened_by(record: Record) -> Op:
    """The op that an invocation opens: `info` until it is completed."""
    # By position: keywords would cost a tenth of the time that reading a long history takes.
    return Op(
        record.process,
        record.f,
        record.key,
        record.value,
        "info",  # outcome
        None,  # result
        record.time,  # start
        None,  # end
        record.index,
        None,  # end_index
        record.node,
        None,  # error
        record.final,
    )


def hashable(value: Any) -> Any:
    """A JSON value as one that can be compared, hashed and kept: lists become tuples."""
    if isinstance(value, list | tuple):
        return tuple(map(hashable, value))
    if isinstance(value, Mapping):
        return frozenset((name, hashable(item)) for name, item in value.items())
    return value


def _impossible(record: Record, reason: str) -> UnreadableError:
    return UnreadableError(
        f"Record {record.index} ({record.type} {record.f} of process {record.process}) "
        f"cannot be: {reason}.",
        why="A history holds at most one open op per process, and none after an info op.",
        do="Check what wrote this history; a client must use a new process id after an info op.",
    )


def read_records(path: Path) -> Iterator[Record]:
    """The records of a JSON Lines history, one at a time.

    A last line without a line end that is no whole record is what a killed run leaves behind; it
    is left out. Any other damage raises `UnreadableError`.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield _record(orjson.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    if not line.endswith(b"\n"):
                        return
                    lacking = f"It has no {error}." if isinstance(error, KeyError) else str(error)
                    raise UnreadableError(
                        f"{path}:{number}: this line is no record of a history.",
                        why=lacking,
                        do="Expected one JSON object a line with index, time, process, type, f, "
                        "key and value.",
                    ) from None
    except OSError as error:
        raise UnreadableError(
            f"{path} cannot be read.", why=str(error), do="Name a history.jsonl of a run."
        ) from None


_TYPES: Mapping[Any, RecordType] = {
    "invoke": "invoke",
    "ok": "ok",
    "fail": "fail",
    "info": "info",
}


def _record(line: Mapping[str, Any]) -> Record:
    kind = line["type"]
    if kind not in _TYPES:
        raise ValueError(f"type {kind!r} is none of invoke, ok, fail, info")
    index, time, process = line["index"], line["time"], line["process"]
    if not (type(index) is type(time) is type(process) is int):
        wrong = next(name for name in ("index", "time", "process") if type(line[name]) is not int)
        raise ValueError(f"{wrong} {line[wrong]!r} is no whole number")
    f, node = line["f"], line.get("node")
    if type(f) is not str or not (node is None or type(node) is str):
        raise ValueError(f"f {f!r} or node {node!r} is no name")
    return Record(
        index,
        time,
        process,
        _TYPES[kind],
        shared(f),
        shared(line.get("key")),
        line.get("value"),
        shared(node),
        line.get("error"),
        line.get("final", False),
    )


def shared(text: Any) -> Any:
    """`text` as the one string of that content: a million ops have few different names."""
    return intern(text) if type(text) is str else text
