"""Comments: who sees a later write sees all that had ended before it began."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from harness.check._findings import Findings, brief, judge, told_op
from harness.check._text import many
from harness.check.verdict import Verdict
from harness.check.workloads._ops import (
    READS,
    WRITES,
    Moments,
    answered,
    at,
    by_key,
    collection,
    missing,
    moments,
)
from harness.history import History, Op, hashable


@dataclass(frozen=True)
class Comments:
    """The check that `comments` makes."""

    name: str = "comments"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        when = moments(history)
        found = Findings("missing-earlier")
        reads = writes = compared = 0
        for key, ops in by_key(
            op for op in history.ops if op.f in (*READS, *WRITES, "add")
        ).items():
            written = [op for op in ops if op.f not in READS and op.outcome != "fail"]
            answers = [op for op in answered(ops, READS) if collection(op.result) is not None]
            reads += len(answers)
            writes += len(written)
            compared += _judge_reads(key, written, answers, when, found)
        unknown = None
        if not compared:
            unknown = missing(
                "no read saw a write before which another had ended (expected: write of an id, "
                "and read of all ids)"
            )
        told = f"{many(writes, 'write')}, {many(reads, 'read')}, {compared} of them compared"
        return judge(
            self.name,
            began,
            found,
            ops=len(history),
            told=told,
            unknown=unknown,
            data={"writes": writes, "reads": reads, "compared": compared},
        )


def comments() -> Comments:
    """Check that no read shows a write without those that had ended before it began.

    Ops: `write` or `add` (value: an id, written once) and `read` (answers with the list of all
    ids). Anomaly: `missing-earlier`: T1 had ended before T2 began, and a read shows T2 without T1,
    which strict serializability forbids.

    Source: Jepsen's test of CockroachDB (`comments`). `unknown`: no read saw a write before which
    another one had ended. O(n log n) in the sizes of all reads.

    Example: write 1 ok, then write 2 ok, while a read answers [2] is `invalid`.
    """
    return Comments()


def _judge_reads(
    key: Hashable, writes: Sequence[Op], reads: Sequence[Op], when: Moments, found: Findings
) -> int:
    """How many reads there were something to demand of."""
    made: dict[Hashable, Op] = {}
    for op in writes:
        made.setdefault(hashable(op.value), op)
    ended = sorted((op for op in writes if op.outcome == "ok"), key=when.end)
    ends = [when.end(op) for op in ended]
    started = {value: when.start(op) for value, op in made.items()}
    demands = []
    for read in reads:
        seen = collection(read.result) or frozenset()
        last = max(seen & started.keys(), key=started.__getitem__, default=None)
        if last is not None and (number := bisect_left(ends, started[last])):
            demands.append((number, read, made[last]))
    # In order of how much is demanded, so that what is due only grows.
    due: set[Hashable] = set()
    place = 0
    for number, read, last_seen in sorted(demands, key=lambda demand: demand[0]):
        due.update(hashable(op.value) for op in ended[place:number])
        place = number
        absent = due - (collection(read.result) or frozenset())
        if absent:
            lacking = sorted((made[one] for one in absent), key=when.start)
            told = brief([op.value for op in lacking])
            sentence = (
                f"{told_op(read, f'saw {brief(last_seen.value)}{at(key)} without {told}')}, "
                "which had been acknowledged before that was begun"
            )
            found.add("missing-earlier", sentence, lacking[0], last_seen, read)
    return len(demands)
