"""Shrinking as its users meet it: a real failing run becomes a small plan, and that a test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.nodes import wait_until
from tests.support.projects import STALE, left_over, run_pytest, runs_of

pytest_plugins = "pytester"
pytestmark = [pytest.mark.live, pytest.mark.usefixtures("project")]

SEVERAL = STALE.replace(
    'faults=[faults.netsplit("isolate", who="leader", at=seconds(0.3), lasting=seconds(0.7))]',
    "faults=[faults.pause(at=[seconds(0.1), seconds(0.9)], lasting=seconds(0.2)), "
    "faults.kill(at=seconds(0.5), restart_after=seconds(0.1))]",
)
"""Reads are stale whatever is done to the nodes, so that no fault is needed."""

BUDGET = ("--chaos-shrink-minutes", "0.3")

COMMAND = [sys.executable, "-m", "harness"]


def harness(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def failing(pytester: pytest.Pytester, *options: str) -> Path:
    """The folder of a run that failed, of an experiment in a folder of its own."""
    experiments = pytester.mkdir("experiments")
    (experiments / "test_it.py").write_text(SEVERAL)
    run_pytest(pytester, "experiments", *options).assert_outcomes(failed=1)
    (run,) = runs_of(pytester)
    assert len(run["bites"]) == 3
    return Path(run["path"])


def test_a_failing_run_is_shrunk_goes_on_and_is_kept_as_a_test(pytester: pytest.Pytester) -> None:
    run = failing(pytester)
    first = harness("shrink", run, "--runs", 8, cwd=pytester.path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "faults: faults 3 → 0" in first.stdout
    plan = json.loads((run / "shrink" / "plan.json").read_text())
    assert plan["faults"] == []
    assert plan["failure"]["check"] == "linearizable(cas-register)"

    again = harness("shrink", run, "--runs", 10, cwd=pytester.path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "going on from" in again.stdout
    smaller = json.loads((run / "shrink" / "plan.json").read_text())
    assert len(smaller["ops"]) < len(plan["ops"]) or plan["ops"] == smaller["ops"]
    assert len(smaller["ops"]) <= 0.2 * _invoked(run)
    # Of the many runs one is left, of the plan that was found.
    assert {path.name for path in (run / "shrink").iterdir()} >= {"plan.json", "log.jsonl"}
    assert not (run / "shrink" / "candidates").exists()
    assert len(runs_of(pytester)) == 1

    kept = harness("keep", run, "--name", "stale", cwd=pytester.path)
    assert kept.returncode == 0, kept.stderr
    assert "kept without it" in kept.stdout  # (the mutant)
    file = pytester.path / "experiments" / "regressions" / "stale.json"
    assert json.loads(file.read_text())["ops"] == smaller["ops"]
    twice = harness("keep", run, "--name", "stale", cwd=pytester.path)
    assert twice.returncode == 3
    assert "already" in twice.stderr
    # The experiment's own target is still the mutant: what was kept finds it, and comes first.
    result = run_pytest(pytester, "experiments", "-v")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["*regressions/stale.json::test_stale*", "*test_it.py::test_stale*"]
    )
    assert not left_over(pytester)


def test_pytest_shrinks_what_failed_when_it_is_done(pytester: pytest.Pytester) -> None:
    experiments = pytester.mkdir("experiments")
    (experiments / "test_it.py").write_text(SEVERAL.replace("rate=300", "rate=60"))
    options = ("--chaos-shrink", "--chaos-seeds", "2", "-n", "2", *BUDGET)
    result = run_pytest(pytester, "experiments", *options)
    result.assert_outcomes(failed=2)
    # One failure, though two seeds show it; and one process that shrinks it.
    assert "going on from" not in result.stdout.str()
    assert result.stdout.str().count("shrinking test_stale") == 1
    result.stdout.fnmatch_lines(["*shrinking test_stale*", "faults: faults 3 → 0*", "*no fault; *"])
    plans = list((pytester.path / "runs").glob("*/shrink/plan.json"))
    assert len(plans) == 1


def test_what_did_not_fail_is_not_shrunk(pytester: pytest.Pytester) -> None:
    run = failing(pytester)
    identity = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**identity, "outcome": "passed"}))
    verdicts = json.loads((run / "verdicts.json").read_text())
    (run / "verdicts.json").write_text(json.dumps({**verdicts, "verdicts": []}))
    told = harness("shrink", run, cwd=pytester.path)
    assert told.returncode == 3
    assert "shows no failure" in told.stderr


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_shrink_that_is_stopped_leaves_the_best_plan_and_nothing_else(
    pytester: pytest.Pytester, end: signal.Signals
) -> None:
    run = failing(pytester)
    plan = run / "shrink" / "plan.json"
    started = subprocess.Popen(
        [*COMMAND, "shrink", str(run)],
        cwd=pytester.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_until(lambda: plan.exists(), 60)
        os.kill(started.pid, end)
        output, _ = started.communicate(timeout=60)
        assert started.returncode == (-9 if end == signal.SIGKILL else 5), output
        wait_until(lambda: not left_over(pytester), 30)
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
    assert json.loads(plan.read_text())["ops"]


def _invoked(run: Path) -> int:
    return (run / "history.jsonl").read_text().count('"invoke"')
