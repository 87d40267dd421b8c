"""Long fork: two reads that see two writes in opposite orders."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from harness import collector
from harness.check._findings import Findings, brief, judge, told_op
from harness.check._text import many
from harness.check.budget import TIMEOUT_S, Budget, OverBudgetError, limits
from harness.check.verdict import Verdict
from harness.check.workloads._ops import READS, WRITES, missing, watched
from harness.history import History, Op, hashable
from harness.units import Duration


@dataclass(frozen=True)
class LongFork:
    """The check that `long_fork` makes."""

    timeout_s: float
    memory: int
    name: str = "long-fork"

    def __call__(self, history: History) -> Verdict:
        with collector.paused():
            return self._verdict(history)

    def _verdict(self, history: History) -> Verdict:
        began = time.monotonic()
        budget = Budget(self.timeout_s, self.memory)
        found = Findings("long-fork")
        states: list[tuple[Op, dict[Hashable, Any]]] = []
        unclear: set[Hashable] = set()
        reads: _Reads = defaultdict(dict)
        unknown = None
        try:
            states += ((op, state) for op in watched(history.ops, budget) if (state := _state(op)))
            unclear |= _unclear(history.ops, [state for _op, state in states], budget)
            for op, state in watched(states, budget):
                group = frozenset(state) - unclear
                seen = frozenset(key for key in group if state[key] is not None)
                reads[group].setdefault(seen, _Read(op, seen))
            comparable = _compare(reads, found, budget)
        except OverBudgetError as error:
            comparable, unknown = True, f"Undecided after {budget.told(error.limit)}."
        count = len(states)
        if unclear:
            one = min(unclear, key=repr)
            unknown = f"Key {one!r} has several values: which reads of it are older cannot be told."
        elif not comparable:
            unknown = missing("no two reads saw part of the same two keys (expected: [[r k v] …])")
        told = f"{many(count, 'read')} of {many(len(reads), 'group')} of keys"
        return judge(
            self.name,
            began,
            found,
            ops=len(history),
            told=told,
            unknown=unknown,
            data={"reads": count, "groups": len(reads)},
        )


def long_fork(*, timeout: Duration = TIMEOUT_S, memory: int | None = None) -> LongFork:
    """Check that all reads of several keys see their writes in one order.

    Ops: of any name, with a list of micro-operations as the value: reads `[["r", key, value], …]`
    of several keys, where None means not yet written, and writes `[["w", key, 1]]`, one for each
    key. Anomaly: `long-fork`, a read that sees key x and not y, and one that sees y and not x:
    allowed by parallel snapshot isolation, not by snapshot isolation. Reads are compared by the
    keys that they have in common.

    Source: Jepsen, `tests/long_fork`; Adya, Cerone and others on (parallel) snapshot isolation.
    `unknown`: a key has two values (it is left out), there are no two reads with two keys in
    common, or a limit was passed. O(n log n) in the sizes of all reads; for groups that overlap,
    for each pair of them.

    Example: read x 1, y nil and read x nil, y 1 is `invalid`.
    """
    return LongFork(*limits(timeout, memory))


@dataclass(frozen=True, slots=True)
class _Read:
    op: Op
    seen: frozenset[Hashable]


_Reads: TypeAlias = dict[frozenset[Hashable], dict[frozenset[Hashable], _Read]]
"""Of each group of keys, one read for each set of those seen."""


def _state(op: Op) -> dict[Hashable, Any]:
    """What an answered read saw of each key; empty for all other ops."""
    steps = op.result
    if op.outcome != "ok" or not isinstance(steps, list | tuple):
        return {}
    if not all(isinstance(step, list | tuple) and len(step) == 3 for step in steps):
        return {}
    if any(step[0] not in READS for step in steps):
        return {}
    return {hashable(step[1]): hashable(step[2]) for step in steps}


def _unclear(
    ops: Iterable[Op], states: Iterable[Mapping[Hashable, Any]], budget: Budget
) -> set[Hashable]:
    """The keys that are written twice, as far as is known, or seen with two values."""
    unclear: set[Hashable] = set()
    written: set[Hashable] = set()
    for op in watched(ops, budget):
        if op.outcome == "fail" or not isinstance(op.value, list | tuple):
            continue
        for step in op.value:
            if isinstance(step, list | tuple) and len(step) == 3 and step[0] in WRITES:
                key: Hashable = hashable(step[1])
                (unclear if key in written else written).add(key)
    values: dict[Hashable, Any] = {}
    for state in watched(states, budget):
        for key, value in state.items():
            if value is not None and values.setdefault(key, value) != value:
                unclear.add(key)
    return unclear


def _compare(
    reads: _Reads,
    found: Findings,
    budget: Budget,
) -> bool:
    """Compare the reads of each group, and of groups that overlap. Whether there were any."""
    comparable = False
    holders: dict[Hashable, list[int]] = defaultdict(list)
    groups = list(reads)
    for number, group in enumerate(groups):
        budget.demand()
        comparable |= len(group) > 1 and bool(reads[group])
        _chain(reads[group].values(), found)
        shared: dict[int, int] = defaultdict(int)
        for key in group:
            for other in holders[key]:
                shared[other] += 1
            holders[key].append(number)
        for other, common in shared.items():
            if common > 1:
                budget.demand()
                keys = group & groups[other]
                both = [*reads[group].values(), *reads[groups[other]].values()]
                inner = [_Read(read.op, read.seen & keys) for read in both]
                _chain({read.seen: read for read in inner}.values(), found)
    return comparable


def _chain(reads: Iterable[_Read], found: Findings) -> None:
    # All are comparable if and only if each of them, by size, is part of the next.
    ordered = sorted(reads, key=lambda read: (len(read.seen), read.op.index))
    for one, other in pairwise(ordered):
        if not one.seen <= other.seen:
            mine = sorted(one.seen - other.seen, key=repr)
            theirs = sorted(other.seen - one.seen, key=repr)
            sentence = (
                f"{told_op(one.op, f'saw {brief(mine)} and not {brief(theirs)}')}, while process "
                f"{other.op.process} saw it the other way round"
            )
            found.add("long-fork", sentence, one.op, other.op)
