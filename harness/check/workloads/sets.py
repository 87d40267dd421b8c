"""A set that is filled and read at the end: what was acknowledged must be there."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from harness.check._findings import Findings, brief, judge, told_op
from harness.check._text import many
from harness.check.verdict import Verdict
from harness.check.workloads._ops import Moments, answered, at, by_key, collection, missing, moments
from harness.history import History, Op, hashable


@dataclass(frozen=True)
class SetCheck:
    """The check that `set_` makes."""

    name: str = "set"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        when = moments(history)
        found = Findings("lost", "of-refused", "unexpected")
        counts = {"attempted": 0, "acknowledged": 0, "read": 0, "recovered": 0}
        reads = 0
        for key, ops in by_key(op for op in history.ops if op.f in ("add", "read")).items():
            adds = [op for op in ops if op.f == "add"]
            counts["attempted"] += len(adds)
            last = _last_read(ops, when)
            if last is not None:
                reads += 1
                _judge_read(key, adds, last, when, found, counts)
        unknown = None
        if not reads:
            unknown = missing(
                "no read of the set was answered (expected: add, and read at the end)"
            )
        elif not counts["acknowledged"] and not counts["read"]:
            unknown = missing("no add was acknowledged before the last read, which is empty")
        told = (
            f"{many(counts['acknowledged'], 'acknowledged add')}, {counts['read']} in the last "
            f"read, {counts['recovered']} recovered"
        )
        return judge(
            self.name, began, found, ops=len(history), told=told, unknown=unknown, data=counts
        )


def set_() -> SetCheck:
    """Check that the last read of a set holds what was added and nothing else.

    Ops: `add` (value: the element) and `read` (answers with the list of all elements). Only the
    answered read that ended last counts. Anomalies: `lost`, acknowledged before that read began
    and not in it; `of-refused`, in it though every add of it certainly failed; `unexpected`, in it
    and never added. Elements of unknown outcome may be there (they count as `recovered`).

    Source: Jepsen, `checker/set`, which also calls lost what was acknowledged only after the read
    had begun, and takes elements of failed adds for recovered. `unknown`: no read was answered, or
    nothing was acknowledged and nothing read. O(n).

    Example: add 1 ok, add 2 ok, read [1] is `invalid`, `lost`.
    """
    return SetCheck()


def _last_read(ops: Sequence[Op], when: Moments) -> Op | None:
    reads = [op for op in answered(ops, ("read",)) if collection(op.result) is not None]
    return max(reads, key=when.end, default=None)


def _judge_read(
    key: Hashable,
    adds: Sequence[Op],
    last: Op,
    when: Moments,
    found: Findings,
    counts: dict[str, int],
) -> None:
    seen = collection(last.result) or frozenset()
    due: dict[Hashable, Op] = {}
    perhaps: set[Hashable] = set()
    refused: dict[Hashable, Op] = {}
    for op in adds:
        element = hashable(op.value)
        if op.outcome == "fail":
            refused[element] = op
        elif when.before(op, last) or (op.outcome == "ok" and not when.realtime):
            due[element] = op
        else:
            perhaps.add(element)
    counts["acknowledged"] += len(due)
    counts["read"] += len(seen)
    counts["recovered"] += len((seen & perhaps) - due.keys())
    for element in sorted(due.keys() - seen, key=lambda lost: due[lost].index):
        op = due[element]
        sentence = f"{told_op(op, f'added {brief(element)}')}{at(key)}, and the last read misses it"
        found.add("lost", sentence, op, last)
    for element in sorted(seen - due.keys() - perhaps, key=repr):
        if element in refused:
            op = refused[element]
            sentence = f"{brief(element)}{at(key)} is in the last read, and its add had failed"
            found.add("of-refused", sentence, op, last)
        else:
            sentence = f"{brief(element)}{at(key)} is in the last read, and nobody ever added it"
            found.add("unexpected", sentence, last)
