"""Rate limits: exactly those histories are wrong in which no choice of moments is right."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check.budget import Budget, OverBudgetError
from harness.check.promises import rate_limit
from harness.check.promises._placements import Span, fixed, sliding
from harness.errors import UsageError
from harness.history import MISMATCH, History, Op
from harness.units import milliseconds, seconds
from tests.support.services import MS, Call, RefusedError, drive
from tests.support.timelines import op, run

SPANS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6)), max_size=6)


def spans(drawn: list[tuple[int, int]]) -> list[Span]:
    return [Span(start, start + lasting, n) for n, (start, lasting) in enumerate(drawn)]


def can_be(drawn: list[Span], window: int, limit: int) -> bool:
    """Some choice of moments has no more than `limit` of them in any window."""
    for moments in product(*(range(span.start, span.end + 1) for span in drawn)):
        if all(sum(t <= m < t + window for m in moments) <= limit for t in moments):
            return True
    return False


def can_be_fixed(drawn: list[Span], window: int, limit: int, offset: int) -> bool:
    for moments in product(*(range(span.start, span.end + 1) for span in drawn)):
        numbers = [(moment - offset) // window for moment in moments]
        if all(numbers.count(number) <= limit for number in numbers):
            return True
    return False


@settings(max_examples=200, deadline=None)
@given(SPANS, st.integers(1, 5), st.integers(1, 3))
def test_sliding_windows_agree_with_every_choice(
    drawn: list[tuple[int, int]], window: int, limit: int
) -> None:
    wrong = sliding(spans(drawn), window, limit, Budget(10, 2**40))
    assert (wrong is None) == can_be(spans(drawn), window, limit)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 3) | st.integers(0, 12)),
        min_size=4,
        max_size=6,
    ),
    st.integers(2, 5),
    st.integers(1, 2),
)
def test_short_ops_within_long_ones_agree_with_every_choice(
    drawn: list[tuple[int, int]], window: int, limit: int
) -> None:
    few = [(start, min(lasting, 12 - start)) for start, lasting in drawn if start <= 12][:5]
    wrong = sliding(spans(few), window, limit, Budget(10, 2**40))
    assert (wrong is None) == can_be(spans(few), window, limit)


@settings(max_examples=150, deadline=None)
@given(SPANS, st.integers(1, 5), st.integers(1, 3), st.none() | st.integers(0, 7))
def test_fixed_windows_agree_with_every_choice(
    drawn: list[tuple[int, int]], window: int, limit: int, offset: int | None
) -> None:
    wrong = fixed(spans(drawn), window, limit, offset, Budget(10, 2**40))
    offsets = range(window) if offset is None else [offset]
    assert (wrong is None) == any(can_be_fixed(spans(drawn), window, limit, one) for one in offsets)


def test_one_that_must_wait_for_others_is_told_to() -> None:
    # The first could begin at 0, but then neither of the short ones finds room.
    assert sliding([Span(0, 20, 0), Span(1, 1, 1)], 5, 1, Budget(10, 2**40)) is None
    assert sliding([Span(0, 4, 0), Span(1, 1, 1)], 5, 1, Budget(10, 2**40)) is not None


def admitted(at: float, took_s: float = 0.01, key: Any = "a", **more: Any) -> Op:
    return op("request", key, "ok", at, took_s, **more)


def refused(at: float, key: Any = "a") -> Op:
    return op("request", key, "fail", at, error=MISMATCH)


def test_too_many_in_a_window_are_shown() -> None:
    ops = [admitted(1), admitted(1.3), admitted(1.6), refused(1.7), admitted(9)]
    verdict = rate_limit(2, per=seconds(1))(run(ops))
    assert (verdict.result, verdict.anomaly) == ("invalid", "over-admitted")
    assert verdict.check == "rate_limit(2/1s)"
    assert verdict.summary.startswith("3 ops for 'a' were admitted from 1.000 to 1.610 s")
    assert len(verdict.evidence.splitlines()) == 4
    assert rate_limit(3, per=seconds(1))(run(ops)).valid
    assert rate_limit(2, per=seconds(1), error=0.5)(run(ops)).valid
    assert rate_limit(2, per=seconds(1), error=0.49)(run(ops)).result == "invalid"
    assert rate_limit(2, per=milliseconds(500))(run(ops)).valid


def test_keys_are_apart_and_slow_ones_may_have_come_late() -> None:
    apart = [admitted(1), admitted(1.2, key="b"), refused(1.3)]
    assert rate_limit(1, per=1)(run(apart)).valid
    slow = [admitted(1), admitted(1.2, took_s=0.9), refused(1.3)]
    assert rate_limit(1, per=1)(run(slow)).valid
    assert rate_limit(1, per=1)(run([admitted(1), admitted(1.2), refused(1.3)])).anomalies == [
        "over-admitted"
    ]
    unknown = op("request", "a", "info", 1.2)
    assert rate_limit(1, per=1)(run([admitted(1), unknown, refused(1.3)])).valid


def test_needless_refusals_are_counted_and_judged_if_asked() -> None:
    ops = [admitted(1), admitted(1.1), refused(1.2), refused(5)]
    counted = rate_limit(2, per=1)(run(ops))
    assert (counted.result, counted.data["needlessly_refused"]) == ("valid", 1)
    verdict = rate_limit(2, per=1, at_least=0.5)(run(ops))
    assert (verdict.result, verdict.anomaly) == ("invalid", "over-refused")
    assert "at 5.000-5.010 s" in verdict.summary
    maybe = [*ops, op("request", "a", "info", 4.5)]
    assert rate_limit(2, per=1, at_least=0.5)(run(maybe)).valid


def test_a_limit_that_was_never_reached_tests_nothing() -> None:
    assert rate_limit(5, per=1)(run([admitted(1), admitted(2)])).result == "unknown"
    assert rate_limit(5, per=1)(run([refused(1)])).result == "unknown"
    assert rate_limit(2, per=1)(run([admitted(1), admitted(1.5)])).valid
    assert rate_limit(2, per=1, f="call")(run([admitted(1), admitted(1.5)])).result == "unknown"


def test_fixed_windows_allow_twice_as_many_across_their_edge() -> None:
    ops = [admitted(0.8), admitted(0.9), admitted(1.1), admitted(1.2), refused(1.3)]
    assert rate_limit(2, per=1)(run(ops)).result == "invalid"
    assert rate_limit(2, per=1, window="fixed")(run(ops)).valid
    assert rate_limit(2, per=1, window="fixed", offset=0)(run(ops)).valid
    assert rate_limit(2, per=1, window="fixed", offset=0.5)(run(ops)).result == "invalid"


def test_it_ends_when_the_time_is_over() -> None:
    many = [Span(n, n + 5_000, n) for n in range(4_000)]
    with pytest.raises(OverBudgetError):
        fixed(many, 3_000, 2, None, Budget(0.2, 2**40))


@pytest.mark.parametrize(
    "wrong",
    [{"limit": 0}, {"per": 0}, {"error": -1}, {"window": "round"}, {"at_least": 2}, {"f": ""}],
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        rate_limit(**{"limit": 1, "per": 1, **wrong})


class Limiter:
    """Ten a second, in a sliding window; its bug counts per node."""

    def __init__(self, bug: bool) -> None:
        self.bug = bug
        self.given: dict[Any, list[int]] = {}

    def answer(self, call: Call, process: int, now: int) -> None:
        recent = self.given.setdefault(call.node if self.bug else None, [])
        recent[:] = [moment for moment in recent if moment > now - 100 * MS]
        if len(recent) >= 10:
            raise RefusedError
        recent.append(now)


def some_request(rng: Random, number: int) -> Call:
    return Call("request", key="all", node=f"node-{rng.randint(1, 2)}")


@pytest.mark.parametrize("bug", [False, True])
def test_a_limiter_that_counts_per_node_is_caught(bug: bool) -> None:
    histories: list[History] = [
        drive(Limiter(bug), some_request, seed=seed, slowest_ms=8, pause_ms=4) for seed in range(8)
    ]
    verdicts = [rate_limit(10, per=milliseconds(100))(history) for history in histories]
    assert {verdict.result for verdict in verdicts} == {"invalid" if bug else "valid"}
