"""A target whose nodes reach each other past their links is found out: faults would not land."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fixtures.registers import Registers, RegistersClient
from harness import faults, registers, seconds
from harness.declare import Experiment
from harness.engine import Run, perform
from harness.errors import FaultError
from harness.plan import make_plan
from harness.record.folder import RunFolder
from tests.support.strays import PastTheLink

pytestmark = pytest.mark.live


class Direct(PastTheLink):
    where = "0.1"


class LinkOfAnother(PastTheLink):
    where = "2.1"


def perform_with(target: Registers, folder: Path) -> Run:
    experiment = Experiment(
        target=target,
        workload=registers(RegistersClient, clients=3, rate=100),
        faults=[faults.netsplit("isolate", who="node-3", at=seconds(0.2), lasting=seconds(0.3))],
        duration=seconds(0.8),
        before=seconds(0),
    )
    plan = make_plan(experiment, "stray", 2**40)
    run = Run(experiment, plan, RunFolder.create(folder, "stray", 1), "")
    try:
        asyncio.run(perform(run))
    finally:
        run.end(*run.conclusion())
    return run


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        (Direct(), "itself, past the link"),
        (LinkOfAnother(), "which is the link node-2>node-1:main"),
    ],
)
def test_a_netsplit_that_does_not_reach_everything_is_broken(
    target: Registers, seen: str, tmp_path: Path
) -> None:
    with pytest.raises(FaultError) as raised:
        perform_with(target, tmp_path)
    assert seen in str(raised.value)
    assert "node-3 is connected to" in str(raised.value)


def test_a_target_that_uses_its_links_is_not(tmp_path: Path) -> None:
    assert perform_with(Registers(), tmp_path).outcome == "unknown"
