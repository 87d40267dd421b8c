"""Experiments with faults that only containers make possible, as people write and run them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from harness.errors import MissingPartError
from harness.runtime.docker.engine import Engine
from targets.etcd import Etcd
from tests.support.live_cluster import started
from tests.support.projects import HEAD, run_pytest, runs_of

pytest_plugins = "pytester"
pytestmark = pytest.mark.live

DOCKER = ("--chaos-runtime", "docker")

ALL = (
    HEAD
    + """
from harness import minutes

HOLD = {"lasting": seconds(1)}

@experiment(
    target=Registers(nodes=3),
    workload=registers(RegistersClient, clients=4, rate=100),
    faults=[
        faults.netsplit("isolate", who="leader", how="packets", at=seconds(0.3), **HOLD),
        faults.packet_loss(10, who="leader", at=seconds(0.5), **HOLD),
        faults.memory("128MB", who="random", at=seconds(0.7), **HOLD),
        faults.cpu(0.2, who="leader", at=seconds(1), **HOLD),
        faults.disk_full(who="leader", at=seconds(3), **HOLD),
        faults.clock_skew(minutes(5), who="random", at=seconds(3), **HOLD),
        faults.names(who="follower", at=seconds(3.2), **HOLD),
    ],
    duration=seconds(6),
    before=seconds(0.2),
)
def test_all(run):
    run.expect(linearizable("cas-register"))
"""
)

STEPS = (
    HEAD
    + """
from harness import minutes

@experiment(target=Registers(nodes=2), client=RegistersClient, needs=["clock"])
def test_steps(cluster, nemesis, client):
    with nemesis.netsplit(["node-1"], ["node-2"], how="packets"):
        assert client.on("node-2").read("x").outcome != "ok"
    with nemesis.inject(faults.clock_skew(minutes(5), who="node-2")) as nodes:
        assert nodes == ("node-2",)
        assert client.on("node-2").read("x").outcome == "ok"
"""
)


@pytest.mark.usefixtures("project")
def test_an_experiment_with_all_of_them(engine: Engine, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=ALL)
    result = run_pytest(pytester, *DOCKER)
    result.assert_outcomes(passed=1)
    (run,) = runs_of(pytester)
    assert len(run["bites"]) == 7


@pytest.mark.usefixtures("project")
def test_step_by_step(engine: Engine, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=STEPS)
    run_pytest(pytester, *DOCKER).assert_outcomes(passed=1)


@pytest.mark.usefixtures("project")
def test_on_processes_they_are_skipped_before_anything_starts(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=ALL, test_steps=STEPS)
    result = run_pytest(pytester, "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*process runtime has not what the faults*need.*"])
    for need in ("clock (", "cpu (", "disk (", "memory (", "names (", "packet-loss (", "packets ("):
        assert need in result.stdout.str()
    assert "--chaos-runtime docker" in result.stdout.str()
    for run in runs_of(pytester):
        assert not list((run["path"] / "logs").glob("*"))


def test_a_program_without_a_c_library_is_refused_before_any_fault(
    engine: Engine, tmp_path: Path
) -> None:
    async def start() -> None:
        async with asyncio.timeout(60), started(tmp_path, Etcd(nodes=1), "docker", ["clock"]):
            pass

    try:
        asyncio.run(start())
    except MissingPartError as error:
        if "etcd is" in str(error) or "not to be had" in str(error):
            pytest.skip(str(error))
        assert "The clock of node-1 cannot be moved" in str(error)
        assert "linked statically" in str(error)
    else:
        pytest.fail("etcd, which is linked statically, got a clock that can be moved")
