"""Figures per route and phase."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.history import Phase
from harness.load import figures, percentile
from harness.timeline import LoadSample

S = 10**9


@given(
    st.lists(st.floats(0, 1e6), min_size=1).map(sorted),
    st.floats(0, 100, exclude_min=True),
)
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(
    ordered: list[float], percent: float
) -> None:
    value = percentile(ordered, percent)
    share = sum(one <= value for one in ordered) * 100 / len(ordered)
    below = sum(one < value for one in ordered) * 100 / len(ordered)
    assert value in ordered
    assert share >= percent or share == pytest.approx(percent)
    assert below < percent or below == pytest.approx(percent)


@pytest.mark.parametrize(("percent", "rank"), [(1, 1), (50, 50), (95, 95), (99, 99), (100, 100)])
def test_of_a_hundred_the_percentile_is_the_rank(percent: float, rank: int) -> None:
    assert percentile(range(1, 101), percent) == rank


def sample(began_s: float, duration_s: float, route: str = "feed", ok: bool = True) -> LoadSample:
    end = round((began_s + duration_s) * S)
    return LoadSample(end, route, duration_s, not ok, 200 if ok else 500)


PHASES = [Phase("before", 0, S), Phase("during", S, 3 * S), Phase("after", 3 * S, 4 * S)]


def test_a_request_belongs_to_the_phase_it_began_in() -> None:
    found = figures([sample(0.9, 0.5), sample(1.0, 0.25), sample(9, 1)], PHASES)
    assert {phase: figure["count"] for phase, figure in found["feed"].items()} == {
        "before": 1,
        "during": 1,
    }
    assert found["feed"]["before"]["p50_ms"] == 500


def test_routes_and_failures_are_told_apart() -> None:
    samples = [sample(1 + n / 1000, n / 1000, ok=n % 4 > 0) for n in range(1, 101)]
    found = figures([*samples, sample(2, 0.001, "pay")], PHASES)
    assert list(found) == ["feed", "pay"]
    assert found["feed"]["during"] == {
        "count": 100,
        "p50_ms": 50,
        "p95_ms": 95,
        "p99_ms": 99,
        "error_rate": 0.25,
    }
    assert found["pay"]["during"]["error_rate"] == 0


def test_no_samples_are_no_figures() -> None:
    assert figures([], PHASES) == {}
