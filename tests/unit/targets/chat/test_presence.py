"""The check that everybody soon knows who is there, on histories by hand."""

from __future__ import annotations

from typing import Any

import pytest

from harness import seconds
from harness.check import Verdict
from harness.history import History, Op, Outcome
from harness.timeline import FaultSpan, Timeline
from targets.chat import presence

S = 1_000_000_000
TOPIC = "room:0"


def op(
    f: str, at_s: float, value: Any, node: str, outcome: Outcome = "ok", result: Any = None
) -> Op:
    start = round(at_s * S)
    end = None if outcome == "info" else start + S // 100
    return Op(0, f, TOPIC, value, outcome, result, start, end, start, 0, node)


def enter(at_s: float, outcome: Outcome = "ok", node: str = "node-1") -> Op:
    return op("enter", at_s, "v", node, outcome, "v")


def leave(at_s: float, outcome: Outcome = "ok", node: str = "node-1") -> Op:
    return op("leave", at_s, "v", node, outcome, "v")


def look(at_s: float, *users: str, node: str = "node-2") -> Op:
    return op("present", at_s, "u", node, "ok", list(users))


def fault(kind: str, from_s: float, to_s: float, *nodes: str) -> FaultSpan:
    return FaultSpan("f1", kind, kind, nodes, round(from_s * S), round(to_s * S))


def judge(*ops: Op, faults: tuple[FaultSpan, ...] = ()) -> Verdict:
    ordered = sorted(ops, key=lambda one: one.start)
    return presence(within=seconds(2))(History(ordered, timeline=Timeline(faults=faults)))


VISIT = (enter(1), leave(5))
"""One that everybody sees, and then sees no more, which is enough to be tested."""
SEEN = (look(4, "v"), look(8))


def test_who_enters_is_seen_and_who_leaves_is_gone() -> None:
    verdict = judge(*VISIT, *SEEN)
    assert verdict.result == "valid"
    assert (verdict.data["there"], verdict.data["gone"]) == (1, 1)


def test_late_news_within_the_time_are_measured() -> None:
    verdict = judge(*VISIT, *SEEN, look(2.5), look(6, "v"))
    assert verdict.result == "valid"
    assert verdict.data["staleness_s"] == pytest.approx(1.49, abs=0.01)


@pytest.mark.parametrize(("looked", "anomaly"), [(look(3.5), "unseen"), (look(7.5, "v"), "ghost")])
def test_later_ones_are_wrong(looked: Op, anomaly: str) -> None:
    verdict = judge(*VISIT, *SEEN, looked)
    assert (verdict.result, verdict.anomaly) == ("invalid", anomaly)


def test_nothing_is_demanded_of_what_is_not_certain() -> None:
    """A visit whose end was not acknowledged may have ended at any time."""
    assert judge(*VISIT, *SEEN, enter(10), look(13), look(13.5, "v")).valid
    assert judge(*VISIT, *SEEN, enter(10), leave(14, "fail"), look(13), look(17, "v")).valid
    assert judge(*VISIT, *SEEN, enter(10, "info"), look(13), look(13.5, "v")).valid
    assert judge(*VISIT, *SEEN, enter(10, "info"), leave(14), look(17)).valid


def test_a_user_dies_with_its_node() -> None:
    died = fault("kill", 10, 11, "node-1")
    visits = (*VISIT, *SEEN, enter(9), leave(11.5, "fail"), look(12.1, node="node-1"))
    assert judge(*visits, look(13), faults=(died,)).valid
    verdict = judge(*visits, look(13, "v"), faults=(died,))
    assert (verdict.result, verdict.anomaly) == ("invalid", "ghost")
    # One who enters anew may be seen, and before the time is over also who is gone.
    assert judge(*visits, enter(12.5), look(13, "v"), faults=(died,)).valid
    assert judge(*visits, look(11.9, "v"), faults=(died,)).valid


def test_a_node_that_was_disturbed_has_the_time_from_its_first_answer_on() -> None:
    cut = fault("netsplit", 4.9, 9, "node-1", "node-2")
    for stale, valid in ((look(8, "v"), True), (look(10, "v"), True), (look(11.5, "v"), False)):
        looks = (look(4, "v"), look(9.1, node="node-1"), look(9.2), stale, look(13))
        verdict = judge(*VISIT, *looks, faults=(cut,))
        assert verdict.valid == valid, stale


def test_a_netsplit_disturbs_those_as_well_that_stayed_together() -> None:
    cut = fault("netsplit", 2, 3.9, "node-3")
    looks = (look(4, node="node-1"), look(4.1), look(4.9, "v"))
    assert judge(enter(1), leave(9), *looks, look(6.5, "v"), look(12), faults=(cut,)).valid
    assert not judge(enter(1), leave(9), *looks, look(6.5), look(12), faults=(cut,)).valid


def test_too_little_tested_is_unknown() -> None:
    assert judge(*VISIT).result == "unknown"
    assert judge(*VISIT, look(4, "v")).result == "unknown"
    assert judge(*VISIT, look(8)).result == "unknown"
    assert judge(*VISIT, look(2), look(6, "v")).result == "unknown"
