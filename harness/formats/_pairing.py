"""Op maps of foreign histories, paired into a `History`.

More lenient than `History.of` where others write histories differently (processes that go on after
an `info` op, fields that are missing), and as strict about what cannot have been.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from sys import intern
from typing import Any

from harness.errors import UnreadableError
from harness.history import History, Op, Outcome, shared

_OUTCOMES: Mapping[Any, Outcome] = {"ok": "ok", "fail": "fail", "info": "info"}
_LONGEST_ERROR = 200
"""Characters of an error that are kept: an `:exception` of Jepsen has all frames of its stack."""

Refused = Callable[[str], UnreadableError]


def paired(maps: Iterable[Mapping[Any, Any]], refused: Refused) -> History:
    """The history that the op maps tell, by the rules of `harness.formats.read`.

    `refused` makes the error for the map that was taken last, given the reason. O(n).
    """
    order = _Order(refused)
    processes = _Processes(refused)
    ops: list[Op] = []
    opened: dict[int, Op] = {}
    invoked = False
    for line in maps:
        index = order.next_index(line)
        process = processes.of(line)
        if process is None:
            continue
        time = order.next_time(line)
        kind = line.get("type")
        if kind == "invoke":
            if process in opened:
                raise refused(f"Process {line.get('process', 0)} has another op open.")
            if ops and not invoked:
                raise refused("Here an op is invoked, but those before were completed only.")
            invoked = True
            op = opened[process] = _op(line, process, time, index, refused)
            processes.took(op)
            ops.append(op)
            continue
        if type(kind) is not str or kind not in _OUTCOMES:
            raise refused(f"The type {kind!r} is none of invoke, ok, fail, info.")
        done = opened.pop(process, None)
        if done is None:
            if invoked:
                raise refused(
                    f"Process {line.get('process', 0)} has no op open that could be completed."
                )
            done = _op(line, process, time, index, refused)
            processes.took(done)
            ops.append(done)
        else:
            _demand_same(line, done, refused)
        done.error = _error(line)
        if kind == "info":
            processes.retire(process)
            continue
        done.outcome = _OUTCOMES[kind]
        done.result = _compact(line.get("value"))
        done.end = time
        done.end_index = index
    realtime = invoked or not ops
    if not (order.timed and realtime):
        for op in ops:
            op.start, op.end = op.index, op.end_index
    processes.rename()
    return History(ops, realtime=realtime)


def taken_apart(maps: Iterable[Mapping[Any, Any]], refused: Refused) -> Iterator[Mapping[Any, Any]]:
    """The op maps with the key and the value that their values are pairs of."""
    for line in maps:
        value = line.get("value")
        if isinstance(value, list | tuple) and len(value) == 2:
            yield {**line, "key": value[0], "value": value[1]}
        elif value is None or isinstance(line.get("process"), str):
            yield line  # (nobody knows what was answered, or it is the nemesis)
        else:
            raise refused(f"The value {value!r} is no pair of a key and a value.")


def _op(line: Mapping[Any, Any], process: int, time: int, index: int, refused: Refused) -> Op:
    f = line.get("f")
    if f is None:
        f = "txn"
    elif type(f) is not str:
        raise refused(f"The f {f!r} is no name.")
    node = line.get("node")
    return Op(
        process,
        shared(f),
        shared(line.get("key")),
        _compact(line.get("value")),
        "info",  # outcome
        None,  # result
        time,  # start
        None,  # end
        index,
        None,  # end_index
        shared(node) if type(node) is str else None,
        None,  # error
        line.get("final") is True,
    )


def _demand_same(line: Mapping[Any, Any], op: Op, refused: Refused) -> None:
    f, key = line.get("f"), line.get("key")
    if f is not None and f != op.f:
        raise refused(f"This {f!r} completes an op {op.f!r} of process {op.process}.")
    if key is not None and op.key is not None and key != op.key:
        raise refused(f"This op on key {key!r} completes one on key {op.key!r}.")


def _error(line: Mapping[Any, Any]) -> str | None:
    error = line.get("error")
    if error is None:
        error = line.get("exception")
    if error is None:
        return None
    if type(error) is str:
        return intern(error)
    text = json.dumps(error, default=str) if not isinstance(error, dict) else repr(error)
    return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}…"


def _compact(value: Any) -> Any:
    # The words of a million micro-ops ([["append", 4, 2], …]) would be a million strings.
    if type(value) is list:
        for part in value:
            if type(part) is list and part and type(part[0]) is str:
                part[0] = shared(part[0])
        return value
    return shared(value)


class _Order:
    """Where in the history an op map stands, and when.

    Indexes rise; where one is missing, it and those after it count on from the last. `timed` stays
    True while every op has a time and none is before the last: else the times say nothing.
    """

    def __init__(self, refused: Refused) -> None:
        self.timed = True
        self._refused = refused
        self._index = -1
        self._given = -1
        self._complete = True
        self._time = 0

    def next_index(self, line: Mapping[Any, Any]) -> int:
        index = line.get("index")
        if index is None:
            self._complete = False
        elif type(index) is not int:
            raise self._refused(f"The index {index!r} is no whole number.")
        elif index <= self._given:
            raise self._refused(f"Its index {index} does not follow {self._given}.")
        else:
            self._given = index
        self._index = index if index is not None and self._complete else self._index + 1
        return self._index

    def next_time(self, line: Mapping[Any, Any]) -> int:
        time = line.get("time")
        if type(time) is int and time >= self._time:
            self._time = time
            return time
        if time is not None and type(time) not in (int, float):
            raise self._refused(f"The time {time!r} is no number.")
        self.timed = False
        return self._index


class _Processes:
    """The numbers of processes. One that goes on after an `info` op is a new one from then on; one
    that has a name gets a number in the end, and is negative until then."""

    def __init__(self, refused: Refused) -> None:
        self._refused = refused
        self._given: bool | None = None
        self._names: dict[str, int] = {}
        self._retired: set[int] = set()
        self._lives: dict[int, int] = {}  # process → which new one it is at present
        self._renamed: list[tuple[Op, int]] = []
        self._highest = 0
        self._count = 0

    def of(self, line: Mapping[Any, Any]) -> int | None:
        """The process as the file has it; None if the op is none of a client."""
        process = line.get("process")
        if process is None:
            return self._number(0, given=False)
        if type(process) is str:
            if process.lstrip(":").startswith("nemesis"):
                return None
            if process.isdecimal():
                process = int(process)
            else:
                process = self._names.setdefault(process, -1 - len(self._names))
        elif type(process) is not int or process < 0:
            raise self._refused(f"The process {process!r} is neither a number nor a name.")
        return self._number(process, given=True)

    def took(self, op: Op) -> None:
        """A new op has begun."""
        process = op.process
        if process > self._highest:
            self._highest = process
        new = process < 0 and process not in self._lives
        if new or (self._retired and process in self._retired):
            self._retired.discard(process)
            self._lives[process] = self._count
            self._count += 1
        if self._lives and process in self._lives:
            self._renamed.append((op, self._lives[process]))

    def retire(self, process: int) -> None:
        """An op of that process has ended as `info`."""
        self._retired.add(process)

    def rename(self) -> None:
        """Give the ops of processes that went on their new numbers, which none in the file has."""
        for op, life in self._renamed:
            op.process = self._highest + 1 + life

    def _number(self, process: int, *, given: bool) -> int:
        if self._given is None:
            self._given = given
        elif self._given is not given:
            raise self._refused("Some ops name a process, and some do not.")
        return process
