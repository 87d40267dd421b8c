"""Delivery: lost, duplicate, out-of-order and phantom messages, to each or to any subscriber."""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check.promises import delivery
from harness.errors import UsageError
from harness.history import History, Op
from tests.support.overlaps import OUTCOMES, overlapping
from tests.support.services import Call, drive
from tests.support.timelines import op, run


def publish(message: Any, at: float, outcome: Any = "ok", topic: str = "t", **more: Any) -> Op:
    return op("publish", topic, outcome, at, value=message, **more)


def deliver(result: Any, at: float, to: Any = "a", topic: str = "t", **more: Any) -> Op:
    outcome = more.pop("outcome", "ok")
    return op("deliver", topic, outcome, at, value=to, result=result, process=9, **more)


TWO = [publish(1, 1), publish(2, 2)]


def test_everything_arrives_once_and_in_order() -> None:
    verdict = delivery()(run([*TWO, deliver([1], 3), deliver([2], 4), deliver([], 5)]))
    assert (verdict.result, verdict.data["due"], verdict.data["delivered"]) == ("valid", 2, 2)
    assert verdict.check == "delivery(at least once, at most once, ordered, to each)"
    assert delivery()(run([*TWO, deliver(1, 3), deliver(None, 3.5), deliver(2, 4)])).valid


def test_a_message_that_never_came_is_lost() -> None:
    verdict = delivery()(run([*TWO, deliver([2], 3)]))
    assert (verdict.result, verdict.anomaly) == ("invalid", "lost")
    assert "published 1, and it was acknowledged on node-1" in verdict.summary
    assert "it never came to 'a' of topic 't'" in verdict.summary
    assert delivery(at_least_once=False)(run([*TWO, deliver([2], 3)])).valid
    # One that is not asked for later, or has no known outcome, is not held against the broker.
    assert delivery()(run([*TWO, publish(3, 9), deliver([1, 2], 3)])).valid
    assert delivery()(run([*TWO, publish(3, 2.5, "info"), deliver([1, 2], 3)])).valid
    unanswered = deliver(None, 9.5, outcome="info")
    assert delivery()(run([*TWO, publish(3, 9), deliver([1, 2], 3), unanswered])).valid


def test_each_subscriber_must_have_it_or_any() -> None:
    ops = [*TWO, deliver([1, 2], 3), deliver([1], 3, "b"), deliver([], 4, "b")]
    verdict = delivery()(run(ops))
    assert (verdict.anomaly, verdict.data["lost"]) == ("lost", 1)
    assert "'b' of topic 't'" in verdict.summary
    assert delivery(to="any")(run([*TWO, deliver([1], 3), deliver([2], 3, "b")])).valid
    assert delivery(to="any")(run(ops)).anomalies == ["duplicate"]


def test_subscribers_are_due_what_came_while_they_were_subscribed() -> None:
    def subscribed(f: str, at: float) -> Op:
        return op(f, "t", "ok", at, value="b", process=8)

    both = [*TWO, deliver([1, 2], 9)]
    late = [subscribed("subscribe", 1.5), deliver([2], 8, "b")]
    assert delivery()(run([*both, *late])).valid
    assert delivery()(run([*both, late[0], deliver([], 8, "b")])).anomaly == "lost"
    left = [subscribed("subscribe", 0.5), subscribed("unsubscribe", 1.5), deliver([1], 8, "b")]
    assert delivery()(run([*both, *left])).valid
    # A process without a name is known from its first answer on.
    nobody = [deliver([2], 3, None), deliver([], 9, None)]
    assert delivery()(run([*TWO, *nobody])).result == "unknown"
    assert delivery()(run([*TWO, *nobody, publish(3, 5)])).anomaly == "lost"


def test_messages_that_nobody_sent_there() -> None:
    both = deliver([1, 2], 4)
    assert delivery()(run([*TWO, both, deliver([7], 5)])).anomalies == ["phantom"]
    wrong_topic = [publish(7, 0.5, topic="u"), deliver([7], 5, topic="u"), deliver([7], 6)]
    assert delivery()(run([*TWO, both, *wrong_topic])).anomalies == ["phantom"]
    early = [deliver([3], 5), publish(3, 6)]
    assert "before it was published" in delivery()(run([*TWO, both, *early])).summary
    refused = [publish(7, 0.5, "fail"), deliver([7], 5)]
    assert delivery()(run([*TWO, both, *refused])).anomalies == ["of-refused"]
    maybe = [publish(7, 0.5, "info"), deliver([7], 5)]
    assert delivery(ordered=False)(run([*TWO, both, *maybe])).valid


def test_a_message_may_come_as_often_as_it_was_published() -> None:
    twice = [*TWO, deliver([1, 2], 3), deliver([1], 5)]
    assert delivery()(run(twice)).anomalies == ["duplicate"]
    assert delivery(at_most_once=False)(run(twice)).valid
    assert delivery()(run([*twice, publish(1, 0.5, "info")])).valid
    assert delivery()(run([*twice, publish(1, 0.5, "fail")])).anomalies == ["duplicate"]


