"""Transactions that append to lists and read them: every read tells the order of all appends.

The longest read of a key is the order of its versions; the other reads must be prefixes of it
(Kingsbury and Alvaro, Elle, VLDB 2020, section 4). So a read is known by its key and its length
alone, which is what makes this fast: whole reads are compared as slices, and what is left are
numbers in arrays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from harness.check.budget import Budget
from harness.check.isolation.transactions import (
    READS,
    MicroOps,
    UnfitError,
    micro_ops,
    unfit_micro_op,
    written_twice,
)
from harness.history import Op

_ROUNDS = 2048  # ops between two looks at the budget
_NOTHING: list[Any] = []


@dataclass
class Lists:
    """What the transactions did, by number: of a transaction, a key, an append and a read.

    Those that may have been committed are 0, 1 …, the nodes of the graph; those that failed are
    -2, -3 ….
    """

    ops: list[Op] = field(default_factory=list)
    failed: list[Op] = field(default_factory=list)
    keys: dict[Any, int] = field(default_factory=dict)
    names: list[Any] = field(default_factory=list)
    appends: list[dict[Any, int]] = field(default_factory=list)
    """Of each key: its elements, and the append of each."""
    longest: list[list[Any]] = field(default_factory=list)
    """Of each key: the longest read."""
    writer: list[int] = field(default_factory=list)
    """Of each append: the transaction, or -2, -3 … for those that failed."""
    reader: list[int] = field(default_factory=list)
    read_key: list[int] = field(default_factory=list)
    read_value: list[list[Any]] = field(default_factory=list)
    repeated: list[tuple[int, MicroOps, int]] = field(default_factory=list)
    """Transactions that met a key more than once, with their first read."""

    def op(self, number: int) -> Op:
        """The transaction of that number, whether it failed or not."""
        return self.ops[number] if number >= 0 else self.failed[-2 - number]


def collect(ops: Iterable[Op], budget: Budget) -> Lists:
    """Number everything. O(micro-ops). Raises `UnfitError`, and TypeError for what has no hash."""
    lists = Lists()
    keys, appends, longest = lists.keys, lists.appends, lists.longest
    writer, reader = lists.writer, lists.reader
    read_key, read_value = lists.read_key, lists.read_value
    met: list[int] = []
    for count, op in enumerate(ops):
        if not count % _ROUNDS:
            budget.demand()
        ok = op.outcome == "ok"
        if op.outcome == "fail":
            number = -2 - len(lists.failed)
            lists.failed.append(op)
        else:
            number = len(lists.ops)
            lists.ops.append(op)
        micros = micro_ops(op)
        first_read = len(reader)
        again = False
        for micro in micros:
            try:
                f, key, value = micro
            except (TypeError, ValueError):
                raise unfit_micro_op(op, micro, '["append", …]') from None
            slot = keys.get(key)
            if slot is None:
                slot = keys[key] = len(keys)
                lists.names.append(key)
                appends.append({})
                longest.append(_NOTHING)
                met.append(-1)
            if met[slot] == count:
                again = True
            met[slot] = count
            if f == "append":
                if appends[slot].setdefault(value, len(writer)) != len(writer):
                    raise written_twice(op, key, value)
                writer.append(number)
            elif f not in READS:
                raise unfit_micro_op(op, micro, '["append", …]')
            elif ok:
                if value is None:
                    value = _NOTHING
                elif not isinstance(value, list):
                    value = _as_list(op, value)
                reader.append(number)
                read_key.append(slot)
                read_value.append(value)
                if len(value) > len(longest[slot]):
                    longest[slot] = value
        if again:
            lists.repeated.append((number, micros, first_read))
    return lists


def _as_list(op: Op, value: Any) -> list[Any]:
    if isinstance(value, tuple):
        return list(value)
    raise UnfitError(f"op {op.index} read {value!r}, which is no list")
