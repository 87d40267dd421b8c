"""reset: every connection on some links is reset (RST), once; new ones work at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.errors import FaultError
from harness.faults._base import Proof
from harness.faults._links import LinkFault, prove_state, select
from harness.faults._probing import Canaries, prove_free, sound_open
from harness.network import Effect
from harness.network import Reset as ResetEffect

if TYPE_CHECKING:
    from harness.nemesis import Site


@dataclass(frozen=True)
class Reset(LinkFault):
    """Reset the connections on the links of `who`, as a firewall that lost its state does.

    Where the harness may not reach into Toxiproxy's process (not Linux, another user) they end
    with end of file instead; the proof says `closed` then.
    """

    kind: ClassVar[str] = "reset"
    lasts: ClassVar[bool] = False

    def effects(self) -> Sequence[Effect]:
        return (ResetEffect(),)

    async def inject(self, site: Site) -> None:
        await site.resolve(self.who)
        chosen = select(site, self.links)
        await site.meet(chosen)
        # Connections of our own: they must end like everybody's.
        async with Canaries(site, chosen) as canaries:
            await site.hold({link: self.effects() for link in chosen})
            site.memory["canaries"] = await canaries.endings()
            await site.cluster.network.release(site.id)

    async def prove(self, site: Site) -> Proof:
        links = len(await prove_state(site))
        endings: dict[str, str] = site.memory["canaries"]
        for link, ending in endings.items():
            if ending == "open":
                raise FaultError(f"{site.id}: a connection on {link} was not reset.")
        by = "probe" if endings else "toxiproxy"
        return {"by": by, "links": links, **Counter(endings.values())}

    async def prove_healed(self, site: Site) -> Proof:
        links = len(await prove_state(site))
        free = await prove_free(site, site.links, sound_open)
        return {"by": "probe" if free else "toxiproxy", "links": links, "answered": free}
