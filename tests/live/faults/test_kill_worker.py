"""kill_worker: one process of a node is gone, its main process and the others go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.registers import Registers
from harness import Node, faults
from harness.errors import FaultError
from harness.runtime import proc
from tests.support.live_cluster import Live, on_cluster

pytestmark = pytest.mark.live


@dataclass(frozen=True, kw_only=True)
class WithWorkers(Registers):
    """Registers whose nodes have two more processes each, that nobody starts again."""

    def command(self, node: Node, peers: Sequence[Node]) -> Sequence[str]:
        script = 'sleep 60 & sleep 60 & exec "$@"'
        return ["sh", "-c", script, "sh", *super().command(node, peers)]


def test_one_worker_is_killed_and_the_rest_of_the_node_goes_on(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        main, *workers = live.cluster.processes("node-2")
        assert len(workers) == 2
        site = await live.inject(faults.kill_worker(who="node-2"))
        (killed,) = live.proof()["gone"].values()
        assert killed in workers
        # Nobody waits for it, but its main process took the place of the shell that started it.
        now = proc.status(killed)
        assert now is None or now.gone
        assert set(live.cluster.processes("node-2")) == {main, *workers} - {killed}
        assert await live.answers("client", "node-2")

        await live.nemesis.heal(site)
        assert len(live.proof(step="healed")["pids"]["node-2"]) == 2
        second = await live.inject(faults.kill_worker(who="node-2"), "f2")
        await live.nemesis.heal(second)
        kill = await live.inject(faults.kill(who="node-1"), "f4")
        beside = await live.inject(faults.kill_worker(who="node-1"), "f5")
        assert live.proof("f5")["gone"] == {"node-1": None}
        await live.nemesis.heal(beside)
        await live.nemesis.heal(kill)
        with pytest.raises(FaultError, match="no process beside its main one"):
            await live.inject(faults.kill_worker(who="node-2"), "f3")
        await live.assert_sound()

    on_cluster(tmp_path, work, target=WithWorkers(nodes=2))
