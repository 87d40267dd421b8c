"""A set."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from harness.check.models._model import (
    INCONSISTENT,
    UNSEEN,
    Entry,
    Model,
    UnfitOpError,
    lend_ends,
    respelled,
    words,
)
from harness.history import Op, hashable


@dataclass(frozen=True)
class Set(Model):
    """A set: `add` and `remove` an element, `contains` (or `read` with a value): is it there, true
    or false, and `read` the list of all.

    Where an add or remove answers true or false, that says whether it changed the set. `initial`
    lists the elements at the beginning. Without reads of all, each element is judged for itself.
    """

    initial: Any = ()
    name: ClassVar[str] = "set"
    functions: ClassVar[Mapping[str, str]] = words(add="", remove="", contains="", read="r get")
    by_process: ClassVar[bool] = False

    # A state is a whole number with a bit for each element, and so are the values of the ops that
    # the search sees: sets of thousands of elements are copied and compared in no time.

    def step(self, state: Any, op: Op) -> Any:
        if op.f in ("read", "contains"):
            return state if state & op.value == op.result else INCONSISTENT
        adds, there = op.f == "add", bool(state & op.value)
        if op.result is not None and op.result != (adds != there):
            return INCONSISTENT
        return state | op.value if adds else state & ~op.value

    def start(self, told: Sequence[Op]) -> Any:
        bits = _bits(self.initial, told)
        return sum(bits[element] for element in _elements(self.initial) if element in bits)

    def told(self, ops: Sequence[Op]) -> Sequence[Op]:
        told = []
        for op in respelled(ops, self.functions):
            if op.f == "read" and op.value is not None:
                op = replace(op, f="contains")
            changes = op.f in ("add", "remove")
            if op.outcome == "fail" or (not changes and op.result is None):
                continue
            if not changes:
                kinds = bool if op.f == "contains" else (list, tuple)
                if not isinstance(op.result, kinds):
                    answer = "true or false" if kinds is bool else "a list of the elements"
                    raise UnfitOpError(f"a {op.f} answers {answer}, not {op.result!r}")
            told.append(op)
        return told

    def split(self, told: Sequence[Op]) -> Iterable[Sequence[Op]]:
        if any(op.f == "read" for op in told):
            return (told,)
        groups: dict[Hashable, list[Op]] = {}
        for op in told:
            groups.setdefault(hashable(op.value), []).append(op)
        return groups.values()

    def entries(self, told: Sequence[Op]) -> list[Entry]:
        bits = _bits(self.initial, told)
        everything = sum(bits.values())
        entries = [_entry(op, bits, everything) for op in told]
        entries = _useful(entries)
        initial = {bits[element] for element in _elements(self.initial) if element in bits}
        lend_ends(entries, _gives, _needs, initial)
        return entries

    def shown(self, state: Any, told: Sequence[Op]) -> str:
        bits = _bits(self.initial, told)
        return repr([element for element, bit in bits.items() if state & bit])


def _elements(elements: Any) -> tuple[Hashable, ...]:
    return tuple(map(hashable, elements or ()))


def _bits(initial: Any, told: Iterable[Op]) -> dict[Hashable, int]:
    """A bit for each element that the ops name, and for the initial ones if all are read."""
    elements: dict[Hashable, None] = {}
    for op in told:
        if op.f == "read":
            elements.update(dict.fromkeys(_elements(initial)))
            elements.update(dict.fromkeys(_elements(op.result)))
        else:
            elements[hashable(op.value)] = None
    return {element: 1 << number for number, element in enumerate(elements)}


def _entry(op: Op, bits: Mapping[Hashable, int], everything: int) -> Entry:
    result: Any = None
    if op.f in ("add", "remove"):
        value = bits[hashable(op.value)]
        # (many clients answer the element itself, which says nothing)
        told = op.outcome == "ok" and isinstance(op.result, bool)
        result = op.result if told and not isinstance(op.value, bool) else None
    elif op.f == "read":
        value = everything
        result = sum(bits[element] for element in set(_elements(op.result)))
    else:
        value = bits[hashable(op.value)]
        result = value if op.result else 0
    comparable = replace(op, value=value, result=result)
    observes = op.f in ("read", "contains") or result is False
    return Entry(comparable, op, op.index, op.end_index, observes)


def _useful(entries: list[Entry]) -> list[Entry]:
    """Without the pending ops whose effect nobody saw: if they happened, nothing became of it."""
    present = absent = 0
    for entry in entries:
        op = entry.op
        if op.f in ("read", "contains"):
            present |= op.result
            absent |= op.value & ~op.result
        elif op.result is not None:
            seen = op.result != (op.f == "add")
            present |= op.value if seen else 0
            absent |= 0 if seen else op.value
    seen_by = {"add": present, "remove": absent}
    return [e for e in entries if e.op.outcome == "ok" or e.op.value & seen_by[e.op.f]]


def _gives(op: Op) -> Hashable:
    return op.value if op.f == "add" else UNSEEN


def _needs(op: Op) -> Iterable[Hashable]:
    if op.f in ("add", "remove"):
        return (op.value,) if op.result is not None and op.result != (op.f == "add") else ()
    seen, bits = op.result, []
    while seen:
        bits.append(seen & -seen)
        seen &= seen - 1
    return bits
