"""memory: a node has less memory than it needs, and may be killed for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from harness.errors import FaultError, UsageError
from harness.faults._base import Proof
from harness.faults._containers import ContainerFault, let_go, to_bytes, up
from harness.runtime.needs import MEMORY
from harness.units import Share

if TYPE_CHECKING:
    from harness.nemesis import Site

LEAST_BYTES = 6 * 2**20
"""What the engine allows at least."""


@dataclass(frozen=True)
class Memory(ContainerFault):
    """Leave the nodes only `limit` of memory: `"64MB"`, bytes, or `share(0.1)` of what they may use
    otherwise. The file cache counts, and gives way.

    What needs more is killed by the kernel: that is this fault's doing, and the node is started
    again when it is healed (the journal says `oom` then). A node that another fault starts again
    meanwhile starts with the limit. Where a limit below what a node cannot give up is refused
    (version 1 of the control groups), the fault does not land.
    """

    kind: ClassVar[str] = "memory"
    need: ClassVar[str] = MEMORY

    limit: int | float | str | Share = field(default="64MB")

    def __post_init__(self) -> None:
        super().__post_init__()
        # A whole number is bytes from here on, any other a share: a plan holds numbers.
        limit = self.limit.value if isinstance(self.limit, Share) else self.limit
        if not isinstance(limit, float):
            limit = to_bytes(limit, "faults.memory: limit")
        if not (limit >= LEAST_BYTES if isinstance(limit, int) else 0 < limit < 1):
            raise UsageError(
                f"faults.memory: limit={self.limit!r} cannot be.",
                do="Give at least 6MB, or a share above 0 and below 1.",
            )
        object.__setattr__(self, "limit", limit)

    async def inject(self, site: Site) -> None:
        assert isinstance(self.limit, (int, float)), "since __post_init__"
        limit = self.limit
        for node in await site.resolve(self.who):
            site.remember(node, starts=site.cluster.starts(node))
            await self.use(site, lambda m, n: m.squeeze.hold_memory(site.id, n, limit), node)

    async def prove(self, site: Site) -> Proof:
        return {"limits": await self._limits(site)}

    async def heal(self, site: Site) -> None:
        await let_go(site, lambda means: means.squeeze.release(site.id))
        for node in site.nodes:
            await site.cluster.settle(node)
            if site.cluster.state(node) != "down" or node not in site.memory:
                continue
            if await self.use(site, lambda m, n: m.squeeze.was_out_of_memory(n), node):
                site.memory.setdefault("oom", []).append(node)
            # Ended for want of memory, or of itself because it did not get any: nobody else starts
            # it again. If somebody holds it down, this lets go of nothing.
            await site.cluster.kill(node, site.id)
            await site.cluster.revive(node, site.id)

    async def prove_healed(self, site: Site) -> Proof:
        limits = await self._limits(site)
        for node in site.nodes:
            await site.cluster.settle(node)
            down = site.cluster.state(node) == "down" and not site.cluster.held_down(node)
            if down and site.cluster.starts(node) == site.memory[node]["starts"]:
                raise FaultError(
                    f"{site.id}: {node} ended for want of memory, and was not started again.",
                    why=site.cluster.log_tail(node),
                )
        oom = site.memory.get("oom", [])
        return {"limits": limits, **({"oom": oom} if oom else {})}

    async def _limits(self, site: Site) -> dict[str, int]:
        """The limits that the kernel has of the nodes that run, which must be those wanted."""
        found = {}
        for node in up(site):
            wanted, said = await self.use(
                site, lambda m, n: (m.squeeze.memory_of(n), m.squeeze.memory_limit(n)), node
            )
            if said is None:
                continue  # it ended meanwhile
            # The kernel counts in pages.
            if abs(said - wanted) > 4096:
                raise FaultError(
                    f"{site.id}: {node} should have {wanted} bytes of memory, but has {said}."
                )
            found[node] = said
        return found

    def describe(self) -> str:
        limit = self.limit
        if isinstance(limit, int):
            words = f"{limit / 2**20:g} MB" if limit >= 2**20 else f"{limit} B"
        else:
            words = f"{limit:.0%}" if isinstance(limit, float) else str(limit)
        return super().describe().replace("memory", f"memory {words}", 1)
