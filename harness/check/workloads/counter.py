"""A counter: every read lies within what was acknowledged and what was attempted."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from harness.check._findings import Findings, judge, told_op
from harness.check._text import many
from harness.check.verdict import Verdict
from harness.check.workloads._ops import READS, Moments, answered, at, by_key, missing, moments
from harness.errors import UsageError
from harness.history import History, Op

_SIGNS = {
    **dict.fromkeys(("add", "inc", "incr", "increment"), 1),
    **dict.fromkeys(("dec", "decr", "decrement"), -1),
}


@dataclass(frozen=True)
class Counter:
    """The check that `counter` makes."""

    initial: float
    name: str = "counter"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        when = moments(history)
        found = Findings("lost-increment", "phantom-increment")
        reads = adds = 0
        ops = (op for op in history.ops if op.f in READS or op.f in _SIGNS)
        for key, part in by_key(ops).items():
            answers = [op for op in answered(part, READS) if _is_number(op.result)]
            changes = [op for op in part if op.f in _SIGNS and op.outcome != "fail"]
            reads += len(answers)
            adds += len(changes)
            _judge_reads(key, self.initial, changes, answers, when, found)
        unknown = None
        if not reads or not adds:
            lacking = "read" if not reads else "add"
            unknown = missing(f"no {lacking} was answered (expected: add and read of a number)")
        told = f"{many(adds, 'increment')}, {many(reads, 'read')}"
        return judge(
            self.name,
            began,
            found,
            ops=len(history),
            told=told,
            unknown=unknown,
            data={"increments": adds, "reads": reads},
        )


def counter(*, initial: float = 0) -> Counter:
    """Check that each read of a counter lies between what must and what can have been added.

    Ops: `add` (also `inc`, `incr`; `dec`, `decr` take away; the value is how much, 1 if there is
    none; `add` may have a negative one) and `read` (answers with the number). A read is at least
    the sum of what was acknowledged before it began, and at most the sum of what was begun before
    it ended; for amounts that are taken away the other way round. `fail` counts for nothing.

    Anomalies: `lost-increment`, a read below; `phantom-increment`, a read above. Source: Jepsen,
    `checker/counter`, which knows no decrements. `unknown`: no read or no increment. O(n log n).
    That sums within the bounds may still be impossible is for `linearizable("counter")`.

    Example: add 2 ok, read 1 is `invalid`, `lost-increment`.
    """
    if isinstance(initial, bool) or not isinstance(initial, int | float):
        raise UsageError(f"A counter cannot begin with {initial!r}.", do="Give a number.")
    return Counter(initial)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _amount(op: Op) -> float:
    return _SIGNS[op.f] * (op.value if _is_number(op.value) else 1)


def _judge_reads(
    key: Hashable,
    initial: float,
    changes: Iterable[Op],
    reads: Iterable[Op],
    when: Moments,
    found: Findings,
) -> None:
    more = [op for op in changes if _amount(op) > 0]
    less = [op for op in changes if _amount(op) < 0]
    certain = {True: _Sums(more, when, ended=True), False: _Sums(less, when, ended=True)}
    possible = {True: _Sums(more, when, ended=False), False: _Sums(less, when, ended=False)}
    for read in reads:
        start, end = when.start(read), when.end(read)
        least = initial + certain[True].until(start) + possible[False].until(end)
        most = initial + possible[True].until(end) + certain[False].until(start)
        if read.result < least:
            what = told_op(read, f"read {read.result}{at(key)}")
            last = certain[True].last(start)
            shown = [] if last is None else [last]
            sentence = f"{what}, but at least {least} had been acknowledged"
            found.add("lost-increment", sentence, *shown, read)
        elif read.result > most:
            what = told_op(read, f"read {read.result}{at(key)}")
            found.add("phantom-increment", f"{what}, but {most} is the most that was added", read)


class _Sums:
    """The sum of what was acknowledged, or begun, before a moment. Each question O(log n)."""

    def __init__(self, changes: Sequence[Op], when: Moments, *, ended: bool) -> None:
        moment = when.end if ended else when.start
        kept = [op for op in changes if not ended or op.outcome == "ok"]
        self.ops = sorted(kept, key=moment)
        self.moments = [moment(op) for op in self.ops]
        self.sums = [0, *accumulate(map(_amount, self.ops))]

    def until(self, moment: int) -> float:
        return self.sums[bisect_left(self.moments, moment)]

    def last(self, moment: int) -> Op | None:
        place = bisect_left(self.moments, moment)
        return self.ops[place - 1] if place else None
