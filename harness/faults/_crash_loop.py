"""crash loop: the node is killed again each time it came up, as a bad release behaves."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from harness.errors import FaultError
from harness.faults._base import NodeFault, Proof
from harness.faults._kill import prove_up, take_down
from harness.units import Duration, seconds, to_seconds

if TYPE_CHECKING:
    from harness.nemesis import Site


@dataclass(frozen=True)
class CrashLoop(NodeFault):
    """Kill the nodes, start them after `down`, let them run for `up`, kill them again, and so on;
    healed, they stay up."""

    kind: ClassVar[str] = "crash-loop"

    up: Duration = field(default_factory=lambda: seconds(0.5), kw_only=True)
    down: Duration = field(default_factory=lambda: seconds(0.3), kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        # Plain seconds from here on: a plan holds numbers.
        for name in ("up", "down"):
            number = to_seconds(getattr(self, name), f"faults.crash_loop: {name}")
            object.__setattr__(self, name, number)

    async def inject(self, site: Site) -> None:
        for node in await site.resolve(self.who):
            site.remember(node, crashes=0)
            await self._crash(site, node)
        site.spawn(self._loop(site))

    async def prove(self, site: Site) -> Proof:
        for node in site.nodes:
            if not site.memory[node]["crashes"]:
                raise FaultError(f"{site.id}: {node} was not killed once.")
        return {"crashes": {node: site.memory[node]["crashes"] for node in site.nodes}}

    async def heal(self, site: Site) -> None:
        for node in site.nodes:
            await site.cluster.revive(node, site.id)

    async def prove_healed(self, site: Site) -> Proof:
        crashes = {node: site.memory[node]["crashes"] for node in site.nodes}
        return {**await prove_up(site), "crashes": crashes}

    async def _loop(self, site: Site) -> None:
        while True:
            await asyncio.sleep(to_seconds(self.down, "down"))
            for node in site.nodes:
                await site.cluster.revive(node, site.id)
            await asyncio.sleep(to_seconds(self.up, "up"))
            for node in site.nodes:
                await self._crash(site, node)

    async def _crash(self, site: Site, node: str) -> None:
        await take_down(site, node)
        left = site.cluster.processes(node)
        if left:
            raise FaultError(f"{site.id}: {node} should be down, but runs as {list(left)}.")
        site.memory[node]["crashes"] += 1
