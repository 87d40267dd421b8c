"""Seeds: the same name gives the same stream. Durations: one form in code, clear refusals."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import seeds
from harness.errors import UsageError
from harness.units import milliseconds, minutes, seconds, to_seconds

session_seeds = st.integers(0, seeds.SESSION_LIMIT - 1)


@given(session_seeds, st.text(), st.integers(0, 100))
def test_an_experiments_seed_is_its_own_and_repeats_itself(
    seed: int, name: str, number: int
) -> None:
    own = seeds.own_seed(seed, name, number)
    assert seeds.SESSION_LIMIT <= own < 2**53
    assert own == seeds.own_seed(seed, name, number)
    assert seeds.own_seed(own, "any experiment") == own


@given(session_seeds)
def test_experiments_and_numbers_have_different_seeds(seed: int) -> None:
    assert len({seeds.own_seed(seed, name, n) for name in ("a", "b") for n in range(10)}) == 20


def test_streams_do_not_depend_on_the_process() -> None:
    here = seeds.stream(7, "workload", "client-3").random()
    code = "from harness import seeds; print(seeds.stream(7, 'workload', 'client-3').random())"
    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert float(there.stdout) == here
    assert here != seeds.stream(7, "workload", "client-4").random()


def test_durations_have_one_form_in_code() -> None:
    assert to_seconds(seconds(2), "x") == to_seconds(2, "x") == 2.0
    assert to_seconds(milliseconds(250), "x") == 0.25
    assert to_seconds(minutes(1), "x") == 60.0


@pytest.mark.parametrize("value", [0, -1, timedelta(0), float("nan"), float("inf"), "5s", True])
def test_what_is_no_duration_is_named(value: Any) -> None:
    with pytest.raises(UsageError, match="every"):
        to_seconds(value, "every")
