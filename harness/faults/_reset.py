"""reset: every connection on some links is reset (RST), once; new ones work at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.errors import FaultError
from harness.faults._base import Proof
from harness.faults._links import LinkFault, prove_state, select
from harness.faults._probing import Canaries
from harness.network import Effect
from harness.network import Reset as ResetEffect

if TYPE_CHECKING:
    from harness.nemesis import Site


@dataclass(frozen=True)
class Reset(LinkFault):
    """Reset the connections on the links of `who`, as a firewall that lost its state does."""

    kind: ClassVar[str] = "reset"
    lasts: ClassVar[bool] = False

    def effects(self) -> Sequence[Effect]:
        return (ResetEffect(),)

    async def inject(self, site: Site) -> None:
        await site.resolve(self.who)
        chosen = select(site, self.links)
        # A connection of our own on each link: it must be reset like everybody's.
        async with Canaries(site.cluster.reachable(chosen)) as canaries:
            await site.hold({link: self.effects() for link in chosen})
            site.memory["canaries"] = await canaries.endings()
            await site.cluster.network.release(site.id)

    async def prove(self, site: Site) -> Proof:
        endings = site.memory["canaries"]
        for link, ending in endings.items():
            if ending != "reset":
                raise FaultError(f"{site.id}: a connection on {link} was {ending}, not reset.")
        return {"by": "probe", "reset": len(endings), "links": len(await prove_state(site))}
