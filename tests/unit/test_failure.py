"""What counts as the same failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UnreadableError
from harness.failure import Failure, failures
from harness.record.folder import RunFolder


def verdict(check: str, result: str = "invalid", expected: str = "valid", **more: Any) -> dict:
    told = {"check": check, "result": result, "expected": expected, "model": None, "anomaly": None}
    return {**told, "data": {}, **more}


def run(
    path: Path, outcome: str | None, reason: str = "", *verdicts: dict[str, Any], raised: str = ""
) -> RunFolder:
    identity = {
        "raised": raised or None,
        "schema": 1,
        "experiment": "x",
        "seed": 1,
        "outcome": outcome,
        "reason": reason,
    }
    (path / "run.json").write_text(json.dumps(identity))
    (path / "verdicts.json").write_text(json.dumps({"schema": 1, "verdicts": verdicts}))
    return RunFolder(path)


LOST = verdict("set-full", anomaly="lost", data={"anomalies": ["stale", "lost"]})


def test_the_gravest_anomaly_stands_first_and_must_be_found_again(tmp_path: Path) -> None:
    (found,) = failures(run(tmp_path, "failed", "", LOST))
    assert found == Failure("set-full", ("lost", "stale"))
    assert found.same(Failure("set-full", ("stale", "lost")))
    assert not found.same(Failure("set-full", ("stale",)))
    assert not found.same(Failure("set", ("lost",)))
    assert not found.same(Failure("set-full", ("lost",), model="other"))


def test_a_flaw_that_is_expected_is_a_failure_too_but_not_the_first(tmp_path: Path) -> None:
    expected = {**LOST, "expected": "invalid"}
    (found,) = failures(run(tmp_path, "passed", "", expected))
    assert found.expected
    other = verdict("available", anomaly="unavailable")
    first, second = failures(run(tmp_path, "failed", "", expected, other))
    assert (first.check, second.check) == ("available", "set-full")


def test_a_flaw_that_was_not_found_is_no_failure_that_could_be_shown_again(tmp_path: Path) -> None:
    missed = verdict("set-full", "valid", "invalid")
    reason = "set-full: valid, expected invalid."
    assert failures(run(tmp_path, "failed", reason, missed)) == []


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("node-1 did not answer before any fault within 15 s.\nmore", "before-faults"),
        ("node-1 did not answer after everything was healed within 15 s.", "after-healing"),
        ("node-1 did not answer read (timeout) in the final reads within 1 s.", "final-reads"),
    ],
)
def test_unsteady_counts_by_the_phase(tmp_path: Path, reason: str, kind: str) -> None:
    assert failures(run(tmp_path, "unsteady", reason)) == [Failure("unsteady", (kind,))]


def test_the_tests_own_assertion_counts_by_its_exception(tmp_path: Path) -> None:
    valid, unknown = verdict("available", "valid"), verdict("set", "unknown")
    line = "assert lost < 2"
    one = failures(run(tmp_path, "failed", "AssertionError: assert 3 < 2", valid, raised=line))
    other = failures(run(tmp_path, "failed", "AssertionError: assert 9 < 2", unknown, raised=line))
    assert one == other == [Failure("AssertionError", (line,))]
    (third,) = failures(run(tmp_path, "failed", "AssertionError: no", valid, raised="assert up"))
    assert not one[0].same(third)


@pytest.mark.parametrize("outcome", [None, "broken", "aborted", "unknown", "passed"])
def test_what_was_not_judged_or_passed_shows_none(tmp_path: Path, outcome: str | None) -> None:
    assert failures(run(tmp_path, outcome, "Something: else")) == []


def test_it_is_read_as_it_was_written() -> None:
    failure = Failure("set-full", ("lost", "stale"), "m", True)
    assert Failure.from_json(json.loads(json.dumps(failure.to_json()))) == failure
    with pytest.raises(UnreadableError):
        Failure.from_json({"anomalies": []})
