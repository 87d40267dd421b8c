"""Runs that are stopped, and runs that are not steady: healed at once, recorded, and named."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.nodes import wait_until
from tests.support.projects import SOUND, run_pytest, runs_of

pytest_plugins = "pytester"
pytestmark = [pytest.mark.live, pytest.mark.usefixtures("project")]


def experiment(arguments: str) -> str:
    """A minute of a leader that is cut off, with more arguments."""
    return (
        SOUND.replace("duration=seconds(1.5)", f"duration=seconds(60), {arguments}")
        .replace("lasting=seconds(0.7)", "lasting=seconds(50)")
        .replace("registers, seconds", "probe, probes, registers, seconds, stop_after, stop_when")
    )


def steps(run: Path) -> list[str]:
    """What became of the fault, and how the run ended."""
    events = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    return [
        event.get("step", event["event"]) for event in events if event["event"] in ("fault", "end")
    ]


def test_a_stop_condition_aborts_heals_and_keeps_everything(pytester: pytest.Pytester) -> None:
    condition = "stop_when(probes.error_rate(at_most=0.01), lasting=seconds(0.4))"
    pytester.makepyfile(test_it=experiment(f"stop=[{condition}]"))
    began = time.monotonic()
    result = run_pytest(pytester)
    assert time.monotonic() - began < 30
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*aborted: The run was stopped: error_rate was *, and had been out of bounds for *"]
    )
    (run,) = runs_of(pytester)
    assert run["outcome"] == "aborted"
    assert steps(run["path"])[-3:] == ["healing", "healed", "end"]
    assert (run["path"] / "history.jsonl").read_text().count('"type":"ok"') > 20
    measured = (run["path"] / "measurements.jsonl").read_text().splitlines()
    assert any(json.loads(line)["within"] for line in measured)
    assert json.loads(measured[-1])["within"] is False


def test_a_file_stops_a_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=experiment("stop=[stop_after(seconds(40))]"))
    with subprocess.Popen(
        [sys.executable, "-m", "pytest"],
        cwd=pytester.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:

        def in_force() -> bool:
            journals = (pytester.path / "runs").glob("*/journal.jsonl")
            return any('"step":"proved"' in path.read_text() for path in journals)

        try:
            wait_until(in_force, timeout_s=30)
            (pytester.path / "runs" / "STOP").touch()
            output, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    (run,) = runs_of(pytester)
    assert run["outcome"] == "aborted", output
    assert "runs/STOP; remove it before the next run" in output
    assert steps(run["path"])[-3:] == ["healing", "healed", "end"]

    # While it is there, nothing is started.
    result = run_pytest(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*There is a file *runs/STOP.", "Do: Remove it *"])
    assert len(runs_of(pytester)) == 1


def test_a_check_that_gives_no_verdict_is_one_message(pytester: pytest.Pytester) -> None:
    wrong = "steady = lambda history: True\n    steady.name = 'steady'\n    run.expect(steady)"
    pytester.makepyfile(test_it=SOUND.replace("run.expect(converged(within=seconds(5)))", wrong))
    result = run_pytest(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*run.expect: the check steady returned True.*"])
    result.stdout.no_fnmatch_line("*engine.py*")


def test_a_state_that_is_not_steady_is_said_with_its_figures(pytester: pytest.Pytester) -> None:
    never = "probe('queue', lambda look: 7, at_most=3)"
    pytester.makepyfile(test_it=experiment(f"steady_state=[{never}], recovery=seconds(1)"))
    result = run_pytest(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*unsteady: queue was 7 (at most 3 is demanded) before any fault within 1 s."]
    )
    (run,) = runs_of(pytester)
    assert (run["outcome"], run["bites"]) == ("unsteady", [])


def test_a_mutant_is_chosen_by_an_option(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SOUND)
    result = run_pytest(pytester, "--chaos-mutant", "stale-reads")
    result.assert_outcomes(failed=1)
    (run,) = runs_of(pytester)
    assert (run["outcome"], run["mutant"]) == ("failed", "stale-reads")
    # The plan says which mutant it was for.
    run_pytest(pytester, "--chaos-replay", str(run["path"])).assert_outcomes(failed=1)
    assert [one["mutant"] for one in runs_of(pytester)] == ["stale-reads", "stale-reads"]
    result = run_pytest(pytester, "--chaos-mutant", "unheard-of")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*Target Registers has no mutant 'unheard-of'.*"])
