"""What the matrix of mutants and experiments says of what was found."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.mutants import SOUND, Found, Judgement, judge, line, table, wrong

NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("outcome", "checks", "expected", "others", "judgement"),
    [
        ("passed", (), None, NONE, "passed"),
        ("passed", (), "breaker", NONE, "missed"),
        ("failed", ("breaker(provider)",), "breaker", NONE, "caught"),
        ("failed", ("slo(feed)", "breaker(provider)"), "breaker", NONE, "caught"),
        # By another check than the one it is for: that one did not see it.
        ("failed", ("slo(feed)",), "breaker", NONE, "missed"),
        # A name that only begins alike is another check.
        ("failed", ("breakers(provider)",), "breaker", NONE, "missed"),
        ("unknown", (), "breaker", NONE, "missed"),
        ("unsteady", ("unsteady",), "unsteady", NONE, "caught"),
        ("failed", ("breaker(provider)",), None, frozenset({"breaker"}), "also caught"),
        ("failed", ("slo(feed)",), None, frozenset({"breaker"}), "surprise"),
        ("unsteady", ("unsteady",), None, frozenset({"breaker"}), "surprise"),
        ("broken", (), None, NONE, "surprise"),
        ("broken", (), "breaker", NONE, "missed"),
    ],
)
def test_judgements(
    outcome: str,
    checks: tuple[str, ...],
    expected: str | None,
    others: frozenset[str],
    judgement: Judgement,
) -> None:
    assert judge(outcome, checks, expected, others) == judgement


def found(mutant: str, experiment: str, judgement: Judgement, **more: Any) -> Found:
    fields: dict[str, Any] = {
        "seed": 7,
        "outcome": "failed",
        "checks": (),
        "reason": "",
        "expected": None,
    }
    passed = {"outcome": "passed"} if judgement in ("passed", "missed") else {}
    return Found(
        mutant=mutant, experiment=experiment, judgement=judgement, **fields | passed | more
    )


def test_the_table_has_a_line_for_each_mutant_and_a_column_for_each_experiment() -> None:
    runs = [
        found(SOUND, "x.py::test_a", "passed"),
        found(SOUND, "x.py::test_b", "passed"),
        found("no-breaker", "x.py::test_a", "caught"),
        found("no-breaker", "x.py::test_b", "also caught"),
        found("stale", "x.py::test_b", "missed"),
    ]
    lines = table(runs).splitlines()
    assert [one.split() for one in lines[:4]] == [
        ["E1", "E2"],
        ["sound", "·", "·"],
        ["no-breaker", "●", "○"],
        ["stale", "MISSED"],
    ]
    assert "E2  test_b" in lines
    assert wrong(runs[:4], ["no-breaker"], []) == ["No experiment says that it catches no-breaker."]
    assert wrong(runs, [], []) == [line(runs[-1])]


def test_several_seeds_are_counted() -> None:
    runs = [found("stale", "test_a", "caught")] * 3 + [found("stale", "test_a", "missed")]
    assert "MISSED 1/4" in table(runs)
    assert "● 3/3" in table(runs[:3])
    also = [found("stale", "test_a", "also caught"), found("stale", "test_a", "passed")]
    assert "○ 1/2" in table(also)


def test_what_went_wrong_is_told_with_seed_and_reason() -> None:
    told = line(found("stale", "x.py::test_a", "surprise", reason="slo: invalid.\nmore"))
    assert "surprise, seed 7\n    slo: invalid." in told and "more" not in told
    missed = found("stale", "test_a", "missed", expected="linearizable", checks=("slo(feed)",))
    told = line(dataclasses.replace(missed, folder="runs/x"))
    assert "linearizable should have found it; it was found only by slo(feed)" in told
    assert told.endswith("harness replay runs/x")


def test_plans_that_are_kept_are_no_part_of_the_matrix() -> None:
    kept = Path("experiments/regressions").glob("*.json")
    assert any("experiments/test_redis.py" in plan.read_text() for plan in kept)
    find = "from harness.mutants import collect; found = collect('redis', ['experiments'])"
    command = [sys.executable, "-c", f"{find}; print(*(one.id for one in found))"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "experiments/test_redis.py::" in told
    assert ".json" not in told
