"""The plugin as its users meet it: miniature projects under a real pytest, with real faults."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.support.nodes import wait_until
from tests.support.projects import (
    HEAD,
    LOAD,
    SOUND,
    STALE,
    left_over,
    programs,
    run_pytest,
    runs_of,
)
from tests.support.sessions import session

pytest_plugins = "pytester"
pytestmark = [pytest.mark.live, pytest.mark.usefixtures("project")]


def test_a_sound_target_passes_and_leaves_a_folder(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SOUND)
    result = run_pytest(pytester, "--chaos-seed", "424242")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["chaos: --chaos-seed 424242, runtime process, harness *"])
    result.stdout.fnmatch_lines(["*f1 in force on node-1*", "*f1 healed*", "passed*test_sound*"])
    (run,) = runs_of(pytester)
    assert run["outcome"] == "passed"
    assert run["ops"]["ok"] > 50
    assert run["bites"][0]["disturbed"] > 0
    assert {path.name for path in run["path"].iterdir()} == {
        "history.jsonl",
        "journal.jsonl",
        "logs",
        "plan.json",
        "report.html",
        "resources.jsonl",
        "run.json",
        "verdicts.json",
    }
    names = {path.name for path in (run["path"] / "logs").iterdir()}
    assert names == {"node-1.log", "node-2.log", "node-3.log", "toxiproxy.log"}


def test_a_mutant_fails_with_evidence_folder_and_replay(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=STALE)
    result = run_pytest(pytester, "--junitxml=junit.xml")
    result.assert_outcomes(failed=1)
    (run,) = runs_of(pytester)
    assert run["outcome"] == "failed"
    result.stdout.fnmatch_lines(
        [
            "failed (on the mutant stale-reads): 1 of 2 checks: linearizable(cas-register)",
            "linearizable(cas-register): invalid (expected valid)*",
            "converged(within=5s): valid (as expected)*",
            "*f1 netsplit isolate leader on node-1*",
            f"Run:*{run['path'].name}",
            f"Seed:*{run['seed']}",
            f"Replay: pytest 'test_it.py::test_stale' --chaos-replay runs/{run['path'].name}",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    assert (run["path"] / "evidence-1.svg").read_text().startswith("<svg")
    properties = {
        p.get("name"): p.get("value")
        for p in ElementTree.parse(pytester.path / "junit.xml").iter("property")
    }
    assert properties["chaos_seed"] == str(run["seed"])
    assert properties["chaos_outcome"] == "failed"
    assert properties["chaos_run"] == str(run["path"])


def test_a_flaw_that_is_expected_passes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it=STALE.replace('"cas-register")', '"cas-register"), verdict="invalid"').replace(
            "    run.expect(converged(within=seconds(5)))\n", ""
        )
    )
    run_pytest(pytester).assert_outcomes(passed=1)


def test_a_flaw_that_is_expected_and_absent_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it=SOUND.replace('"cas-register")', '"cas-register"), verdict="invalid"')
    )
    result = run_pytest(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["linearizable*: valid (expected invalid)*"])


def test_a_test_that_judges_nothing_is_unknown(pytester: pytest.Pytester) -> None:
    source = SOUND.split("    run.expect")[0] + "    pass\n"
    pytester.makepyfile(test_it=source)
    result = run_pytest(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["unknown: The test judged nothing*"])
    assert runs_of(pytester)[0]["outcome"] == "unknown"


@pytest.mark.parametrize("kind", ["run", "cluster"])
def test_a_failing_fixture_makes_the_run_unknown(pytester: pytest.Pytester, kind: str) -> None:
    source = SOUND.split("    run.expect")[0].replace("(run)", f"({kind}, broken)") + "    pass\n"
    pytester.makepyfile(
        test_it=source + "\n@pytest.fixture\ndef broken():\n    raise ValueError('no')\n"
    )
    run_pytest(pytester).assert_outcomes(errors=1)
    (run,) = runs_of(pytester)
    assert run["outcome"] == "unknown"
    assert run["reason"] == "The test did not run to its end."


def test_a_plain_assert_that_fails_shows_the_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SOUND + "    assert len(run.history) < 3\n")
    result = run_pytest(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert*len(*", "*chaos run*", "Run: *"])
    assert runs_of(pytester)[0]["outcome"] == "failed"


def test_the_seed_decides_whatever_the_order_and_the_workers(pytester: pytest.Pytester) -> None:
    many = HEAD + "".join(
        f"""
