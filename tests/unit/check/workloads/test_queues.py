"""Queues: nothing comes from nowhere, and what goes in comes out."""

from __future__ import annotations

from itertools import chain, permutations
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check.verdict import Verdict
from harness.check.workloads import queue, total_queue
from harness.history import History
from tests.support.histories import history
from tests.support.overlaps import OUTCOMES, overlapping
from tests.support.services import Call, RefusedError, drive


def put(item: Any, kind: str = "ok", process: int = 0) -> list[tuple[Any, ...]]:
    return [(process, "invoke", "enqueue", item), (process, kind, "enqueue", item)]


def take(
    item: Any, kind: str = "ok", f: str = "dequeue", process: int = 0, **more: Any
) -> list[tuple[Any, ...]]:
    return [(process, "invoke", f, None), (process, kind, f, item, more)]


def judged(check: Any, *lines: list[tuple[Any, ...]]) -> Verdict:
    verdict: Verdict = check(history(*chain.from_iterable(lines)))
    return verdict


def test_what_is_taken_was_put_in() -> None:
    assert judged(queue(), put(1), put(2), take(2), take(1), take(None)).valid
    twice = judged(queue(), put(1), take(1), take(1))
    assert (twice.result, twice.anomaly) == ("invalid", "duplicated")
    assert "took 1 of key 'x', the 2. time, and it was enqueued once" in twice.summary
    assert judged(queue(), put(1), put(1, "info", 7), take(1), take(1)).valid
    assert judged(queue(), put(1), take(3)).anomalies == ["unexpected"]
    assert judged(queue(), put(3, "fail"), take(3)).anomalies == ["of-refused"]
    assert judged(queue(), take(1), put(1)).anomalies == ["from-the-future"]
    again = [put(1), take(1), take(1), put(1)]
    assert judged(queue(), *again).anomalies == ["from-the-future"]
    assert judged(queue(), put(1), take([1, 1], f="drain")).anomalies == ["duplicated"]
    beside = [(1, "invoke", "dequeue", None), *put(1), (1, "ok", "dequeue", 1)]
    assert judged(queue(), beside).valid
    assert judged(queue(), put(1)).result == "unknown"


def test_what_is_put_in_comes_out() -> None:
    assert judged(total_queue(), put(1), put(2), take(2), take([1], f="drain")).valid
    lost = judged(total_queue(), put(1), put(2), take(2), take([], f="drain"))
    assert (lost.result, lost.anomaly, lost.data["lost"]) == ("invalid", "lost", 1)
    assert "enqueued 1 on node-0 at 0.000-0.100 s of key 'x', and it never came out" in lost.summary
    assert judged(total_queue(), put(1), take(None)).anomaly == "lost"
    assert judged(total_queue(), put(1), take(None, "fail", error="empty")).anomaly == "lost"
    assert judged(total_queue(), put(1), take(None, "fail", error="timeout")).anomaly == "lost"
    assert judged(total_queue(), put(3, "fail"), take([3], f="drain")).anomalies == ["of-refused"]
    assert judged(total_queue(), take([3], f="drain")).anomalies == ["unexpected"]
    again = judged(total_queue(), put(1), take(1), take([1], f="drain"))
    assert (again.result, again.data["duplicated"]) == ("valid", 1)
    maybe = judged(total_queue(), put(1, "info", 7), take([1], f="drain"))
    assert (maybe.result, maybe.data["recovered"]) == ("valid", 1)


def test_what_may_still_be_there_or_was_perhaps_taken_is_not_lost() -> None:
    left = judged(total_queue(), put(1), take([1], f="drain"), put(2))
    assert (left.result, "may still be in the queue" in left.summary) == ("unknown", True)
    assert judged(total_queue(), put(1)).result == "unknown"
    perhaps = [*take(None, "info", process=3), *take([], f="drain")]
    one = judged(total_queue(), put(1), perhaps)
    assert (one.result, "may have taken them" in one.summary) == ("unknown", True)
    assert judged(total_queue(), put(1), put(2), perhaps).anomaly == "lost"
    beside = [(1, "invoke", "enqueue", 1), *take([], f="drain"), (1, "ok", "enqueue", 1)]
    assert judged(total_queue(), put(2), take(2), beside).result == "unknown"
    assert judged(total_queue()).result == "unknown"


