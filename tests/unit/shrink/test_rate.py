"""Rates and rules: figures against tables and simulation."""

from __future__ import annotations

import itertools

import pytest

from harness.rate import Rate
from harness.shrink.rate import Rule, confirming, rule


@pytest.mark.parametrize(
    ("rate", "low", "high"),
    # Newcombe 1998, table I (method 3), and the closed forms for none and all.
    [(Rate(15, 148), 0.0624, 0.1605), (Rate(0, 20), 0.0, 0.1611), (Rate(10, 10), 0.7225, 1.0)],
)
def test_intervals_are_those_of_the_literature(rate: Rate, low: float, high: float) -> None:
    assert rate.interval() == pytest.approx((low, high), abs=1e-4)


def test_a_rate_is_told_with_its_confidence() -> None:
    assert str(Rate(9, 10)) == "reproduced 9 of 10 (95 % interval 0.60-0.98)"
    assert Rate().interval() == (0.0, 1.0)
    assert Rate(1, 2) + Rate(2, 3) == Rate(3, 5)


@pytest.mark.parametrize("one", [Rule(1, 1), Rule(2, 2), Rule(3, 2), Rule(2, 4)])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_rule_accepts_with_the_probability_that_it_states(one: Rule, rate: float) -> None:
    total = 0.0
    longest = one.hits + one.misses - 1
    for results in itertools.product((True, False), repeat=longest):
        accepted, read = one.decide(results)
        assert accepted is not None
        assert read <= longest
        if accepted:
            total += rate ** sum(results) * (1 - rate) ** (longest - sum(results))
    assert one.accepts(rate) == pytest.approx(total)


def test_the_table_of_the_rules_is_right() -> None:
    table = {
        line.split("|")[1].split("(")[0].strip(): [float(cell) for cell in line.split("|")[2:7]]
        for line in (Rule.__doc__ or "").splitlines()
        if line.strip()[:3].strip("| ").isdigit()
    }
    assert len(table) == 5
    for name, row in table.items():
        hits, misses = (int(part) for part in name.split(","))
        told = [Rule(hits, misses).accepts(rate) for rate in (0.9, 0.7, 0.5, 0.3, 0.1)]
        assert told == pytest.approx(row, abs=0.006)


@pytest.mark.parametrize("one", [Rule(2, 2), Rule(3, 2, least=5), confirming(10, 0.9)])
def test_a_rule_knows_how_many_runs_it_needs_at_least(one: Rule) -> None:
    for length in range(8):
        for results in itertools.product((True, False), repeat=length):
            if one.decide(results)[0] is not None:
                assert one.needs(results) == 0
                continue
            least = one.needs(results)
            assert least > 0
            for shorter in range(least):
                more = itertools.product((True, False), repeat=shorter)
                assert all(one.decide((*results, *m))[0] is None for m in more)


def test_rare_failures_are_given_more_runs() -> None:
    assert rule(1, 0.99) == Rule(1, 1)
    assert rule(2, 0.99) == Rule(2, 1)
    assert rule(2, 0.875) == Rule(2, 2)
    assert rule(1, 0.3) == Rule(1, 6)
    assert rule(2, 0.05) == Rule(2, 8)
    for hits, rate in itertools.product((1, 2, 3), (0.5, 0.7, 0.9, 0.99)):
        assert rule(hits, rate).accepts(rate) >= 0.85


def test_confirming_ends_when_it_cannot_succeed_any_more() -> None:
    assert confirming(10, 0.9).decide([True] * 9)[0] is None
    assert confirming(10, 0.9).decide([True] * 9 + [False]) == (True, 10)
    assert confirming(10, 0.9).decide([False, True, False]) == (False, 3)
