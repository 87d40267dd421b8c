"""Each mutant of the registers is found. Those of the targets: `make mutants`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fixtures.registers import Registers, RegistersClient
from harness import faults, registers, seconds
from harness.check import linearizable
from harness.check.verdict import Verdict
from harness.declare import Experiment
from harness.engine import Run, perform
from harness.plan import make_plan
from harness.record.folder import RunFolder

pytestmark = pytest.mark.live


def judged(experiment: Experiment, folder: Path, seed: int) -> Verdict:
    plan = make_plan(experiment, "mutant", seed)
    run = Run(experiment, plan, RunFolder.create(folder, "mutant", seed), "")
    asyncio.run(perform(run))
    verdict = run.expect(linearizable("cas-register"))
    run.end(*run.conclusion())
    assert run.outcome in ("failed", "unknown"), run.reason
    return verdict


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
