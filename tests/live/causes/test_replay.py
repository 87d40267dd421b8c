"""Replays as their users meet them: values and targets as recorded, many times, elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.declare import Experiment, experiment_of
from harness.plan import make_plan
from tests.support.nodes import wait_until
from tests.support.projects import SOUND, STALE, left_over, programs, run_pytest, runs_of

pytest_plugins = "pytester"
pytestmark = [pytest.mark.live, pytest.mark.usefixtures("project")]


def harness(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command there."""
    command = [sys.executable, "-m", "harness", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def invoked(run: Path) -> Counter[tuple[Any, ...]]:
    """What the clients of a run asked for; of a cas only what it writes."""
    found: Counter[tuple[Any, ...]] = Counter()
    for line in (run / "history.jsonl").read_text().splitlines():
        op = json.loads(line)
        client = op["process"] % (6 + 3)
        if op["type"] == "invoke" and not op.get("final") and client < 6:
            value = op["value"][1] if op["f"] == "cas" else op["value"]
            found[client, op["f"], op["key"], value] += 1
    return found


def declared(source: str) -> Experiment:
    """The experiment in a test file."""
    namespace: dict[str, Any] = {}
    exec(compile(source, "test_it.py", "exec"), namespace)
    found = [experiment_of(one) for one in namespace.values()]
    return next(one for one in found if one is not None)


def _kill(at_s: float = 0.1, lasting_s: float = 0.5, **fields: str) -> dict[str, Any]:
    """A change of a plan: one fault."""
    fault = {"id": "f1", "at_s": at_s, "lasting_s": lasting_s, "kind": "kill"}
    return {"faults": [{**fault, "fields": {"who": "node-1", **fields}}]}


def test_a_replay_invokes_the_recorded_values_though_the_workload_changed(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_it=SOUND)
    run_pytest(pytester).assert_outcomes(passed=1)
    (first,) = runs_of(pytester)
    pytester.makepyfile(test_it=SOUND.replace("clients=6, rate=300", "clients=3, rate=50, keys=2"))
    told = harness("replay", first["path"], cwd=pytester.path)
    assert told.returncode == 0, told.stdout
    again = runs_of(pytester)[-1]
    assert again["path"] != first["path"]
    assert invoked(again["path"]) == invoked(first["path"])
    # A compare-and-set expects what its client knows now, so that some of them happen.
    history = (again["path"] / "history.jsonl").read_text().splitlines()
    assert any(json.loads(line)["type"] == "ok" and '"cas"' in line for line in history)


def test_a_failure_is_replayed_a_number_of_times_from_a_folder_below(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(test_it=STALE)
    run_pytest(pytester).assert_outcomes(failed=1)
    (first,) = runs_of(pytester)
    below = pytester.mkdir("below")
    listed = harness("runs", cwd=below)
    assert first["path"].name in listed.stdout, listed.stderr
    told = harness("replay", f"../runs/{first['path'].name}", "--times", 3, cwd=below)
    assert told.returncode == 1, told.stderr
    assert (
        "3 of 3 failed the same way: linearizable(cas-register): nonlinearizable (95 %"
        in told.stdout
    )
    assert len(runs_of(pytester)) == 4
    assert not left_over(pytester)


def test_a_fault_on_a_role_hits_the_same_node_again_if_told_to(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SOUND)
    run_pytest(pytester).assert_outcomes(passed=1)
    (first,) = runs_of(pytester)
    hit = first["bites"][0]["nodes"]
    # As if another node had held the role then.
    other = next(name for name in first["nodes"] if [name] != hit)
    journal = first["path"] / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        if line.get("step") == "injected":
            line["nodes"] = [other]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = harness("replay", first["path"], "--exact", cwd=pytester.path)
    assert told.returncode == 0, told.stdout
    assert runs_of(pytester)[-1]["bites"][0]["nodes"] == [other]
    told = harness("replay", first["path"], cwd=pytester.path)
    assert runs_of(pytester)[-1]["bites"][0]["nodes"] == hit


def test_an_exported_run_replays_where_there_is_no_project(
    pytester: pytest.Pytester, tmp_path: Path
) -> None:
    pytester.makepyfile(test_it=STALE, helper="NOTHING = 0", test_other="def test_it(): pass")
    run_pytest(pytester, "test_it.py").assert_outcomes(failed=1)
    (first,) = runs_of(pytester)
    told = harness("export", first["path"], "--to", tmp_path / "run.zip", cwd=pytester.path)
    assert told.returncode == 0, told.stderr
    shutil.rmtree(pytester.path / "runs")
    (pytester.path / "test_it.py").unlink()
    told = harness("replay", "run.zip", cwd=tmp_path)
    assert told.returncode == 1, told.stdout + told.stderr
    assert "It failed the same way: linearizable(cas-register): nonlinearizable." in told.stdout
    (again,) = (tmp_path / "runs").glob("*/run.json")
    assert json.loads(again.read_text())["outcome"] == "failed"
    unpacked = tmp_path / first["path"].name
    assert not (unpacked / "source" / "test_other.py").exists()
    # Its report brings what it is drawn with along.
    assert "<script src=" not in (unpacked / "report.html").read_text()


def test_a_plan_of_the_first_schema_is_carried_out(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SOUND)
    run_pytest(pytester).assert_outcomes(passed=1)
    (first,) = runs_of(pytester)
    plan = json.loads((first["path"] / "plan.json").read_text())
    assert plan["schema"] == 2
    (first["path"] / "plan.json").write_text(json.dumps({**plan, "schema": 1}))
    assert harness("replay", first["path"], cwd=pytester.path).returncode == 0
    (first["path"] / "plan.json").write_text(json.dumps({**plan, "schema": 99}))
    told = harness("replay", first["path"], cwd=pytester.path)
    assert told.returncode == 3
    assert "schema 99" in told.stderr


def test_a_plan_that_is_kept_is_a_test_of_its_own_and_the_first(pytester: pytest.Pytester) -> None:
    experiments = pytester.mkdir("experiments")
    (experiments / "test_it.py").write_text(SOUND)
    run_pytest(pytester, "experiments").assert_outcomes(passed=1)
    (first,) = runs_of(pytester)
    kept = experiments / "regressions"
    kept.mkdir()
    plan = json.loads((first["path"] / "plan.json").read_text())
    assert plan["experiment"] == "experiments/test_it.py::test_sound"
    for wanted, mutant in (("fixed", None), ("stale", "stale-reads")):
        edited = {
            **plan,
            "target": {**plan["target"], "mutant": mutant},
            "ops": [
                {"client": 0, "at_s": 0.1 * number, "f": "write", "key": "r1", "values": [number]}
                for number in range(1, 15)
            ]
            + [
                {"client": c, "at_s": 0.1 * n, "f": "read", "key": "r1"}
                for n in range(1, 15)
                for c in (1, 2)
            ],
        }
        (kept / f"{wanted}.json").write_text(json.dumps(edited))
    (kept / "other.json").write_text('{"nothing": "of ours"}')
    result = run_pytest(pytester, "experiments", "-v", "--chaos-seeds", "2")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*regressions/fixed.json::test_sound*",
            "*regressions/stale.json::test_sound*",
            "*experiments/test_it.py::test_sound?seed1?*",
            "*experiments/test_it.py::test_sound?seed2?*",
        ]
    )
    regressions = [run for run in runs_of(pytester) if run.get("regression")]
    assert {run["regression"] for run in regressions} == {
        "experiments/regressions/fixed.json",
        "experiments/regressions/stale.json",
    }
    assert all(sum(run["ops"].values()) < 80 for run in regressions)


