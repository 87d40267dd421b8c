"""Breakers: opened in time, tried half-open, closed when the dependency was back."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from harness import seconds
from harness.check import breaker
from harness.check.verdict import Verdict
from harness.errors import UsageError
from harness.timeline import FaultSpan, TargetEvent
from tests.support.timelines import event, fault, phases, run

SLOW = fault(10, 20, "provider")
BOTH = ("node-1", "node-2")


def state(at: float, new: str, node: str = "node-1", instance: Any = 1, **more: Any) -> TargetEvent:
    data = {"dependency": "provider", "instance": instance, "state": new, **more}
    return event(at, node, "breaker", **data)


def called(
    node: str, since: float, until: float, instance: Any = 1, every_s: float = 0.05
) -> list[TargetEvent]:
    count = round((until - since) / every_s)
    data = {"dependency": "provider", "instance": instance, "attempt": 1, "delay_s": 0}
    return [event(since + n * every_s, node, "attempt", key=n, **data) for n in range(count)]


def cycle(node: str, opens: float = 11, closes: float = 21, **more: Any) -> list[TargetEvent]:
    """It opens, tries once in vain, and closes after another try."""
    states = [(opens, "open"), (opens + 1, "half-open"), (opens + 1.1, "open")]
    states += [(closes - 0.1, "half-open"), (closes, "closed")]
    return [state(at, new, node, **more) for at, new in states]


def traffic(*nodes: str, until: float = 30) -> list[TargetEvent]:
    return [one for node in nodes for one in called(node, 0, until)]


def judged(
    events: list[TargetEvent], faults: Any = (SLOW,), lasts_s: float = 30, **more: Any
) -> Verdict:
    limits = {"opens_within": seconds(2), "closes_within": seconds(3), **more}
    history = run(events=events, faults=faults, phases=phases(5, 15, lasts_s - 20))
    return breaker("provider", **limits)(history)


def test_all_nodes_open_try_and_close() -> None:
    verdict = judged([*traffic(*BOTH), *cycle("node-1"), *cycle("node-2", opens=10.5)])
    assert (verdict.result, verdict.anomaly) == ("valid", None)
    assert verdict.check == "breaker(provider, opens_within=2s, closes_within=3s)"
    assert verdict.data["opened_after_s"] == {"f1": {"node-1": 1.0, "node-2": 0.5}}
    assert (verdict.data["closings"], verdict.data["opened_without_fault"]) == (2, 0)
    assert "opened 1.0 s into f1" in verdict.summary
    assert verdict.evidence.startswith("  10.000 s  f1 latency provider begins\n  10.500 s  node-2")
    orjson.dumps(verdict.to_json())


def test_a_node_without_a_breaker() -> None:
    verdict = judged([*traffic(*BOTH), *cycle("node-1")])
    assert (verdict.result, verdict.anomaly) == ("invalid", "never-opened")
    assert "node-2 made 41 attempts within 2 s of f1" in verdict.summary
    assert "node-1" not in verdict.evidence
    assert judged(traffic(*BOTH)).anomaly == "never-opened"


def test_a_breaker_that_opens_late() -> None:
    assert judged([*traffic("node-1"), *cycle("node-1", opens=12)]).valid
    late = judged([*traffic("node-1"), *cycle("node-1", opens=12.1)])
    assert late.anomaly == "never-opened"


def test_a_breaker_that_had_closed_before_must_open_again() -> None:
    events = [*traffic("node-1"), *cycle("node-1", opens=7, closes=9)]
    assert judged(events).anomaly == "never-opened"


def test_a_breaker_that_was_open_before_counts_as_open() -> None:
    again = fault(21, 25, "provider", id="f2")
    events = [*traffic("node-1"), *cycle("node-1", closes=26)]
    verdict = judged(events, faults=[SLOW, again])
    assert verdict.valid
    assert verdict.data["opened_after_s"]["f2"] == {"node-1": 0.0}


def test_one_breaker_of_a_node_is_enough_to_open() -> None:
    events = [*traffic("node-1"), *called("node-1", 0, 30, instance=2), *cycle("node-1")]
    assert judged(events).valid


def test_nodes_that_called_too_little_are_not_judged() -> None:
    few = called("node-2", 0, 30, every_s=0.2)
    assert judged([*traffic("node-1"), *cycle("node-1"), *few]).valid
    alone = judged(few)
    assert alone.result == "unknown"
    assert "node-2 made 11 attempts within 2 s of f1, 20 by one breaker are needed" in alone.summary
    assert judged(few, at_least=11).anomaly == "never-opened"
    halves = [*called("node-2", 0, 30, every_s=0.15), *called("node-2", 0, 30, 2, every_s=0.15)]
    assert judged(halves).result == "unknown"


def test_a_netsplit_concerns_the_nodes_it_names() -> None:
    split = fault(10, 20, "node-1", "provider", kind="netsplit")
    events = [*traffic(*BOTH), *cycle("node-1")]
    assert judged(events, faults=[split]).valid
    assert judged(events, faults=[fault(10, 20, "node-2", "provider")]).anomaly == "never-opened"


def test_closing_without_a_try() -> None:
    events = [*traffic("node-1"), state(11, "open"), state(12, "half-open"), state(12.1, "open")]
    verdict = judged([*events, state(21, "closed")])
    assert (verdict.result, verdict.anomaly) == ("invalid", "no-probe")
    assert "node-1/1 went from open (at 11.000 s) to closed (at 21.000 s)" in verdict.summary
    assert judged([*events, state(20.5, "half-open"), state(21, "closed")]).valid


@pytest.mark.parametrize("flaps", [False, True])
def test_a_breaker_that_never_closes(flaps: bool) -> None:
    events = [*traffic("node-1", until=12), state(11, "open")]
    if flaps:
        events += [state(at, new) for at in (15, 21, 25) for new in ("half-open", "open")]
    verdict = judged(events)
    assert (verdict.result, verdict.anomaly) == ("invalid", "never-closed")
    assert "opened at 11.000 s and stays open" in verdict.summary


def test_a_breaker_that_closes_late_or_opens_again_for_good() -> None:
    assert judged([*traffic("node-1"), *cycle("node-1", closes=23)]).valid
    late = judged([*traffic("node-1"), *cycle("node-1", closes=23.1)])
    assert late.anomaly == "never-closed"
    assert "closed at 23.100 s only" in late.summary
    again = [*traffic("node-1"), *cycle("node-1"), state(24, "open")]
    assert judged(again).anomaly == "never-closed"
    assert judged([*again, state(25, "half-open"), state(26, "closed")]).valid


def test_other_faults_in_the_way_are_waited_for() -> None:
    events = [*traffic("node-1"), *cycle("node-1", closes=27)]
    cut = fault(15, 25, "node-1", kind="netsplit", id="f2")
    assert judged(events, faults=[SLOW, cut]).valid
    elsewhere = fault(15, 25, "node-2", kind="netsplit", id="f2")
    assert judged(events, faults=[SLOW, elsewhere]).anomaly == "never-closed"


def test_nothing_is_demanded_of_processes_that_ended() -> None:
    closing, ended = cycle("node-2"), [*traffic(*BOTH), state(11, "open")]
    assert judged([*ended, *closing]).anomaly == "never-closed"
    worker = event(15, "node-1", "worker-exited", instance=1)
    assert judged([*ended, *closing, worker]).valid
    assert judged([*ended, worker, *called("node-2", 0, 9)]).result != "valid"
    other = event(15, "node-1", "worker-exited", instance=2)
    assert judged([*ended, *closing, other]).anomaly == "never-closed"
    kill = fault(15, 16, "node-1", kind="kill", id="f2")
    assert judged([*ended, *closing], faults=[SLOW, kill]).valid
    before = fault(8, 9, "node-1", kind="kill", id="f0")
    assert judged([*ended, *closing], faults=[before, SLOW]).anomaly == "never-closed"


def test_a_breaker_that_is_not_called_has_no_occasion_to_close() -> None:
    # Calls go to the other worker of its node.
    idle = [*called("node-1", 0, 15), *cycle("node-2"), *traffic("node-2"), state(11, "open")]
    assert judged(idle).anomaly == "never-closed"
    busy = called("node-1", 0, 30, instance=2)
    verdict = judged([*idle, *busy])
    assert verdict.valid
    assert "node-1/1 was not called after the faults" in verdict.evidence
    nameless = called("node-1", 0, 30, instance="")
    assert judged([*idle, *nameless]).anomaly == "never-closed"
    quiet_too = called("node-1", 0, 19, instance=2)
    assert judged([*idle, *quiet_too]).anomaly == "never-closed"
    late = [*idle, *busy, state(28, "half-open"), state(28.2, "closed")]
    assert judged(late).valid
    assert judged([*idle, *busy, state(26, "half-open")]).anomaly == "never-closed"


def test_a_run_that_ends_too_early_decides_nothing_about_closing() -> None:
    events = [*traffic("node-1"), state(11, "open")]
    verdict = judged(events, lasts_s=23)
    assert verdict.result == "unknown"
    assert "Nobody knows whether breakers for provider close again" in verdict.summary
    assert "the clients ended 3.0 s after the faults" in verdict.summary
    afterwards = [state(40, "half-open"), state(41, "closed")]
    assert judged([*events, *afterwards], lasts_s=23).valid


def test_openings_without_a_fault_are_told_and_not_judged() -> None:
    early = cycle("node-1", opens=3, closes=5)
    verdict = judged([*traffic("node-1"), *early, *cycle("node-1")])
    assert verdict.valid
    assert verdict.data["opened_without_fault"] == 1
    assert "1 of 2 openings came with no fault in force" in verdict.summary
    shortly_after = cycle("node-1", opens=21.9, closes=23.5)
    quiet = judged([*traffic("node-1"), *cycle("node-1"), *shortly_after])
    assert quiet.data["opened_without_fault"] == 0


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ((), "no fault hit provider; there were no faults on any node."),
        (
            (fault(10, 11, "provider"),),
            "no fault hit provider for 2 s or longer; the longest lasted 1.0 s.",
        ),
        (
            (fault(10, 20, "store"), fault(12, 20, "node-1", "store", id="f2")),
            "no fault hit provider; the faults hit node-1, store.",
        ),
    ],
    ids=["none", "short", "elsewhere"],
)
def test_without_a_fault_that_lasts_it_is_unknown(faults: tuple[FaultSpan, ...], said: str) -> None:
    verdict = judged([*traffic("node-1"), *cycle("node-1")], faults=faults)
    assert verdict.result == "unknown"
    assert said in verdict.summary


def test_without_events_it_is_unknown() -> None:
    assert judged([]).result == "unknown"
    others = [event(1, "node-1", "breaker", dependency="store", state="open")]
    assert judged(others).summary.endswith("no node told of calls of provider; they told of store.")
    assert judged([event(1, "node-1", "breaker", dependency="provider")]).result == "unknown"


@pytest.mark.parametrize(
    "wrong", [{"opens_within": 0}, {"closes_within": "soon"}, {"at_least": 0}, {"dependency": 5}]
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    right = {"dependency": "provider", "opens_within": 1, "closes_within": 1}
    with pytest.raises(UsageError):
        breaker(**{**right, **wrong})
