"""Several registers that are read and written at once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from harness.check.models._model import (
    INCONSISTENT,
    Entry,
    Model,
    UnfitOpError,
    respelled,
    words,
)
from harness.history import Op, hashable

_READS, _WRITES = ("read", "r", "get"), ("write", "w", "put")


@dataclass(frozen=True)
class MultiRegister(Model):
    """Several registers: a `txn` does all of a list of `["read", key, value]` and
    `["write", key, value]` at once, one after another.

    `initial` maps keys to their values at the beginning, else None. A read of None says nothing
    where that is not None. Registers that no txn names together are judged each for itself.
    """

    initial: Any = frozenset()
    name: ClassVar[str] = "multi-register"
    functions: ClassVar[Mapping[str, str]] = words(txn="read write r w")
    by_process: ClassVar[bool] = False

    def step(self, state: Any, op: Op) -> Any:
        after = list(state)
        for reads, place, value in op.value:
            if not reads:
                after[place] = value
            elif after[place] != value:
                return INCONSISTENT
        return tuple(after)

    def start(self, told: Sequence[Op]) -> Any:
        values = dict(self.initial)
        return tuple(values.get(key) for key in _places(told))

    def told(self, ops: Sequence[Op]) -> Sequence[Op]:
        told = [op for op in respelled(ops, self.functions) if op.outcome != "fail"]
        return [op for op in told if _micro_ops(op)]  # (raises where it is none)

    def split(self, told: Sequence[Op]) -> Iterable[Sequence[Op]]:
        """Groups of registers that are connected by the ops that name several of them."""
        leader = {key: key for key in _places(told)}
        for op in told:
            keys = [hashable(key) for _, key, _ in _micro_ops(op)]
            for key in keys[1:]:
                leader[_root(leader, key)] = _root(leader, keys[0])
        groups: dict[Hashable, list[Op]] = {}
        for op in told:
            for _, key, _ in _micro_ops(op)[:1]:
                groups.setdefault(_root(leader, hashable(key)), []).append(op)
        return groups.values()

    def entries(self, told: Sequence[Op]) -> list[Entry]:
        places, initial = _places(told), dict(self.initial)
        entries = []
        for op in told:
            steps = []
            for reads, key, value in _micro_ops(op):
                key, value = hashable(key), hashable(value)
                blank = value is None and (op.outcome == "info" or initial.get(key) is not None)
                if not reads or not blank:
                    steps.append((reads, places[key], value))
            observes = all(reads for reads, _, _ in steps)
            if steps and not (observes and op.outcome == "info"):
                comparable = replace(op, value=tuple(steps))
                entries.append(Entry(comparable, op, op.index, op.end_index, observes))
        return entries

    def shown(self, state: Any, told: Sequence[Op]) -> str:
        return repr(dict(zip(_places(told), state, strict=True)))


def _micro_ops(op: Op) -> list[tuple[bool, Any, Any]]:
    """Each as whether it reads, its key and its value."""
    value = op.result if op.outcome == "ok" and op.result is not None else op.value
    steps = []
    for step in value if isinstance(value, list | tuple) else (value,):
        if not (isinstance(step, list | tuple) and len(step) == 3 and step[0] in _READS + _WRITES):
            raise UnfitOpError(f'a txn is a list of ["read" or "write", key, value], not {value!r}')
        # (of an op without an answer, nobody knows what it read)
        unread = op.outcome == "info" and step[0] in _READS
        steps.append((step[0] in _READS, step[1], None if unread else step[2]))
    return steps


def _places(told: Iterable[Op]) -> dict[Hashable, int]:
    places: dict[Hashable, int] = {}
    for op in told:
        for _, key, _ in _micro_ops(op):
            places.setdefault(hashable(key), len(places))
    return places


def _root(leader: dict[Hashable, Hashable], key: Hashable) -> Hashable:
    while leader[key] != key:
        leader[key] = key = leader[leader[key]]
    return key
