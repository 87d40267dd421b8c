"""Queues as bags: nothing comes out that did not go in, and what goes in comes out."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from harness.check._findings import Findings, brief, judge, told_op
from harness.check._text import many
from harness.check.verdict import Verdict
from harness.check.workloads._ops import Moments, at, by_key, missing, moments
from harness.history import MISMATCH, History, Op, hashable

_FUNCTIONS = ("enqueue", "dequeue", "drain")
_EMPTY = ("empty", "exhausted", MISMATCH)


@dataclass(frozen=True)
class Queue:
    """The check that `queue` makes."""

    name: str = "queue"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        when = moments(history)
        found = Findings("duplicated", "of-refused", "unexpected", "from-the-future")
        enqueued = dequeued = 0
        for key, ops in by_key(op for op in history.ops if op.f in _FUNCTIONS).items():
            enqueues, refused = _enqueues(ops)
            enqueued += sum(map(len, enqueues.values()))
            taken: Counter[Hashable] = Counter()
            for item, op in sorted(_taken(ops), key=lambda pair: when.end(pair[1])):
                dequeued += 1
                taken[item] += 1
                _judge_item(key, item, op, enqueues, refused, taken[item], when, found)
        unknown = None if dequeued else missing("nothing was taken (expected: enqueue, dequeue)")
        told = f"{enqueued} enqueued, {dequeued} dequeued"
        return judge(
            self.name,
            began,
            found,
            ops=len(history),
            told=told,
            unknown=unknown,
            data={"enqueued": enqueued, "dequeued": dequeued},
        )


@dataclass(frozen=True)
class TotalQueue:
    """The check that `total_queue` makes."""

    name: str = "total-queue"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        when = moments(history)
        found = Findings("lost", "of-refused", "unexpected")
        counts = dict.fromkeys(("attempted", "acknowledged", "taken", "duplicated", "recovered"), 0)
        perhaps = left = 0
        for key, ops in by_key(op for op in history.ops if op.f in _FUNCTIONS).items():
            enqueues, refused = _enqueues(ops)
            taken: dict[Hashable, list[Op]] = defaultdict(list)
            for item, op in _taken(ops):
                taken[item].append(op)
                if item not in enqueues and len(taken[item]) == 1:
                    _add_unknown(key, item, op, refused, found)
            counts["taken"] += sum(map(len, taken.values()))
            pending = sum(op.f != "enqueue" and op.outcome == "info" for op in ops)
            drained = max(_found_empty(ops), key=when.start, default=None)
            used = any(op.f != "enqueue" for op in ops)
            lost: list[tuple[Hashable, list[Op]]] = []
            for item, several in enqueues.items():
                known = [op for op in several if op.outcome == "ok"]
                out = len(taken.get(item, ()))
                counts["attempted"] += len(several)
                counts["acknowledged"] += len(known)
                counts["duplicated"] += max(0, out - len(several))
                counts["recovered"] += max(0, min(out, len(several)) - len(known))
                due = [op for op in known if used and _is_due(op, drained, when)]
                left += max(0, len(known) - max(out, len(due)))
                if len(due) > out:
                    lost.append((item, due))
            missed = sum(len(due) - len(taken.get(item, ())) for item, due in lost)
            if missed <= pending:
                perhaps += missed
                continue
            for item, due in lost:
                sentence = f"{told_op(due[0], f'enqueued {brief(item)}')}{at(key)}, and it never "
                if drained is None:
                    found.add("lost", f"{sentence}came out", *due[:2])
                else:
                    sentence += "came out, though the queue was found empty later"
                    found.add("lost", sentence, *due[:2], drained)
        unknown = None
        if not counts["acknowledged"] and not counts["taken"]:
            unknown = missing("nothing was enqueued (expected: enqueue, dequeue, drain)")
        elif perhaps:
            unknown = (
                f"{many(perhaps, 'item')} never came out, but as many dequeues or more have no "
                "known outcome and may have taken them."
            )
        elif left:
            unknown = (
                f"{many(left, 'item')} may still be in the queue: it was not found empty after "
                "they were enqueued (expected: drain at the end)."
            )
        told = ", ".join(f"{number} {name}" for name, number in counts.items())
        return judge(
            self.name, began, found, ops=len(history), told=told, unknown=unknown, data=counts
        )


def queue() -> Queue:
    """Check that every item that is taken was put in, once for each time, and before; any order.

    Ops: `enqueue` (value: the item), `dequeue` (answers with the item; with None if there was
    none) and `drain` (answers with a list of items). Enqueues of unknown outcome may have put their
    item in, dequeues of unknown outcome may have taken any. Anomalies: `duplicated`, taken more
    often than put in; `of-refused`, taken though every enqueue of it failed; `unexpected`, nobody
    ever put it in; `from-the-future`, taken before that many enqueues of it had begun.

    Source: Jepsen, `checker/queue` with an unordered queue. Whether all came out is for
    `total_queue`, the order for `linearizable("fifo-queue")`. `unknown`: nothing was taken.
    O(n log n).

    Example: enqueue 1 ok, dequeue 1, dequeue 1 is `invalid`, `duplicated`.
    """
    return Queue()


def total_queue() -> TotalQueue:
    """Check that what was acknowledged comes out at least once, and nothing else does.

    Ops as for `queue`. The history must end with the queue drained: what was acknowledged and
    never taken is lost. Where the queue was found empty (by a `drain` that succeeded, or a
    `dequeue` that answered None or failed with the error "empty", "exhausted" or "mismatch"), that
    is so for what was acknowledged before the last time only. Anomalies: `lost`; `of-refused`,
    taken though every enqueue of it failed; `unexpected`. Duplicates are counted (`duplicated`),
    not judged: `queue` does. `recovered` are items of unknown outcome that came out.

    Source: Jepsen, `checker/total-queue`, which knows no dequeues of unknown outcome. `unknown`:
    nothing was enqueued or nobody ever took; items never came out, but dequeues or drains of
    unknown outcome may have taken them; or items were enqueued after it was last found empty. O(n).

    Example: enqueue 1 ok, drain [] is `invalid`, `lost`.
    """
    return TotalQueue()


def _enqueues(ops: Iterable[Op]) -> tuple[dict[Hashable, list[Op]], dict[Hashable, Op]]:
    """The enqueues of each item that may have been put in, and the failed ones of the others."""
    enqueues: dict[Hashable, list[Op]] = defaultdict(list)
    refused: dict[Hashable, Op] = {}
    for op in ops:
        if op.f == "enqueue" and op.outcome == "fail":
            refused[hashable(op.value)] = op
        elif op.f == "enqueue":
            enqueues[hashable(op.value)].append(op)
    return dict(enqueues), refused


def _taken(ops: Iterable[Op]) -> Iterator[tuple[Any, Op]]:
    for op in ops:
        if op.outcome != "ok":
            continue
        if op.f == "dequeue" and op.result is not None:
            yield hashable(op.result), op
        elif op.f == "drain" and isinstance(op.result, list | tuple):
            for item in op.result:
                yield hashable(item), op


def _found_empty(ops: Iterable[Op]) -> Iterator[Op]:
    for op in ops:
        drained = op.f == "drain" and op.outcome == "ok"
        nothing = op.outcome == "ok" and op.result is None
        nothing |= op.outcome == "fail" and op.error in _EMPTY
        if drained or (op.f == "dequeue" and nothing):
            yield op


def _is_due(op: Op, drained: Op | None, when: Moments) -> bool:
    return drained is None or when.before(op, drained)


def _judge_item(
    key: Hashable,
    item: Hashable,
    op: Op,
    enqueues: dict[Hashable, list[Op]],
    refused: dict[Hashable, Op],
    times: int,
    when: Moments,
    found: Findings,
) -> None:
    sources = enqueues.get(item, [])
    if not sources:
        _add_unknown(key, item, op, refused, found)
    elif times > len(sources):
        what = f"took {brief(item)}{at(key)}, the {times}. time, and it was enqueued "
        what += "once" if len(sources) == 1 else f"{len(sources)} times"
        found.add("duplicated", told_op(op, what), *sources[:2], op)
    elif when.realtime:
        begun = sorted(map(when.start, sources))[times - 1]
        if when.end(op) < begun:
            what = f"took {brief(item)}{at(key)} before it was enqueued"
            found.add("from-the-future", told_op(op, what), op, sources[-1])


def _add_unknown(
    key: Hashable, item: Hashable, op: Op, refused: dict[Hashable, Op], found: Findings
) -> None:
    what = told_op(op, f"took {brief(item)}{at(key)}")
    if item in refused:
        found.add("of-refused", f"{what}, and its enqueue had failed", refused[item], op)
    else:
        found.add("unexpected", f"{what}, which nobody ever enqueued", op)
