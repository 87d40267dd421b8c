"""restart: SIGTERM and start again at once, as a deployment does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.errors import FaultError
from harness.faults._base import NodeFault, Proof
from harness.faults._kill import prove_up

if TYPE_CHECKING:
    from harness.nemesis import Site


@dataclass(frozen=True)
class Restart(NodeFault):
    """Stop the nodes and start them again at once, one after the other."""

    kind: ClassVar[str] = "restart"
    lasts: ClassVar[bool] = False

    async def inject(self, site: Site) -> None:
        for node in await site.resolve(self.who):
            pids = list(site.cluster.processes(node))
            ended = await site.cluster.stop(node, site.id)
            site.remember(node, pids=pids, ended=ended, starts=site.cluster.starts(node))
            await site.cluster.revive(node, site.id)

    async def prove(self, site: Site) -> Proof:
        before = {node: site.memory[node]["pids"] for node in site.nodes}
        now = await prove_up(site)
        for node, pids in now["pids"].items():
            if set(pids) & set(before[node]):
                raise FaultError(f"{site.id}: {node} still runs the processes it had before.")
        return {"before": before, **now}

    async def heal(self, site: Site) -> None:
        for node in site.nodes:
            await site.cluster.revive(node, site.id)

    async def prove_healed(self, site: Site) -> Proof:
        return await prove_up(site)