def test_a_plan_of_a_test_in_a_class_is_that_test_alone(pytester: pytest.Pytester) -> None:
    head, body = SOUND.split("@experiment", 1)
    method = "    @experiment" + body.replace("\n", "\n    ").replace("(run)", "(self, run)")
    other = method.replace("test_sound", "test_other")
    experiments = pytester.mkdir("experiments")
    (experiments / "test_it.py").write_text(f"{head}\nclass TestIt:\n{method}\n{other}")
    run_pytest(pytester, "experiments", "-k", "test_sound").assert_outcomes(passed=1, deselected=1)
    (first,) = runs_of(pytester)
    assert first["experiment"] == "experiments/test_it.py::TestIt::test_sound"
    kept = harness("keep", first["path"], "--name", "kept", cwd=pytester.path)
    assert kept.returncode == 0, kept.stderr
    run_pytest(pytester, "experiments/regressions").assert_outcomes(passed=1)
    again = runs_of(pytester)[-1]
    assert (again["experiment"], again["seed"]) == (first["experiment"], first["seed"])
    assert invoked(again["path"]) == invoked(first["path"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"experiment": "experiments/test_it.py::test_gone"}, "*which is no test any more*"),
        ({"experiment": "experiments/test_gone.py::test_it"}, "*but there is no *test_gone.py*"),
        ({"ops": [{"client": 0, "at_s": 1, "f": "read", "kez": "r1"}]}, "*has no 'kez' in op 1*"),
        (
            {"ops": [{"client": 99, "at_s": 1, "f": "read"}]},
            "*wrong.json, op 1 is one of client 99*",
        ),
        (
            {"ops": [{"client": 0, "at_s": 1, "f": "raed"}]},
            "*wrong.json, op 1: * no method 'raed'*",
        ),
        (
            {"ops": [{"client": 0, "at_s": 1, "f": "write", "key": "r1"}]},
            "*wrong.json, op 1: RegistersClient.write cannot be called so: missing*'value'*",
        ),
        ({"nodes": ["node-1", "node-9"]}, "*node-9: not among the nodes*"),
        ({"faults": [{"id": "f1", "at_s": 1, "lasting_s": 1}]}, "*It lacks 'kind' in fault 1*"),
        (_kill(who="leadr"), "*wrong.json, fault f1: there is no node and no role 'leadr'*"),
        (_kill(whom="leader"), "*wrong.json in fault 1: *fields that do not fit*"),
        (_kill(at_s=50), "*wrong.json, fault f1 is healed at 50.5 s, after the end*"),
        (_kill(lasting_s=-1), "*wrong.json, fault f1: at_s 0.1, lasting_s -1*"),
        ({"schema": 99}, "*schema 99*"),
        (None, "*wrong.json is damaged*"),
    ],
)
def test_a_plan_with_a_mistake_is_one_message(
    pytester: pytest.Pytester, change: dict[str, Any] | None, message: str
) -> None:
    experiments = pytester.mkdir("experiments")
    (experiments / "test_it.py").write_text(SOUND)
    kept = experiments / "regressions"
    kept.mkdir()
    plan = make_plan(declared(SOUND), "experiments/test_it.py::test_sound", 1).to_json()
    text = "" if change is None else json.dumps({**plan, **change})
    (kept / "wrong.json").write_text(text)
    result = run_pytest(pytester, "experiments/regressions")
    assert result.ret not in (0, 5)
    text = result.stdout.str() + result.stderr.str()
    pytest.LineMatcher(text.splitlines()).fnmatch_lines([message])
    assert "Traceback" not in text, text
    assert not (pytester.path / "runs").exists()


