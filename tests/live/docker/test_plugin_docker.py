"""`--chaos-runtime docker` as people meet it."""

from __future__ import annotations

import json

import pytest

from harness.runtime.docker.engine import Engine
from tests.support.projects import HEAD, SOUND, STALE, run_pytest, runs_of

pytest_plugins = "pytester"
pytestmark = [pytest.mark.live, pytest.mark.usefixtures("project")]

DOCKER = ("--chaos-runtime", "docker")

STEPS = (
    HEAD
    + """
@experiment(target=Registers(nodes=3), client=RegistersClient)
def test_steps(cluster, nemesis, client):
    pass
"""
)


def test_without_an_engine_experiments_are_skipped(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/docker.sock")
    pytester.makepyfile(test_it=SOUND, test_steps=STEPS, test_other="def test_other(): pass")
    result = run_pytest(pytester, *DOCKER, "-rs")
    result.assert_outcomes(skipped=2, passed=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["skipped  test_sound*", "*No Docker engine runs here: there is no /no/such/docker.sock*"]
    )
    result.stdout.fnmatch_lines(["*Start it*DOCKER_HOST*"])
    assert all(run["outcome"] != "passed" for run in runs_of(pytester))
    assert "Traceback" not in result.stdout.str()


def test_a_target_without_an_image_is_skipped(engine: Engine, pytester: pytest.Pytester) -> None:
    source = SOUND.replace(
        "@experiment(",
        "class Bare(Registers):\n    image = None\n\n@experiment(",
    ).replace("Registers(nodes=3)", "Bare(nodes=3)")
    pytester.makepyfile(test_it=source)
    result = run_pytest(pytester, *DOCKER)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*Target Bare does not run in containers.*"])


def test_a_plan_recorded_on_containers_has_the_same_verdict_on_processes(
    engine: Engine, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(test_it=STALE)
    run_pytest(pytester, *DOCKER).assert_outcomes(failed=1)
    (first,) = runs_of(pytester)
    result = run_pytest(
        pytester, "--chaos-replay", str(first["path"]), "--chaos-runtime", "process"
    )
    result.assert_outcomes(failed=1)
    _, second = runs_of(pytester)
    assert first["outcome"] == second["outcome"] == "failed"
    plan, replayed = (
        json.loads((run["path"] / "plan.json").read_text()) for run in (first, second)
    )
    assert replayed.pop("ops")
    assert replayed == plan
    for run in (first, second):
        assert len(list((run["path"] / "logs").glob("node-*.log"))) == 3


def test_a_node_that_ends_at_once_is_one_message(engine: Engine, pytester: pytest.Pytester) -> None:
    body = "def command(self, node, peers):\n        return ['sh', '-c', 'echo no disk; exit 3']\n"
    source = SOUND.replace("@experiment(", f"class Short(Registers):\n    {body}\n@experiment(")
    pytester.makepyfile(test_it=source.replace("Registers(nodes=3)", "Short(nodes=3)"))
    result = run_pytest(pytester, *DOCKER)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*node-? ended before it was ready: exit status 3*", "*no disk*"])
    assert "Traceback" not in result.stdout.str()
