"""A target whose nodes reach each other past their links is found out: faults would not land."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from fixtures.registers import PORT, Registers, RegistersClient
from harness import Node, faults, registers, seconds
from harness.declare import Experiment
from harness.engine import Run, perform
from harness.errors import FaultError
from harness.plan import make_plan
from harness.record.folder import RunFolder

pytestmark = pytest.mark.live


class PastTheLink(Registers):
    """node-3 keeps a connection to `where`, which is no link of its own."""

    starts_in_turn: ClassVar[bool] = True
    where: ClassVar[str]

    def command(self, node: Node, peers: Sequence[Node]) -> Sequence[str]:
        server = super().command(node, peers)
        if node.name != "node-3":
            return server
        block = ".".join(node.address.split(".")[:2])
        script = f'exec 3<>/dev/tcp/{block}.{self.where}/{PORT}; exec "$@"'
        return ["bash", "-c", script, "bash", *server]


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
