"""The summary of an experiment under many seeds."""

from __future__ import annotations

from harness.sweep import Swept, headline, line, sweeps, verdicts


def swept(seed: int, outcome: str = "passed", failure: str = "", seconds: float = 4.0) -> Swept:
    return Swept("x.py::test_x", seed, outcome, failure, seconds, f"runs/{seed}")


RUNS = [
    swept(1),
    swept(2, "failed", "set-full: lost", 6.0),
    swept(3),
    swept(4, "unsteady", "unsteady: after-healing", 20.0),
    swept(5, "failed", "set-full: lost"),
]


def test_the_seeds_that_did_not_pass_come_first() -> None:
    (runs,) = sweeps(RUNS).values()
    assert [run.seed for run in runs] == [2, 5, 4, 1, 3]


def test_an_experiment_under_one_seed_is_no_sweep() -> None:
    assert sweeps([swept(1), swept(1)]) == {}
    assert list(sweeps([*RUNS, Swept("y.py::test_y", 1, "passed", "", 1.0, "")])) == [
        "x.py::test_x"
    ]


def test_the_summary_counts_by_verdict_and_states_the_rate_and_the_times() -> None:
    told = headline(RUNS)
    assert told == (
        "5 seeds: 2 passed, 2 failed, 1 unsteady; fails under 60% of seeds "
        "(95 % interval 23%-88%); 4.0 s a seed (4.0-20.0)"
    )
    assert verdicts(RUNS) == ["2 × set-full: lost", "1 × unsteady: after-healing"]


def test_runs_that_were_not_judged_say_nothing_about_the_rate() -> None:
    told = headline([*RUNS, swept(6, "broken"), swept(7, "unknown")])
    assert "fails under 60% of those judged" in told
    (runs,) = sweeps([*RUNS, swept(6, "broken"), swept(7, "unknown")]).values()
    assert [run.outcome for run in runs][:5] == [
        "failed",
        "failed",
        "unsteady",
        "unknown",
        "broken",
    ]


def test_a_flaw_that_is_expected_is_not_told_as_a_failure_of_its_seed() -> None:
    assert line(swept(7, "passed", "set-full: lost")) == f"seed 7{' ' * 15}   4.0 s  runs/7"
    assert "set-full: lost" in line(swept(7, "failed", "set-full: lost"))