def test_workers_end_with_the_command_that_started_them(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SOUND.replace("seconds(1.5)", "seconds(30)"))
    command = [sys.executable, "-m", "harness", "replay", "runs/first", "--times", "2"]
    first = pytester.path / "runs" / "first"
    first.mkdir(parents=True)
    long = declared(SOUND.replace("seconds(1.5)", "seconds(30)"))
    plan = make_plan(long, "test_it.py::test_sound", 1)
    plan.write(first / "plan.json")
    identity = {"schema": 1, "experiment": "test_it.py::test_sound", "seed": 1}
    (first / "run.json").write_text(json.dumps(identity))
    (first / "journal.jsonl").write_text("")
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL)
    for number, end in enumerate(ends):
        started = subprocess.Popen(
            command,
            cwd=pytester.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            if number < 3:
                wait_until(lambda: "toxiproxy" in " ".join(_names(pytester)), 30)
            else:  # the workers are there, and have not looked yet who their parent is
                wait_until(lambda: len(left_over(pytester)) >= 3, 30)
            os.kill(started.pid, end)
            output, _ = started.communicate(timeout=60)
            assert started.returncode == (-9 if end == signal.SIGKILL else 5), output
            wait_until(lambda: not left_over(pytester), 30)
        finally:
            if started.poll() is None:
                os.killpg(started.pid, signal.SIGKILL)


def _names(pytester: pytest.Pytester) -> set[str]:
    return programs(left_over(pytester))
