"""Pauses between tries grow, have a bound, and are spread."""

from __future__ import annotations

import random
import statistics

from hypothesis import given
from hypothesis import strategies as st

from targets.jobs.app.backoff import Backoff


@given(st.integers(1, 10_000), st.integers())
def test_a_pause_is_within_its_bound(retry: int, seed: int) -> None:
    delay_s = Backoff(base_s=0.1, cap_s=2.0).delay_s(retry, random.Random(seed))
    assert 0 <= delay_s <= min(2.0, 0.1 * 2.0 ** min(retry - 1, 60))


def test_without_jitter_it_doubles_up_to_the_cap() -> None:
    backoff = Backoff(base_s=0.1, cap_s=0.5, jitter=False)
    pauses = [backoff.delay_s(retry, random.Random(1)) for retry in (1, 2, 3, 4, 5)]
    assert pauses == [0.1, 0.2, 0.4, 0.5, 0.5]


def test_jitter_spreads_over_the_whole_range() -> None:
    chance = random.Random(1)
    pauses = [Backoff(base_s=1, cap_s=1).delay_s(1, chance) for _ in range(1000)]
    assert statistics.stdev(pauses) / statistics.mean(pauses) > 0.5
