"""Bulkheads: an unrelated route within its bounds while faults hit a dependency."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from harness import milliseconds
from harness.check import bulkhead
from harness.errors import UsageError
from harness.history import History
from harness.timeline import LoadSample
from tests.support.timelines import asked, fault, phases, run

FAULTS = [fault(10, 12, "provider"), fault(14, 16, "provider", id="f2"), fault(5, 20, "store")]


def steady(route: str, usual_s: float = 0.01, hurt_s: float = 0.01, every_bad: int = 0) -> Any:
    """40 requests a second over 20 s; within the provider's faults slower or failed."""
    made: list[LoadSample] = []
    for n in range(800):
        at = n / 40
        hurt = 10 <= at < 12 or 14 <= at < 16
        made.append(
            asked(
                at,
                route,
                hurt_s if hurt else usual_s,
                failed=hurt and every_bad > 0 and n % every_bad == 0,
            )
        )
    return made


def judged(load: Any, **more: Any) -> Any:
    history = run(load=load, faults=FAULTS, phases=phases(5, 12, 3))
    return bulkhead("feed", against="provider", p99=milliseconds(50), **more)(history)


def test_only_requests_within_the_faults_are_judged() -> None:
    verdict = judged(steady("feed"))
    assert (verdict.result, verdict.anomaly, verdict.ops) == ("valid", None, 160)
    assert verdict.check == "bulkhead(feed, against=provider, p99<=50ms)"
    assert judged(steady("feed", usual_s=0.2)).valid
    drawn_in = judged(steady("feed", hurt_s=0.2))
    assert (drawn_in.result, drawn_in.anomaly) == ("invalid", "bulkhead")
    assert "while faults hit provider: p99 was 200.0 ms, 50 ms are allowed" in drawn_in.summary
    assert "f1 latency provider" in drawn_in.evidence
    assert drawn_in.data["feed before"]["p99_ms"] == 10
    orjson.dumps(drawn_in.to_json())


@pytest.mark.parametrize("hurt", [{"hurt_s": 0.02}, {"every_bad": 20}, {"every_bad": 1}])
def test_it_held_if_the_disturbed_route_suffered(hurt: dict[str, Any]) -> None:
    load = [*steady("feed"), *steady("charge", **hurt)]
    assert judged(load, disturbed="charge").valid
    broken = [*steady("feed", hurt_s=0.2), *steady("charge", **hurt)]
    assert judged(broken, disturbed="charge").anomaly == "bulkhead"


def test_a_few_more_errors_are_no_suffering() -> None:
    load = [*steady("feed"), *steady("charge", every_bad=40)]
    assert judged(load, disturbed="charge").result == "unknown"


def test_nobody_knows_if_the_disturbed_route_did_not_suffer() -> None:
    verdict = judged([*steady("feed"), *steady("charge", hurt_s=0.019)], disturbed="charge")
    assert verdict.result == "unknown"
    assert "the faults did not hurt charge either" in verdict.summary
    unseen = judged(steady("feed"), disturbed="charge")
    assert unseen.result == "unknown"
    assert "there are no requests of charge (load: feed)" in unseen.summary
    late = [one for one in steady("charge", hurt_s=0.1) if one.time > 9_800_000_000]
    few = judged([*steady("feed"), *late], disturbed="charge")
    assert few.result == "unknown"
    assert "8 requests of charge were made before the faults, 20 are needed" in few.summary
    assert "a longer before=, a later at= or a higher rate gives more" in few.summary


def test_a_node_or_route_that_is_not_there_is_told_with_those_that_are() -> None:
    history = run(load=steady("feed"), faults=FAULTS)
    nobody = bulkhead("feed", against="provder", p99=1)(history)
    assert nobody.summary == (
        "Nothing was tested: no fault hit provder; the faults hit provider, store."
    )
    nothing = bulkhead("fed", against="provider", p99=1)(history)
    assert (nothing.result, nothing.summary) == (
        "unknown",
        "Nothing was tested: there are no requests of fed (load: feed).",
    )


def test_many_errors_that_nobody_bounded_are_told() -> None:
    load = steady("feed", every_bad=10)
    assert "10.00% not answered (errors are not bounded)." in judged(load).summary
    assert "not bounded" not in judged(load, errors=0.2).summary


def test_without_such_a_fault_or_requests_it_is_unknown() -> None:
    assert bulkhead("feed", against="provider", p99=1)(run(load=steady("feed"))).result == "unknown"
    elsewhere = run(load=steady("feed"), faults=[fault(5, 20, "store")])
    assert "no fault hit provider" in bulkhead("feed", against="provider", p99=1)(elsewhere).summary
    assert judged([]).result == "unknown"
    assert bulkhead("feed", against="provider", p99=1)(History(())).result == "unknown"


@pytest.mark.parametrize("wrong", [{}, {"p99": 1, "against": ""}, {"p99": 1, "disturbed": 3}])
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        bulkhead(**{"route": "feed", "against": "provider", **wrong})
