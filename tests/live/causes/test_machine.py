"""State machines over a real cluster: what they find, keep, repeat and leave behind."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from harness.plan import read_plan
from tests.support.nodes import wait_until
from tests.support.projects import left_over, run_pytest, runs_of
from tests.support.sessions import session

pytest_plugins = "pytester"
pytestmark = [pytest.mark.live, pytest.mark.usefixtures("project")]

MACHINE = """
from fixtures.registers import Registers, RegistersClient
from hypothesis import settings, strategies as st
from hypothesis.stateful import Bundle, invariant, rule
from harness import faults
from harness.check import linearizable
from harness.machine import ClusterMachine

keys = st.sampled_from(["a", "b"])

class Machine(ClusterMachine):
    target = Registers(nodes=3)
    client = RegistersClient
    faults = (faults.netsplit("isolate", who="leader"), faults.kill())

    @rule(key=keys)
    def read(self, key):
        self.begin("read", key)

    @rule(key=keys)
    def write(self, key):
        self.begin("write", key, self.fresh())

    def check(self):
        self.expect(linearizable("register"))

test_machine = Machine.experiment(examples=4, steps=8)
"""


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_sound_target_passes_and_says_what_took_place(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=MACHINE)
    result = run_pytest(pytester, "--chaos-seed", "3")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*example 1: * ops, * faults in * s: as it must be", "*4 examples, * ops done, *"]
    )
    # Of examples there is a line each, not one for each of their phases.
    result.stdout.no_fnmatch_line("*final reads*")
    (run,) = runs_of(pytester)
    (verdict,) = json.loads((run["path"] / "verdicts.json").read_text())["verdicts"]
    assert verdict["result"] == "valid"
    assert verdict["summary"].startswith("So in 4 of 4 examples")
    # Each example has keys of its own.
    records = lines(run["path"] / "history.jsonl")
    assert len({record["key"].partition("-")[0] for record in records}) == 4
    assert (run["path"] / "plan.json").read_text().count('"ops"') == 0


def test_what_fails_is_a_run_of_its_own_that_replays(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=MACHINE.replace("examples=4, steps=8", "examples=20, steps=12"))
    result = run_pytest(pytester, "--chaos-mutant", "stale-reads", "--chaos-seed", "1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["failed (on the mutant stale-reads): 1 of 1 checks: *"])
    result.stdout.no_fnmatch_line("*reproduce_failure*")
    (run,) = runs_of(pytester)
    path = run["path"]
    plan = read_plan(path / "plan.json")
    number = plan.about.split()[1]
    records = lines(path / "history.jsonl")
    assert {record["key"].partition("-")[0] for record in records} == {f"e{number}"}
    invoked = [one for one in records if one["type"] == "invoke" and one["process"] % 9 < 6]
    assert plan.ops is not None
    assert len(plan.ops) == len(invoked)
    told = lines(path / "journal.jsonl")
    proved = {event["id"] for event in told if event.get("step") == "proved"}
    assert {fault.id for fault in plan.faults} == proved
    assert next(event["phase"] for event in told if event["event"] == "phase") == "up"
    assert sum(event.get("phase") == "during" for event in told) == 1
    assert run["ops"]["ok"] == sum(record["type"] == "ok" for record in records)
    if number != "1":
        assert (path / "examples" / "history.jsonl").stat().st_size > 0

    replay = run_pytest(pytester, "--chaos-replay", str(path))
    replay.stdout.fnmatch_lines(["*final reads*"])
    again = runs_of(pytester)[-1]["path"]
    repeated = read_plan(again / "plan.json")
    assert (repeated.ops, repeated.faults) == (plan.ops, plan.faults)
    assert again != path


def test_rules_may_assert_and_what_failed_is_tried_first(pytester: pytest.Pytester) -> None:
    wrong = MACHINE.replace(
        'self.begin("write", key, self.fresh())',
        'self.begin("write", key, self.fresh()); assert self.fresh() < 6, "too many"',
    )
    pytester.makepyfile(test_it=wrong.replace("examples=4", "examples=50"))
    # (Where `CI` is set, Hypothesis loads a profile of its own, which has no database.)
    pytester.makeconftest("from hypothesis import settings; settings.load_profile('default')")
    result = run_pytest(pytester, "--chaos-seed", "1")
    result.assert_outcomes(failed=1)
    # The line of the rule, and none of Hypothesis's.
    result.stdout.fnmatch_lines(["*assert self.fresh() < 6*", "*AssertionError: too many*"])
    result.stdout.no_fnmatch_line("*stateful.py*")
    result.stdout.no_fnmatch_line("*reproduce_failure*")
    (run,) = runs_of(pytester)
    assert run["outcome"] == "failed"
    assert "a replay makes only if it is in check()" in read_plan(run["path"] / "plan.json").about

    # Hypothesis's database holds it.
    run_pytest(pytester, "--chaos-seed", "2").assert_outcomes(failed=1)
    again = read_plan(runs_of(pytester)[-1]["path"] / "plan.json")
    assert again.about.startswith("Example 1 of Machine.")
    assert again.seed != run["seed"]


def test_mistakes_are_one_message(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=MACHINE.replace('self.begin("read"', 'self.begin("raed"'))
    result = run_pytest(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*RegistersClient has no method raed; it has *"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_an_interrupted_machine_leaves_nothing(pytester: pytest.Pytester) -> None:
    long = MACHINE.replace("examples=4, steps=8", "examples=5000, steps=20")
    pytester.makepyfile(test_it=long)
    with session(pytester) as process:

        def in_force() -> bool:
            journals = (pytester.path / "runs").glob("*/journal.jsonl")
            return any(path.read_text().count('"step":"proved"') > 1 for path in journals)

        wait_until(in_force, timeout_s=30)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    wait_until(lambda: not left_over(pytester), timeout_s=15)
    (run,) = runs_of(pytester)
    assert run["outcome"] == "aborted", output.decode()
    assert process.returncode == 2


def test_a_file_stops_a_machine(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=MACHINE.replace("examples=4", "examples=5000"))
    with session(pytester) as process:

        def begun() -> bool:
            journals = (pytester.path / "runs").glob("*/journal.jsonl")
            return any("example 2:" in path.read_text() for path in journals)

        wait_until(begun, timeout_s=30)
        (pytester.path / "runs" / "STOP").touch()
        output, _ = process.communicate(timeout=30)
    (run,) = runs_of(pytester)
    assert run["outcome"] == "aborted", output.decode()
    assert b"runs/STOP; remove it before the next run" in output
