"""disk_full: nothing more can be written to a node's home."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from harness.errors import FaultError
from harness.faults._base import Proof
from harness.faults._containers import ContainerFault, let_go, to_bytes
from harness.runtime.needs import DISK

if TYPE_CHECKING:
    from harness.nemesis import Site

TRIES = 5
"""How often what a node gives up while its disk is being filled is taken as well."""


@dataclass(frozen=True)
class DiskFull(ContainerFault):
    """Fill the homes (and other volumes) of the nodes but for `leave` bytes; appending fails with
    ENOSPC. What is written in place goes on to work, as it does on a real disk.

    In an experiment with this fault every volume is a tmpfs of 256 MB, which is kept while nodes
    are killed and started; a file of the harness's own (`.harness-filler`) fills it. A node that
    deletes files while the fault holds has their room again. A node that is started again meanwhile
    finds its disk as full as it was.
    """

    kind: ClassVar[str] = "disk-full"
    need: ClassVar[str] = DISK

    leave: int | str = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "leave", to_bytes(self.leave, "faults.disk_full: leave"))

    async def inject(self, site: Site) -> None:
        leave = int(self.leave)
        for node in await site.resolve(self.who):
            await self.use(site, lambda m, n: m.disks.fill(site.id, n, leave), node)

    async def prove(self, site: Site) -> Proof:
        problems = {}
        for node in site.nodes:
            for left in reversed(range(TRIES)):
                found = await self.use(site, lambda m, n: m.disks.write(n, int(self.leave)), node)
                wrong = [one for one in found if one.problem != "ENOSPC"]
                if not wrong:
                    break
                if not left or not all(one.filler for one in found):
                    raise FaultError(
                        f"{site.id}: the disk of {node} should be full, but takes another page.",
                        why=f"{wrong[0].free} bytes are free.",
                    )
                await self.use(site, lambda m, n: m.disks.refill(n), node)
            problems[node] = {"wrote": "ENOSPC", "free": min(one.free for one in found)}
        return problems

    async def heal(self, site: Site) -> None:
        await let_go(site, lambda means: means.disks.release(site.id))

    async def prove_healed(self, site: Site) -> Proof:
        free = {}
        for node in site.nodes:
            found, held = await self.use(
                site, lambda m, n: (m.disks.write(n), m.disks.held(n)), node
            )
            free[node] = min(one.free for one in found)
            if held:
                continue  # by another fault
            for one in found:
                # The node itself may have filled it.
                if one.filler or (one.problem and one.free >= 4096):
                    raise FaultError(
                        f"{site.id} was healed, but the disk of {node} is still full.",
                        why=f"{one.free} bytes are free; {one.problem or 'the filler is there'}.",
                    )
        return {"free": free}