def test_order_is_that_of_each_publisher() -> None:
    verdict = delivery()(run([*TWO, deliver([2], 3), deliver([1], 4)]))
    assert (verdict.result, verdict.anomalies) == ("invalid", ["out-of-order"])
    assert verdict.summary.startswith("2 came to 'a' of topic 't' before 1, which process 0")
    assert delivery()(run([*TWO, deliver([2, 1], 3)])).anomalies == ["out-of-order"]
    assert delivery(ordered=False)(run([*TWO, deliver([2, 1], 3)])).valid
    three = [*TWO, publish(3, 2.5), deliver([2], 3), deliver([1], 4), deliver([3], 5)]
    assert delivery()(run(three)).data["out-of-order"] == 1
    others = [publish(1, 1), publish(2, 2, process=5)]
    assert delivery()(run([*others, deliver([2, 1], 3)])).valid
    beside = [deliver([2], 3, took_s=1), deliver([1], 3.5, took_s=1)]
    assert delivery()(run([*TWO, *beside])).valid


def test_without_messages_or_subscribers_nothing_is_tested() -> None:
    assert delivery()(run(TWO)).result == "unknown"
    assert delivery()(run([deliver([], 3)])).result == "unknown"
    assert delivery()(run([*TWO, deliver([], 0.5)])).result == "unknown"
    with pytest.raises(UsageError):
        delivery(at_least_once=False, at_most_once=False, ordered=False)


def named(f: str, number: int, items: list[int], who: str, outcome: Any) -> dict[str, Any]:
    if f == "publish":
        return {"f": f, "key": "t", "value": number, "outcome": outcome}
    return {"f": f, "key": "t", "value": who, "result": items, "outcome": outcome}


FIELDS = st.builds(
    named,
    st.sampled_from(["publish", "publish", "deliver"]),
    st.integers(1, 3),
    st.sampled_from([[], [1], [2], [1, 2], [2, 1], [1, 2, 3], [3], [3, 1], [4]]),
    st.sampled_from(["a", "a", "a", "b"]),
    OUTCOMES,
)


def expected(history: History) -> set[str]:
    """The anomalies, by the definitions alone."""
    sent = [op for op in history.ops if op.f == "publish"]
    kinds = set()
    for who in ("a", "b"):
        asked = [op for op in history.ops if op.value == who and op.outcome == "ok"]
        got = [(m, op, place) for op in asked for place, m in enumerate(op.result)]
        for message, given_by, _place in got:
            maybe = [one for one in sent if one.value == message and one.outcome != "fail"]
            if not maybe:
                failed = any(one.value == message for one in sent)
                kinds.add("of-refused" if failed else "phantom")
                continue
            if all(one.start > (given_by.end or 0) for one in maybe):
                kinds.add("phantom")
            if sum(one[0] == message for one in got) > len(maybe):
                kinds.add("duplicate")
        for one in sent:
            acknowledged = [x for x in sent if x.value == one.value and x.outcome == "ok"]
            later = any(op.start >= (one.end or 0) for op in asked)
            if one in acknowledged[:1] and later and all(m != one.value for m, _o, _p in got):
                kinds.add("lost")
        firsts: dict[Any, tuple[Op, int]] = {}
        for message, given_by, place in sorted(got, key=lambda g: (g[1].end, g[1].index, g[2])):
            firsts.setdefault(message, (given_by, place))
        lines: dict[int, list[int]] = defaultdict(list)
        for one in sent:
            known = [x for x in sent if x.value == one.value and x.outcome != "fail"]
            if known and known[0] is one:
                lines[one.process].append(one.value)
        for line in lines.values():
            for place, earlier in enumerate(line):
                for later_one in line[place + 1 :]:
                    if earlier in firsts and later_one in firsts:
                        (e, e_place), (x, x_place) = firsts[earlier], firsts[later_one]
                        if (x.end or 0) < e.start or (x is e and x_place < e_place):
                            kinds.add("out-of-order")
    return kinds


@settings(max_examples=250, deadline=None)
@given(overlapping(FIELDS, least=3, most=9))
def test_it_agrees_with_the_definitions(history: History) -> None:
    assert set(delivery()(history).anomalies) == expected(history)


class Broker:
    """Topics with a place for each subscriber. Bugs: skips one, repeats one, last first."""

    def __init__(self, bug: str) -> None:
        self.bug = bug
        self.log: list[Any] = []
        self.places: dict[Any, int] = {}

    def answer(self, call: Call, process: int, now: int) -> Any:
        if call.f == "publish":
            self.log.append(call.value)
            return None
        place = self.places.get(call.value, 0)
        self.places[call.value] = len(self.log)
        if self.bug == "lost" and place % 5 == 4:
            place += 1
        if self.bug == "duplicate" and place % 5 == 4:
            place -= 1
        return self.log[place:][:: -1 if self.bug == "out-of-order" else 1]


def some_call(rng: Random, number: int) -> Call:
    if rng.random() < 0.7:
        return Call("publish", number, key="t")
    return Call("deliver", rng.choice("ab"), key="t")


@pytest.mark.parametrize("bug", ["", "lost", "duplicate", "out-of-order"])
def test_a_broker_with_a_bug_is_caught(bug: str) -> None:
    # One client: whoever asks for a subscriber twice at the same time has no order to expect.
    final = [Call("deliver", who, key="t") for who in "ab"]
    kinds = set()
    for seed in range(6):
        history = drive(Broker(bug), some_call, seed=seed, clients=1, lost=0, final=final)
        verdict = delivery()(history)
        assert bug or verdict.valid
        kinds.update(verdict.anomalies)
    assert kinds == ({bug} if bug else set())
