"""Scheduled jobs: windows without a run, with two, and runs in none."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check.promises import cron
from harness.errors import UsageError
from harness.history import Op
from tests.support.timelines import event, op, phases, run

EVERY_10 = cron(every=10, jitter=1)


def fire(at: float, took_s: float = 0.1, outcome: Any = "ok", key: str = "job") -> Op:
    return op("fire", key, outcome, at, took_s)


def until(at: float) -> Op:
    return op("read", None, "ok", at)


def test_one_run_in_each_window() -> None:
    verdict = EVERY_10(run([fire(0.5), fire(10.4), fire(21), fire(30.2), until(35)]))
    assert (verdict.result, verdict.data["windows"]) == ("valid", 4)
    assert verdict.check == "cron(every=10s, jitter=1s)"


def test_missed_doubled_and_outside() -> None:
    verdict = EVERY_10(run([fire(0.5), fire(10.4), fire(10.6), fire(30.2), until(35)]))
    assert (verdict.result, verdict.anomalies) == ("invalid", ["doubled", "missed"])
    assert verdict.summary.startswith("Job 'job' ran at 10.400 s and at 10.600 s, and there are")
    assert "Job 'job' did not run in the window from 20.500 s on: missed." in verdict.evidence
    outside = [fire(0.5), fire(5), fire(10.5), fire(20.5), until(22)]
    assert EVERY_10(run(outside)).anomalies == ["outside"]
    assert "ran at 5.000 s, which is in no window" in EVERY_10(run(outside)).summary


def test_windows_that_were_not_over_and_ops_without_an_answer() -> None:
    assert EVERY_10(run([fire(0), fire(10), fire(20), until(30.9)])).valid
    assert EVERY_10(run([fire(0), fire(10), fire(20), until(31.2)])).anomalies == ["missed"]
    maybe = [fire(0), fire(10), fire(19, outcome="info")]
    assert EVERY_10(run([*maybe, until(29)])).valid
    assert EVERY_10(run([*maybe, until(31.2)])).anomalies == ["missed"]
    nowhere = [fire(0), fire(10), fire(15, outcome="info"), until(18)]
    assert EVERY_10(run(nowhere)).valid
    twice = [fire(0), fire(10), fire(10.1, outcome="info"), until(12)]
    assert EVERY_10(run(twice)).valid
    assert EVERY_10(run([fire(0), fire(10), fire(10.1, outcome="fail"), until(12)])).valid


def test_a_run_that_may_have_been_in_either_of_two_windows() -> None:
    long = [fire(0.2), fire(0.5, took_s=10), fire(20), until(22)]
    assert cron(every=10, jitter=1, start=0)(run(long)).valid
    both = [fire(0.2), fire(0.5, took_s=10), fire(10.1), fire(20), until(22)]
    assert cron(every=10, jitter=1, start=0)(run(both)).anomalies == ["doubled"]
    missed = [fire(0.5, took_s=10), fire(20), until(22)]
    assert cron(every=10, jitter=1, start=0)(run(missed)).anomalies == ["missed"]


def test_with_a_start_runs_must_not_come_early() -> None:
    early = [fire(0.5), fire(9.5), fire(20.5), until(22)]
    assert EVERY_10(run(early)).valid
    assert cron(every=10, jitter=1, start=0)(run(early)).anomalies == ["missed", "outside"]
    assert cron(every=10, jitter=1, start=0)(run([fire(10.5), until(12)])).anomalies == ["missed"]


def test_jobs_are_apart_and_events_count_as_runs() -> None:
    apart = [fire(0), fire(10), fire(3, key="b"), fire(13, key="b"), until(15)]
    assert EVERY_10(run(apart)).data["jobs"] == 2
    assert EVERY_10(run(apart)).valid
    events = [event(at, "node-1", "fire", key="job") for at in (0, 10, 10.5, 20)]
    history = run(events=events, phases=phases(0, 25, 0))
    assert EVERY_10(history).anomalies == ["doubled"]


def test_one_window_tests_nothing() -> None:
    assert EVERY_10(run([fire(0), until(5)])).result == "unknown"
    assert EVERY_10(run([until(50)])).result == "unknown"
    assert EVERY_10(run([fire(0, outcome="info"), until(50)])).result == "unknown"


@pytest.mark.parametrize(
    "wrong", [{"jitter": 5}, {"every": 0}, {"jitter": -1}, {"jitter": 10, "start": 0}]
)
def test_wrong_durations_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        cron(**{"every": 10, "jitter": 1, **wrong})


@settings(max_examples=180, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 35),
            st.sampled_from([0, 0, 1, 9]),
            st.sampled_from(["ok", "info", "fail"]),
        ),
        min_size=3,
        max_size=5,
    )
)
def test_it_agrees_with_every_choice_of_moments(drawn: list[tuple[int, int, Any]]) -> None:
    # Windows [0, 2], [10, 12], [20, 22], [30, 32]; moments in whole seconds.
    runs = [fire(at, lasting or 1e-9, outcome) for at, lasting, outcome in drawn]
    verdict = cron(every=10, jitter=2, start=0)(run([*runs, until(41)]))
    choices = []
    for at, lasting, outcome in drawn:
        if outcome == "ok":
            choices.append(list(range(at, at + lasting + 1)))
        elif outcome == "info":
            choices.append([None, at, *(m for m in (2, 12, 22, 32) if m >= at)])
    right = any(_all_right(moments) for moments in product(*choices))
    if choices:
        assert verdict.valid == right


def _all_right(moments: tuple[int | None, ...]) -> bool:
    ran = [moment for moment in moments if moment is not None]
    numbers = sorted(moment // 10 for moment in ran if moment % 10 <= 2)
    return len(numbers) == len(ran) and [n for n in numbers if n < 4] == [0, 1, 2, 3]


@pytest.mark.parametrize("bug", ["", "doubled", "missed", "outside"])
def test_a_scheduler_with_a_bug_is_caught(bug: str) -> None:
    at = [7 + 10 * n + n % 3 * 0.4 for n in range(12)]
    if bug == "doubled":
        at.insert(5, at[5] + 0.3)  # (the new leader does not know that it has run)
    if bug == "missed":
        del at[5]
    if bug == "outside":
        at.insert(5, at[5] - 4)
    history = run([*map(fire, at), until(120)])
    assert EVERY_10(history).anomalies == ([bug] if bug else [])
