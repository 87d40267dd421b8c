"""Service levels: percentiles and errors of one route, of the load or of the workload."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import milliseconds
from harness.check import slo
from harness.errors import UsageError
from harness.history import MISMATCH, History
from harness.timeline import LoadSample
from tests.support.timelines import asked, op, phases, run


def feed(
    at: float = 0, count: int = 100, took_s: float = 0.01, failed: int = 0
) -> list[LoadSample]:
    """Requests in one second from `at` on, the last of which fail."""
    return [asked(at + n / count, "feed", took_s, failed=n >= count - failed) for n in range(count)]


def test_bounds_are_inclusive_and_the_figures_told() -> None:
    history = run(load=[*feed(count=98), asked(1, "feed", 0.2), asked(1, "feed", 0.3)])
    verdict = slo("feed", p50=milliseconds(10), p99=milliseconds(200), errors=0)(history)
    assert (verdict.result, verdict.anomaly, verdict.ops) == ("valid", None, 100)
    assert verdict.check == "slo(feed, p50<=10ms, p99<=200ms, errors<=0%)"
    assert verdict.data["p99_ms"] == 200
    assert "p50 10.0 ms, p95 10.0 ms, p99 200.0 ms, 0.00% not answered" in verdict.summary
    slower = slo("feed", p99=milliseconds(199))(history)
    assert (slower.result, slower.anomaly) == ("invalid", "slo")
    assert "p99 was 200.0 ms, 199 ms are allowed" in slower.summary
    orjson.dumps(slower.to_json())


def test_errors_are_judged_and_left_out_of_percentiles() -> None:
    history = run(load=[*feed(count=95), *feed(count=5, took_s=9, failed=5)])
    assert slo("feed", p99=milliseconds(10), errors=0.05)(history).valid
    verdict = slo("feed", errors=0.04)(history)
    assert (verdict.result, verdict.anomaly) == ("invalid", "slo")
    assert "5.00% were not answered, 4.00% are allowed" in verdict.summary


def test_too_many_errors_are_found_where_too_few_answers_are_left() -> None:
    history = run(load=feed(count=30, failed=25))
    assert slo("feed", p99=1)(history).result == "unknown"
    assert slo("feed", p99=1, errors=0.1)(history).result == "invalid"
    assert slo("feed", p99=1, errors=0.9)(history).result == "unknown"


def test_ops_of_the_workload_are_judged_where_the_load_has_no_such_route() -> None:
    answered = [op("charge", n, "ok", n / 10, 0.05) for n in range(17)]
    answered += [op("charge", 17, "fail", 2, 0.05, error=MISMATCH)]
    lost = [op("charge", 18, "info", 2), op("charge", 19, "fail", 2, 5, error="no leader")]
    history = run([*answered, *lost, op("charge", 1, "ok", 50, 9, final=True)], load=feed())
    verdict = slo("charge", p99=milliseconds(50), errors=0.1, at_least=18)(history)
    assert (verdict.result, verdict.ops, verdict.data["source"]) == ("valid", 20, "workload")
    assert slo("charge", errors=0.09)(history).result == "invalid"
    assert slo("charge", errors=1, source="load")(history).result == "unknown"
    assert slo("feed", errors=1, source="workload")(history).result == "unknown"


def test_only_requests_that_began_in_the_phase_count() -> None:
    load = [*feed(at=0), *feed(at=1, took_s=0.5), *feed(at=2), *feed(at=3, took_s=2)]
    history = run(load=load, phases=phases(1, 1, 1))
    for phase, result in {"before": "valid", "during": "invalid", "after": "valid"}.items():
        verdict = slo("feed", p99=milliseconds(20), phase=phase)(history)
        assert (verdict.result, verdict.ops) == (result, 100), phase
    every = slo("feed", p50=milliseconds(20), p95=milliseconds(500))(history)
    assert (every.result, every.ops) == ("valid", 300)
    assert every.data["phases"]["during"]["p50_ms"] == 500
    heading, before, during, after, judged = every.evidence.splitlines()
    assert heading.split() == ["count", "p50", "p95", "p99", "errors"]
    assert " ".join(during.split()) == "during 100 500.0 ms 500.0 ms 500.0 ms 0.00%"
    assert (before.split()[0], after.split()[0]) == ("before", "after")
    assert judged.split()[:2] == ["judged", "300"]


def test_too_little_is_unknown() -> None:
    assert slo("feed", p99=1)(History(())).result == "unknown"
    few = slo("feed", p99=1)(run(load=feed(count=19)))
    assert few.result == "unknown"
    assert "19 requests were made, 20 are needed" in few.summary
    assert "a longer duration= or a higher rate" in few.summary
    early = slo("feed", p99=1, phase="before")(run(load=feed(count=19), phases=phases(1, 1, 1)))
    assert "a longer before=" in early.summary
    assert slo("feed", p99=1, phase="during")(run(load=feed())).result == "unknown"


def test_a_route_that_is_not_there_is_told_with_those_that_are() -> None:
    ops = [op("quote", "k", "ok", 1), op("effects", None, "ok", 9, final=True)]
    verdict = slo("quot", p99=1)(run(ops, load=feed()))
    assert (verdict.result, verdict.summary) == (
        "unknown",
        "Nothing was tested: there are no requests of quot (load: feed; workload: quote).",
    )
    assert "(nor any others)" in slo("quot", p99=1)(History(())).summary


@pytest.mark.parametrize(
    ("failed", "bounds", "said"),
    [(1, {}, False), (2, {}, True), (2, {"errors": 0.5}, False), (100, {}, False)],
)
def test_many_errors_that_nobody_bounded_are_told(
    failed: int, bounds: dict[str, float], said: bool
) -> None:
    verdict = slo("feed", p99=1, **bounds)(run(load=feed(count=100, failed=failed)))
    assert ("(errors are not bounded)" in verdict.summary) == said


def test_where_nothing_was_asked_no_errors_are_told() -> None:
    verdict = slo("feed", p99=1)(run(load=feed(at=1), phases=phases(1, 1, 1)))
    before, during = verdict.evidence.splitlines()[1:3]
    assert before.split() == ["before", "0", "-", "-", "-", "-"]
    assert during.split()[-1] == "0.00%"
    assert verdict.data["phases"]["before"]["errors"] is None
    assert verdict.data["phases"]["during"]["errors"] == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"p99": 0},
        {"p99": "fast"},
        {"errors": 1.1},
        {"errors": True},
        {"errors": float("nan")},
        {"p99": 1, "phase": "final"},
        {"p99": 1, "source": "k6"},
        {"p99": 1, "at_least": 0},
        {"route": "", "p99": 1},
    ],
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        slo(**{"route": "feed", **wrong})


SAMPLES = st.lists(st.tuples(st.integers(1, 400), st.booleans()), max_size=40)
LOOSE = st.tuples(st.integers(1, 400), st.integers(0, 300))


@given(SAMPLES, LOOSE, st.floats(0, 1), st.floats(0, 1))
def test_a_looser_bound_never_makes_it_invalid(
    samples: list[tuple[int, bool]], p95_ms: tuple[int, int], errors: float, more: float
) -> None:
    history = run(
        load=[asked(n, "feed", ms / 1000, failed=bad) for n, (ms, bad) in enumerate(samples)]
    )
    strict = slo("feed", p95=milliseconds(p95_ms[0]), errors=errors)(history)
    loose = slo("feed", p95=milliseconds(sum(p95_ms)), errors=min(1, errors + more))(history)
    if strict.valid:
        assert loose.valid
