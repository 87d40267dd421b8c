"""Sliding logs: exact, and bounded in memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from primitives.limiter.window import SlidingLogs


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 4))
def test_it_admits_exactly_what_fits_into_every_window(gaps, limit):
    logs, now, admitted = SlidingLogs(10), 0, []
    for gap in gaps:
        now += gap
        fits = sum(at > now - 10 for at in admitted) < limit
        decision = logs.admit("k", now, limit)
        assert decision.admitted == fits
        if fits:
            admitted.append(now)
        else:
            waited = now + decision.retry_after_s
            assert sum(at > waited - 10 for at in admitted) < limit
            assert sum(at > waited - 11 for at in admitted) >= limit, "and no earlier"


def test_a_limit_that_shrinks_counts_what_was_admitted_before():
    logs = SlidingLogs(10)
    for now in range(4):
        assert logs.admit("k", now, 4).admitted
    decision = logs.admit("k", 4, 2)
    assert (decision.reason, decision.retry_after_s) == ("limit", 8)
    assert logs.admit("k", 4, 0).retry_after_s == 10


def test_keys_are_bounded_and_those_out_of_use_make_room():
    logs = SlidingLogs(10, keys=2)
    assert logs.admit("a", 0, 1).admitted
    assert logs.admit("b", 5, 1).admitted
    assert logs.admit("c", 6, 1).reason == "unavailable"
    assert logs.admit("a", 6, 1).reason == "limit"
    assert logs.admit("c", 11, 1).admitted
    assert len(logs) == 2
