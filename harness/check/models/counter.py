"""A counter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from harness.check.models._model import (
    INCONSISTENT,
    READ,
    Entry,
    Model,
    UnfitOpError,
    respelled,
    words,
)
from harness.history import Op


@dataclass(frozen=True)
class Counter(Model):
    """A number: `add` with a number, `inc` and `dec` (by their value, else by one), `read`.

    A read of None says nothing.
    """

    initial: Any = 0
    name: ClassVar[str] = "counter"
    functions: ClassVar[Mapping[str, str]] = words(
        add="", inc="incr increment", dec="decr decrement", read=READ
    )
    by_process: ClassVar[bool] = False

    def step(self, state: Any, op: Op) -> Any:
        if op.f == "read":
            return state if state == op.result else INCONSISTENT
        return state + op.value

    def told(self, ops: Sequence[Op]) -> Sequence[Op]:
        told = [
            op
            for op in respelled(ops, self.functions)
            if op.outcome == "ok" or (op.outcome == "info" and op.f != "read")
        ]
        told = [op for op in told if op.f != "read" or op.result is not None]
        for op in told:
            number = op.result if op.f == "read" else op.value
            by_one = op.f in ("inc", "dec") and number is None
            if not by_one and (isinstance(number, bool) or not isinstance(number, int | float)):
                raise UnfitOpError(f"a counter has numbers, not {number!r}")
        return told

    def entries(self, told: Sequence[Op]) -> list[Entry]:
        entries = []
        for op in told:
            observes = op.f == "read"
            comparable = op if observes else replace(op, f="add", value=added(op))
            entries.append(Entry(comparable, op, op.index, op.end_index, observes))
        return entries


def added(op: Op) -> Any:
    """How much an `add`, `inc` or `dec` adds."""
    if op.f == "add":
        return op.value
    by = 1 if op.value is None else op.value
    return -by if op.f == "dec" else by
