"""The longest prefix of an illegal history that is legal, where a monitor found it illegal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.check.budget import Budget
from harness.check.models import Model
from harness.check.monitors import decide
from harness.check.search import Search
from harness.history import Op

_SEARCHED = 5000
"""Ops of a prefix up to which a legal order of it is looked for: more take seconds."""


@dataclass(frozen=True)
class Prefix:
    """`blocked` is the op whose answer no order allows, `count` the number of ops that ended before
    it, which do have an order; `order` is one, if it was looked for and found."""

    blocked: Op
    count: int
    order: list[Op]


def longest_prefix(
    model: Model, ops: Sequence[Op], proving: Sequence[Op], budget: Budget
) -> Prefix | None:
    """The prefix of `ops`, of which `proving` show that they are illegal. None if there is no end
    to be seen. Raises `OverBudgetError`. O(log n) runs of the monitor, most often one.

    A prefix has the ops that had ended by some moment; the others that had begun are pending.
    """
    ends = sorted(op.end_index for op in ops if op.end_index is not None)
    last = max((op.end_index for op in proving if op.end_index is not None), default=None)
    if last is None:
        return None
    # The first completion with which it is illegal is at `high` at the latest.
    low, high = 0, ends.index(last)
    middle = high - 1
    while low < high:
        judgement = decide(model, _cut(model, ops, ends[middle]), budget)
        if judgement is not None and not judgement.legal:
            high = middle
        else:
            low = middle + 1
        middle = (low + high) // 2
    blocked = next(op for op in ops if op.end_index == ends[high])
    before = _cut(model, ops, ends[high - 1]) if high else []
    return Prefix(blocked, high, _order(model, before, budget))


def _cut(model: Model, ops: Sequence[Op], last: int) -> Sequence[Op]:
    """The history up to the record `last`."""
    cut = []
    for op in ops:
        if op.index > last:
            break
        if op.end_index is None or op.end_index <= last:
            cut.append(op)
        elif op.outcome == "ok":
            cut.append(replace(op, outcome="info", result=None, end=None, end_index=None))
    return model.told(cut)


def _order(model: Model, ops: Sequence[Op], budget: Budget) -> list[Op]:
    if len(ops) > _SEARCHED:
        return []
    order: list[Op] = []
    for group in model.split(ops):
        search = Search(model, model.entries(group), model.start(group))
        found = search.advance(1000 + 2 * len(group), budget)
        if found.answer != "legal":
            return []
        order += [entry.source for entry in found.prefix]
    return order