@experiment(
    target=Registers(nodes=3),
    workload=registers(RegistersClient, clients=3, rate=100),
    faults=[faults.kill(every=seconds(0.4), restart_after=seconds(0.1))],
    duration=seconds(0.6),
    before=seconds(0),
)
def test_{name}(run):
    run.expect(linearizable("cas-register"))
"""
        for name in ("a", "b")
    )
    pytester.makepyfile(test_it=many)

    def plans(folder: str, *arguments: str) -> dict[tuple[str, int], bytes]:
        result = run_pytest(pytester, "--chaos-runs-dir", folder, *arguments)
        assert result.ret == 0, result.stdout.str()
        found = {}
        for path in (pytester.path / folder).glob("*/plan.json"):
            plan = json.loads(path.read_text())
            found[plan["experiment"], plan["seed"]] = path.read_bytes()
        return found

    one = plans("one", "--chaos-seed", "424242", "--chaos-seeds", "2")
    assert len(one) == 4
    assert plans("two", "--chaos-seed", "424242", "--chaos-seeds", "2", "-n", "3") == one
    name, own = min(key for key in one if key[0].endswith("test_b"))
    alone = plans("three", "--chaos-seed", str(own), "-k", "test_b")
    assert alone == {(name, own): one[name, own]}
    assert not plans("four", "--chaos-seed", "8").keys() & one.keys()


def test_several_seeds_give_several_runs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SOUND)
    result = run_pytest(pytester, "--chaos-seeds", "2", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_sound?seed1?*", "*test_sound?seed2?*"])
    told = ["*chaos seeds*", "test_it.py::test_sound", "*2 seeds: 2 passed; *"]
    result.stdout.fnmatch_lines(told)
    runs = runs_of(pytester)
    assert len({run["seed"] for run in runs}) == 2
    assert {run["experiment"] for run in runs} == {"test_it.py::test_sound"}


def test_a_replay_carries_out_the_recorded_plan(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=SOUND, test_other="def test_other(): pass")
    run_pytest(pytester).assert_outcomes(passed=2)
    (first,) = runs_of(pytester)
    plan = json.loads((first["path"] / "plan.json").read_text())
    result = run_pytest(pytester, "--chaos-replay", f"runs/{first['path'].name}")
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.fnmatch_lines(["*replay*", f"Replayed {first['path'].name}; *"])
    again = next(run for run in runs_of(pytester) if run["path"] != first["path"])
    replayed = json.loads((again["path"] / "plan.json").read_text())
    assert replayed.pop("ops")
    assert replayed == plan
    command = [sys.executable, "-m", "harness", "replay", f"runs/{again['path'].name}"]
    third = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, timeout=60)
    assert third.returncode == 0, third.stdout
    assert f"Replayed {again['path'].name}" in third.stdout
    assert len(runs_of(pytester)) == 3


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "run.json").write_text("{"), "*run.json is damaged*"),
        (lambda run: (run / "run.json").unlink(), "*is not the folder of a run*"),
        (lambda run: (run / "plan.json").write_text('{"schema": 1}'), "*plan.json is damaged*"),
    ],
)
def test_a_damaged_folder_is_one_message(
    pytester: pytest.Pytester, damage: Any, message: str
) -> None:
    from fixtures.registers import Registers
    from harness.declare import Experiment
    from harness.plan import make_plan
    from harness.record.folder import RunFolder

    pytester.makepyfile(test_it=SOUND)
    folder = RunFolder.create(pytester.path / "runs", "test_it.py::test_sound", 1)
    plan = make_plan(Experiment(target=Registers()), "test_it.py::test_sound", 2**40)
    plan.write(folder.plan)
    folder.write_identity({"experiment": "test_it.py::test_sound", "seed": 1})
    damage(folder.path)
    result = run_pytest(pytester, "--chaos-replay", str(folder.path))
    assert result.ret != 0
    text = result.stdout.str() + result.stderr.str()
    pytest.LineMatcher(text.splitlines()).fnmatch_lines([message])
    assert "Traceback" not in text and "harness/" not in text


BAD = {
    "a typing error in a target": (
        SOUND.replace(
            "@experiment(",
            "class Wrong(Registers):\n"
            "    def command(self, node, peers):\n"
            "        return ['python', node.adress]\n\n"
            "@experiment(",
        ).replace("Registers(nodes=3)", "Wrong(nodes=3)"),
        ["*Target Wrong failed in command()*", "*adress*test_it.py:*"],
    ),
    "an unknown role": (
        SOUND.replace('who="leader"', 'who="leadr"'),
        ["*no node and no role 'leadr'*", "*node-1, node-2, node-3*leader, follower*"],
    ),
    "overlapping groups": (
        SOUND.replace(
            '"isolate", who="leader"', '"groups", groups=[["node-1"], ["node-1", "node-2"]]'
        ),
        ["*node-1*"],
    ),
    "a negative duration": (
        SOUND.replace("duration=seconds(1.5)", "duration=seconds(-1)"),
        ["*test_it.py:*duration must be more than zero*"],
    ),
    "a node that never gets ready": (
        SOUND.replace(
            "@experiment(",
            "class Deaf(Registers):\n"
            "    async def ready(self, node):\n"
            "        return False\n\n"
            "@experiment(",
        ).replace("Registers(nodes=3)", "Deaf(nodes=3, ready_timeout_s=0.5)"),
        ["*node-? * ready*"],
    ),
    "a node that exits": (
        SOUND.replace(
            "@experiment(",
            "class Short(Registers):\n"
            "    def command(self, node, peers):\n"
            "        return ['sh', '-c', 'echo no disk; exit 3']\n\n"
            "@experiment(",
        ).replace("Registers(nodes=3)", "Short(nodes=3)"),
        ["*node-?*3*", "*no disk*"],
    ),
    "a program that is not there": (
        SOUND.replace(
            "@experiment(",
            "class Gone(Registers):\n"
            "    def command(self, node, peers):\n"
            "        return ['no-such-server']\n\n"
            "@experiment(",
        ).replace("Registers(nodes=3)", "Gone(nodes=3)"),
        ["*no-such-server*"],
    ),
    "a client with a bug": (
        SOUND.replace(
            "@experiment(",
            "class Buggy(RegistersClient):\n"
            "    async def write(self, key, value):\n"
            "        self.wrote.append(value)\n\n"
            "@experiment(",
        ).replace("registers(RegistersClient", "registers(Buggy"),
        ["*Client Buggy failed in 'write'*", "*wrote*test_it.py:*"],
    ),
    "no experiment": ("def test_sound(run):\n    pass\n", ["*is no experiment*", "*@experiment*"]),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_message_and_nothing_is_left(pytester: pytest.Pytester, what: str) -> None:
    source, lines = BAD[what]
    pytester.makepyfile(test_it=source)
    result = run_pytest(pytester)
    assert result.ret != 0
    assert result.parseoutcomes().get("passed", 0) == 0
    text = result.stdout.str()
    pytest.LineMatcher(text.splitlines()).fnmatch_lines(lines)
    assert "Traceback" not in text and "/harness/" not in text, text
    wait_until(lambda: not left_over(pytester))


def test_a_missing_part_is_a_skip_with_the_ways_to_get_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it=SOUND.replace(
            "@experiment(",
            "from harness import Part\n"
            "class Far(Registers):\n"
            "    parts = (Part('Far', 'far-away-server', ways=('apt-get install far',)),)\n\n"
            "@experiment(",
        ).replace("Registers(nodes=3)", "Far(nodes=3)")
    )
    result = run_pytest(pytester)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["skipped  test_sound", "*Far is needed*", "*apt-get install far*"])


def test_steps_on_a_started_cluster(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it=HEAD
        + """