def in_or_out(f: str, item: int, outcome: Any, several: list[int]) -> dict[str, Any]:
    if f == "enqueue":
        return {"f": f, "value": item, "outcome": outcome}
    return {"f": f, "result": item if f == "dequeue" else several, "outcome": outcome}


FIELDS = st.builds(
    in_or_out,
    st.sampled_from(["enqueue", "enqueue", "enqueue", "dequeue", "drain"]),
    st.integers(1, 2),
    OUTCOMES,
    st.sampled_from([[], [], [], [1], [2], [1, 2], [3]]),
)


def can_be(history: History) -> bool:
    """Some choice gives each item that was taken an enqueue of its own, begun before it came."""
    taken = []
    for op in history.ops:
        if op.outcome == "ok" and op.f != "enqueue":
            items = [op.result] if op.f == "dequeue" else op.result
            taken += [(item, op.end_index or 0) for item in items]
    puts = [op for op in history.ops if op.f == "enqueue" and op.outcome != "fail"]
    return any(
        all(
            op.value == item and op.index < end
            for op, (item, end) in zip(order, taken, strict=True)
        )
        for order in permutations(puts, len(taken))
    )


@settings(max_examples=150, deadline=None)
@given(overlapping(FIELDS, least=3, most=7))
def test_it_agrees_with_every_choice_of_sources(history: History) -> None:
    assert (queue()(history).result != "invalid") == can_be(history)


@settings(max_examples=150, deadline=None)
@given(overlapping(FIELDS, least=3, most=7))
def test_the_total_queue_agrees_with_the_definitions(history: History) -> None:
    puts = [op for op in history.ops if op.f == "enqueue"]
    outs = [op for op in history.ops if op.f != "enqueue" and op.outcome == "ok"]
    items = [item for op in outs for item in ([op.result] if op.f == "dequeue" else op.result)]
    drains = [op for op in outs if op.f == "drain"]
    pending = sum(op.f != "enqueue" and op.outcome == "info" for op in history.ops)
    missed = 0
    for item in (1, 2, 3):
        due = [
            op
            for op in puts
            if op.value == item
            and op.outcome == "ok"
            and (not drains or any((op.end_index or 0) < drain.index for drain in drains))
        ]
        missed += max(0, len(due) - items.count(item))
    known = {op.value for op in puts if op.outcome != "fail"}
    used = any(op.f != "enqueue" for op in history.ops)
    kinds = {"lost"} if missed > pending and used else set()
    for item in set(items) - known:
        kinds.add("of-refused" if any(op.value == item for op in puts) else "unexpected")
    assert set(total_queue()(history).anomalies) == kinds


class Items:
    """A queue; its bugs: one in ten is given twice, and one in ten is dropped."""

    def __init__(self, bug: str) -> None:
        self.bug = bug
        self.items: list[Any] = []
        self.taken = 0

    def answer(self, call: Call, process: int, now: int) -> Any:
        if call.f == "drain":
            items, self.items = self.items, []
            return items
        if call.f == "enqueue":
            if self.bug != "lost" or call.value % 10:
                self.items.append(call.value)
            return None
        if not self.items:
            raise RefusedError
        self.taken += 1
        return (
            self.items[0]
            if self.bug == "duplicated" and self.taken % 10 == 0
            else self.items.pop(0)
        )


@pytest.mark.parametrize("bug", ["", "duplicated", "lost"])
def test_a_queue_with_a_bug_is_caught(bug: str) -> None:
    def calls(rng: Random, number: int) -> Call:
        return Call("enqueue", number) if rng.random() < 0.6 else Call("dequeue")

    for seed in range(4):
        recorded = drive(Items(bug), calls, seed=seed, lost=0, final=[Call("drain")])
        assert queue()(recorded).anomalies == ([bug] if bug == "duplicated" else [])
        verdict = total_queue()(recorded)
        assert verdict.anomalies == ([bug] if bug == "lost" else [])
        assert verdict.valid or bug == "lost"
