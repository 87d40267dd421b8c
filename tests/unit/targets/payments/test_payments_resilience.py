"""Breaker, bulkhead, backoff and budget, each for itself."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.payments.app.resilience import (
    Backoff,
    Breaker,
    BreakerRule,
    Bulkhead,
    Refusal,
    RetryBudget,
    State,
)


class Bench:
    """A breaker on a clock that is turned by hand."""

    def __init__(self, **rule: float) -> None:
        self.now = 100.0
        self.states: list[State] = []
        self.breaker = Breaker(
            BreakerRule(**{"open_jitter": 0.0, **rule}),  # type: ignore[arg-type]
            lambda: self.now,
            random.Random(1),
            self.states.append,
        )

    def calls(self, *outcomes: bool | None) -> None:
        for ok in outcomes:
            self.breaker.leave(self.breaker.enter(), ok)

    def refused(self) -> bool:
        before = self.breaker.refuses
        try:
            self.breaker.leave(self.breaker.enter(), None)
        except Refusal:
            assert before
            return True
        assert not before
        return False


def opened(**rule: float) -> Bench:
    bench = Bench(**rule)
    bench.calls(*[False] * 5)
    assert bench.states == ["open"]
    return bench


def test_it_opens_at_the_fifth_failure_and_not_before() -> None:
    bench = Bench()
    bench.calls(*[False] * 4)
    assert bench.states == []
    bench.calls(False)
    assert bench.states == ["open"]
    assert bench.refused()


def test_half_of_the_calls_may_fail() -> None:
    bench = Bench()
    bench.calls(*[True, False] * 50)
    assert bench.states == []
    bench.calls(False)
    assert bench.states == ["open"]


def test_only_the_last_twenty_count() -> None:
    bench = Bench()
    bench.calls(*[True] * 1000, *[False] * 10)
    assert bench.states == []
    bench.calls(False)
    assert bench.states == ["open"]


def test_calls_that_say_nothing_are_not_counted() -> None:
    bench = Bench()
    bench.calls(*[None] * 30, *[False] * 4)
    assert bench.states == []


def test_it_stays_open_for_its_time() -> None:
    bench = opened()
    bench.now += 0.999
    assert bench.refused()
    bench.now += 0.001
    assert not bench.refused()
    assert bench.states == ["open", "half-open"]


def test_one_probe_at_a_time_and_two_successes_close_it() -> None:
    bench = opened()
    bench.now += 1.0
    probe = bench.breaker.enter()
    assert bench.refused()
    bench.breaker.leave(probe, True)
    assert bench.states == ["open", "half-open"]
    bench.calls(True)
    assert bench.states == ["open", "half-open", "closed"]
    bench.calls(*[False] * 4)  # the window is empty again
    assert bench.breaker.state == "closed"


def test_a_failed_probe_opens_it_again() -> None:
    bench = opened()
    bench.now += 1.0
    bench.calls(True, False)
    assert bench.states == ["open", "half-open", "open"]
    assert bench.refused()


def test_a_probe_that_was_cancelled_makes_room_for_another() -> None:
    bench = opened()
    bench.now += 1.0
    bench.calls(None, None, True, True)
    assert bench.breaker.state == "closed"


def test_old_news_changes_nothing() -> None:
    bench = Bench()
    old = [bench.breaker.enter() for _ in range(10)]
    bench.calls(*[False] * 5)
    bench.now += 1.0
    probe = bench.breaker.enter()
    for turn in old:
        bench.breaker.leave(turn, False)
    assert bench.breaker.state == "half-open"
    assert bench.refused()  # nor did they make room for a second probe
    bench.breaker.leave(probe, True)
    bench.calls(True)
    assert bench.breaker.state == "closed"


def test_one_that_never_closes_never_asks() -> None:
    bench = opened(open_s=math.inf)
    bench.now += 1e9
    assert bench.refused()


def test_workers_do_not_probe_in_step() -> None:
    ends = set()
    for seed in range(5):
        breaker = Breaker(BreakerRule(), lambda: 0.0, random.Random(seed))
        for _ in range(5):
            breaker.leave(breaker.enter(), False)
        ends.add(breaker._until)
    assert len(ends) == 5
    assert all(1.0 <= end <= 1.2 for end in ends)


@given(st.lists(st.tuples(st.floats(0, 2), st.sampled_from([True, False, None])), max_size=200))
def test_it_only_ever_changes_in_legal_ways(calls: Sequence[tuple[float, bool | None]]) -> None:
    bench = Bench()
    for later_s, ok in calls:
        bench.now += later_s
        try:
            bench.calls(ok)
        except Refusal:
            assert bench.breaker.state == "open"
    steps = list(zip(["closed", *bench.states], bench.states, strict=False))
    legal = {("closed", "open"), ("open", "half-open"), ("half-open", "open")}
    assert set(steps) <= legal | {("half-open", "closed")}


def test_a_bulkhead_refuses_what_does_not_fit_and_forgets_who_left() -> None:
    bulkhead = Bulkhead(2)
    for _ in range(3):
        with bulkhead.slot():
            with bulkhead.slot(), pytest.raises(Refusal, match="full"), bulkhead.slot():
                raise AssertionError
            assert bulkhead.used == 1
    with pytest.raises(ZeroDivisionError), bulkhead.slot():
        raise ZeroDivisionError
    assert bulkhead.used == 0


@given(st.integers(1, 10_000), st.integers())
def test_full_jitter_stays_below_the_exponential_and_the_cap(retry: int, seed: int) -> None:
    delay_s = Backoff().delay_s(retry, random.Random(seed))
    assert 0 <= delay_s <= 5.0
    if retry <= 6:
        assert delay_s <= 0.05 * 2 ** (retry - 1)


def test_full_jitter_uses_all_of_its_range() -> None:
    rng = random.Random(3)
    drawn = [Backoff().delay_s(3, rng) for _ in range(1000)]
    assert min(drawn) < 0.01
    assert max(drawn) > 0.19
    assert 0.09 < sum(drawn) / len(drawn) < 0.11


def test_without_jitter_all_wait_equally_long() -> None:
    rng = random.Random(3)
    assert [Backoff(jitter=False).delay_s(n, rng) for n in (1, 2, 3, 99)] == [0.05, 0.1, 0.2, 5.0]


def test_retries_are_a_fifth_of_the_calls_once_the_reserve_is_used() -> None:
    budget = RetryBudget(share=0.25, reserve=10)
    assert [budget.retry() for _ in range(11)] == [True] * 10 + [False]
    granted = 0
    for _ in range(1000):
        budget.call()
        granted += budget.retry()
    assert granted == 250


def test_the_reserve_does_not_grow() -> None:
    budget = RetryBudget(share=0.2, reserve=10)
    for _ in range(1000):
        budget.call()
    assert sum(budget.retry() for _ in range(100)) == 10