@experiment(target=Registers(nodes=3), client=RegistersClient)
def test_steps(cluster, nemesis, client):
    assert client.write("k", 1).outcome == "ok"
    with nemesis.netsplit({"node-1"}, {"node-2", "node-3"}):
        assert client.read("k").result == 1
        assert client.on("node-2").read("k").outcome == "fail"
    assert client.on("node-2").read("k").result == 1
    with nemesis.kill("node-3") as nodes:
        assert nodes == ("node-3",)
        assert cluster.state("node-3") == "down"
    cluster.wait_serving()
    with nemesis.pause("leader"):
        assert cluster.state("node-1") == "paused"
    assert client.cas("k", 7, 8).error == "mismatch"
    assert cluster.holders("leader") == ("node-1",)
    cluster.expect(linearizable("cas-register"))
"""
    )
    result = run_pytest(pytester)
    result.assert_outcomes(passed=1)
    (run,) = runs_of(pytester)
    assert run["outcome"] == "passed"
    assert [bite["id"] for bite in run["bites"]] == ["f1", "f2", "f3"]


def test_a_failed_cluster_is_kept_on_request_and_cleaned_up(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Clusters are registered in the directory for temporary files: cleaning up must not touch
    # those of whoever runs these tests.
    monkeypatch.setenv("TMPDIR", str(pytester.path))
    pytester.makepyfile(test_it=STALE)
    result = run_pytest(pytester, "--chaos-keep-failed")
    result.assert_outcomes(failed=1)
    (run,) = runs_of(pytester)
    assert set(left_over(pytester).values()) == {run["kept"]}
    assert len(left_over(pytester)) == 4
    command = [sys.executable, "-m", "harness", "cleanup"]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    wait_until(lambda: not left_over(pytester))


LONG = (
    SOUND.replace("duration=seconds(1.5)", "duration=seconds(60), load=k6('load.js', rate=5)")
    .replace(
        "lasting=seconds(0.7))",
        "lasting=seconds(50)),\n"
        "        faults.pause(who='node-3', at=seconds(0.5), lasting=seconds(50))",
    )
    .replace("registers, seconds", "k6, registers, seconds")
)


@pytest.mark.parametrize(
    ("number", "workers"),
    [
        (signal.SIGINT, ()),
        (signal.SIGTERM, ()),
        (signal.SIGKILL, ()),
        (signal.SIGINT, ("-n", "1")),
        (signal.SIGKILL, ("-n", "1")),
    ],
    ids=["ctrl-c", "sigterm", "sigkill", "ctrl-c-xdist", "sigkill-xdist"],
)
def test_an_interrupted_run_leaves_nothing(
    pytester: pytest.Pytester, number: signal.Signals, workers: tuple[str, ...]
) -> None:
    pytester.makepyfile(test_it=LONG)
    (pytester.path / "load.js").write_text(LOAD)
    with session(pytester, *workers) as process:

        def in_force() -> bool:
            journals = (pytester.path / "runs").glob("*/journal.jsonl")
            # A netsplit and a paused node.
            return any(path.read_text().count('"step":"proved"') == 2 for path in journals)

        wait_until(in_force, timeout_s=30)
        assert len(left_over(pytester)) >= 5
        assert programs(left_over(pytester)) >= {"k6", "toxiproxy-server"}
        if number is signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        output, _ = process.communicate(timeout=30)
    wait_until(lambda: not left_over(pytester), timeout_s=15)
    (run,) = runs_of(pytester)
    history = (run["path"] / "history.jsonl").read_text()
    assert history.count('"type":"ok"') > 20
    if number is not signal.SIGKILL and not workers:
        assert run["outcome"] == "aborted", output.decode()
        assert process.returncode == 2
