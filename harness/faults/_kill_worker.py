"""kill_worker: SIGKILL to one process of a node; whoever supervises it must start another."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Self

from harness.errors import FaultError
from harness.faults._base import Members, NodeFault, Proof

if TYPE_CHECKING:
    from harness.nemesis import Site

PATIENCE_S = 3.0
"""How long a node is given to have a worker: it may be starting after another fault."""


@dataclass(frozen=True)
class KillWorker(NodeFault):
    """Kill one process of each node of `who`, other than its main process. Which one is drawn
    beforehand as `pick`, a share of those that are there then. There is nothing to heal: that the
    node has its workers again is its own supervisor's business."""

    kind: ClassVar[str] = "kill_worker"
    lasts: ClassVar[bool] = False

    pick: float | None = field(default=None, kw_only=True)

    def resolve(self, rng: random.Random, members: Members, lasting_s: float) -> Self:
        resolved = super().resolve(rng, members, lasting_s)
        return dataclasses.replace(resolved, pick=round(rng.random(), 6))

    async def inject(self, site: Site) -> None:
        for node in await site.resolve(self.who):
            pid = await self._worker(site, node)
            if pid is not None:
                # One that has just ended by itself is as gone as one that was killed.
                await site.cluster.kill_process(node, pid)
            site.remember(node, killed=pid)

    async def prove(self, site: Site) -> Proof:
        gone = {}
        for node in site.nodes:
            gone[node] = pid = site.memory[node]["killed"]
            if pid in site.cluster.processes(node):
                raise FaultError(f"{site.id}: worker {pid} of {node} was killed, but runs.")
        return {"gone": gone}

    async def _worker(self, site: Site, node: str) -> int | None:
        """The process to kill: None if another fault keeps the node down, so that it has none. A
        node that is just starting is waited for."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            _main, *workers = site.cluster.processes(node) or (0,)
            if workers:
                return workers[int((self.pick or 0.0) * len(workers))]
            if site.cluster.held_down(node):
                return None
            if asyncio.get_running_loop().time() >= deadline:
                raise FaultError(
                    f"{site.id}: {node} has no process beside its main one.",
                    do="Use faults.kill for servers that run as one process.",
                )
            await asyncio.sleep(0.02)

    async def heal(self, site: Site) -> None:
        pass

    async def prove_healed(self, site: Site) -> Proof:
        return {"pids": {node: list(site.cluster.processes(node)) for node in site.nodes}}
