"""Percentiles and windows: what checks of latency share."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.check.windows import Sample, Window, figures, merged, percentile, within

VALUES = st.lists(st.integers(0, 50), min_size=1, max_size=60).map(sorted)
STRETCHES = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 8)).map(lambda one: Window(one[0], sum(one))),
    max_size=6,
)


@given(VALUES, st.integers(1, 1000))
def test_it_is_the_smallest_value_that_so_many_do_not_exceed(values: list[int], mill: int) -> None:
    found = percentile(values, mill / 10)
    enough = [v for v in values if sum(w <= v for w in values) * 1000 >= mill * len(values)]
    assert found == min(enough)


def test_percentiles_of_well_known_lists() -> None:
    hundred = list(range(1, 101))
    assert [percentile(hundred, p) for p in (50, 95, 99, 99.9, 100)] == [50, 95, 99, 100, 100]
    assert percentile(range(1, 1001), 99.9) == 999
    assert percentile([7.0], 1) == 7.0
    # 4.4 is a little more than that as a binary fraction.
    assert percentile(range(1, 751), 4.4) == 33


@pytest.mark.parametrize(("values", "p"), [([], 50), ([1], 0), ([1], 101), ([1], math.nan)])
def test_there_is_no_percentile_of_nothing(values: list[float], p: float) -> None:
    with pytest.raises(ValueError, match="no percentile"):
        percentile(values, p)


def test_what_was_not_answered_is_an_error_and_has_no_latency() -> None:
    found = figures([Sample(0, 0.1), Sample(0, None), Sample(0, 0.3), Sample(0, 0.2)])
    assert (found.count, found.answered, found.errors) == (4, 3, 0.25)
    assert (found.p50_s, found.p99_s) == (0.2, 0.3)
    nothing = figures([Sample(0, None)])
    assert (nothing.p50_s, nothing.errors, figures([]).errors) == (None, 1.0, 0.0)


@given(STRETCHES)
def test_merged_windows_hold_the_same_moments(windows: list[Window]) -> None:
    disjoint = merged(windows)
    assert all(a.end < b.start for a, b in pairwise(disjoint))
    moments = [Sample(at, None) for at in range(45)]
    inside = [one for one in moments if any(w.start <= one.start < w.end for w in windows)]
    assert within(moments, windows) == inside
