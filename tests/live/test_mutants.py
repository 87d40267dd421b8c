"""Every experiment can fail: on a target with a deliberate bug it does, with the right verdict."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from experiments import test_etcd
from fixtures.registers import Registers, RegistersClient
from harness import faults, registers, seconds
from harness.check import linearizable
from harness.check.verdict import Verdict
from harness.declare import Experiment, experiment_of
from harness.engine import Run, perform
from harness.plan import make_plan
from harness.record.folder import RunFolder

pytestmark = pytest.mark.live

ON_ETCD = {
    name: found
    for name, function in vars(test_etcd).items()
    if name.startswith("test_") and (found := experiment_of(function)) is not None
}


def judged(experiment: Experiment, folder: Path, seed: int) -> Verdict:
    plan = make_plan(experiment, "mutant", seed)
    run = Run(experiment, plan, RunFolder.create(folder, "mutant", seed), "")
    asyncio.run(perform(run))
    verdict = run.expect(linearizable("cas-register"))
    run.end(*run.conclusion())
    assert run.outcome in ("failed", "unknown"), run.reason
    return verdict


def test_no_experiment_on_etcd_is_without_a_mutant() -> None:
    without = [name for name, experiment in ON_ETCD.items() if not experiment.catches]
    # That one is about a flaw itself, and fails if it is not found.
    assert without == ["test_serializable_reads_are_stale"]


@pytest.mark.parametrize(
    ("name", "mutant"), [(name, mutant) for name, one in ON_ETCD.items() for mutant in one.catches]
)
def test_each_experiment_on_etcd_finds_its_mutants(name: str, mutant: str, tmp_path: Path) -> None:
    sound = ON_ETCD[name]
    target = dataclasses.replace(sound.target, mutant=mutant)
    verdict = judged(dataclasses.replace(sound, target=target), tmp_path, seed=2**40)
    assert verdict.result == "invalid", verdict.summary
    assert verdict.check.startswith(sound.catches[mutant])


@pytest.mark.parametrize("mutant", [None, *Registers.mutants])
def test_each_mutant_of_the_registers_is_found(mutant: str | None, tmp_path: Path) -> None:
    experiment = Experiment(
        target=Registers(nodes=3, mutant=mutant),
        workload=registers(RegistersClient, clients=6, rate=300),
        faults=[
            faults.kill(who="leader", at=seconds(0.5), restart_after=seconds(0.2)),
            faults.netsplit("isolate", who="leader", at=seconds(1), lasting=seconds(0.7)),
        ],
        duration=seconds(2),
        before=seconds(0),
    )
    verdict = judged(experiment, tmp_path, seed=2**40)
    assert verdict.result == ("invalid" if mutant else "valid"), verdict.summary
