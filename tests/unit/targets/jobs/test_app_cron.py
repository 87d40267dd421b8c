"""Which windows are due: each once, in order, and none that is too old."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from targets.jobs.app.cron import due


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 100))
def test_what_is_due_and_what_is_given_up_are_all_windows_since_the_last(
    last_run: int, now: int, horizon: int
) -> None:
    what = due(last_run, now, horizon)
    windows = [*range(what.skipped, what.first), *range(what.first, what.last + 1)]
    assert windows == list(range(last_run + 1, now + 1))


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 100))
def test_a_window_is_caught_up_if_it_began_within_the_horizon(
    last_run: int, now: int, horizon: int
) -> None:
    what = due(last_run, now, horizon)
    assert all(now - window <= horizon for window in range(what.first, what.last + 1))
    assert all(now - window > horizon for window in range(what.skipped, what.first))


def test_a_clock_that_went_back_makes_nothing_due() -> None:
    what = due(last_run=10, now=7, horizon=3)
    assert not range(what.first, what.last + 1)
    assert not range(what.skipped, what.first)
