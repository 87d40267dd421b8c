"""pause: SIGSTOP, as a long garbage collection or a frozen virtual machine looks from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.errors import FaultError
from harness.faults._base import NodeFault, Proof

if TYPE_CHECKING:
    from harness.nemesis import Site


@dataclass(frozen=True)
class Pause(NodeFault):
    """Freeze every process of the nodes; connections stay open and nothing answers. Thawed, a node
    goes on where it was, and does not know that time has passed."""

    kind: ClassVar[str] = "pause"

    async def inject(self, site: Site) -> None:
        for node in await site.resolve(self.who):
            await site.cluster.pause(node, site.id)

    async def prove(self, site: Site) -> Proof:
        stopped = {}
        for node in site.nodes:
            await site.cluster.settle(node)
            if site.cluster.state(node) == "running":
                raise FaultError(f"{site.id}: {node} should be paused, but runs.")
            # None if another fault keeps it down: it is paused as soon as it is started again.
            stopped[node] = list(site.cluster.processes(node))
        return {"stopped": stopped}

    async def heal(self, site: Site) -> None:
        for node in site.nodes:
            await site.cluster.resume(node, site.id)

    async def prove_healed(self, site: Site) -> Proof:
        states = {}
        for node in site.nodes:
            await site.cluster.settle(node)
            states[node] = site.cluster.state(node)
            if states[node] == "paused" and not site.cluster.held_paused(node):
                raise FaultError(f"{site.id}: {node} should run again, but is still paused.")
        return {"states": states}
