"""What the faults that disturb links share: which links, and how they are proved."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from harness.errors import FaultError, UsageError
from harness.faults._base import NodeFault, Proof
from harness.faults._probing import Sounding, prove_free, prove_slow
from harness.network import Effect, Link
from harness.runtime.spec import Address

if TYPE_CHECKING:
    from harness.nemesis import Site

Where = Literal["peers", "clients", "all"]


@dataclass(frozen=True)
class LinkFault(NodeFault):
    """Base of the faults that do one thing to all links of some nodes.

    `links` says which: `peers` between those nodes and every other, in both directions; `clients`
    from clients to those nodes; `all` both. A fault that can be measured by the target's probes
    says how in `sound`.
    """

    links: Where = field(default="peers", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.links not in ("peers", "clients", "all"):
            raise UsageError(
                f"faults.{self.kind}: links={self.links!r} names no links.",
                do="Give peers, clients or all.",
            )

    @abstractmethod
    def effects(self) -> Sequence[Effect]:
        """What is done to each of the links."""

    async def inject(self, site: Site) -> None:
        await site.resolve(self.who)
        chosen = select(site, self.links)
        await site.hold({link: self.effects() for link in chosen})

    async def sound(self, address: Address, probe: bytes) -> Sounding | None:
        """What something takes through a link, and the least it takes under this fault; None
        where that cannot be measured, and Toxiproxy's own account has to do."""
        return None

    def sounded(self, site: Site) -> Sequence[Link]:
        """The links where `sound` would mean something."""
        return site.alone

    async def prove(self, site: Site) -> Proof:
        await prove_no_strays(site)
        links = len(await prove_state(site))
        took = await prove_slow(site, self.sounded(site), self.sound)
        site.memory["measured"] = list(took)
        if not took:
            return {"by": "toxiproxy", "links": links}
        took_ms = round(min(took.values()) * 1000, 1)
        return {"by": "probe", "links": links, "probed": len(took), "took_ms": took_ms}

    async def heal(self, site: Site) -> None:
        await site.cluster.network.release(site.id)

    async def prove_healed(self, site: Site) -> Proof:
        links = len(await prove_state(site))
        free = await prove_free(site, site.memory.get("measured", ()), self.sound)
        return {"by": "probe" if free else "toxiproxy", "links": links, "answered": free}


def select(site: Site, where: Where) -> list[Link]:
    """The links of `site.nodes` that `where` names."""
    chosen = []
    for link in site.cluster.network.links():
        from_client = link.source == "client"
        if from_client:
            if where in ("clients", "all") and link.node in site.nodes:
                chosen.append(link)
        elif where in ("peers", "all") and {link.source, link.node} & set(site.nodes):
            chosen.append(link)
    if not chosen:
        raise FaultError(
            f"{site.id}: {', '.join(site.nodes)} has no links of the kind {where!r}.",
            do="A cluster of one node has no peers; use links='clients'.",
        )
    return chosen


async def prove_no_strays(site: Site) -> None:
    """That the nodes on both sides of the links do not talk to each other in some other way."""
    pairs = {frozenset((link.source, link.node)) for link in site.links}
    for nodes, what in (await asyncio.to_thread(site.cluster.strays)).items():
        if frozenset(nodes) in pairs:
            raise FaultError(
                f"{site.id} ({site.fault.describe()}) does not reach all that {nodes[0]} and "
                f"{nodes[1]} say to each other.",
                why=f"{what}.",
                do="Make the server use its peers' host names, and advertise its own (node.name), "
                "never an address.",
            )


async def prove_state(site: Site) -> Mapping[Link, Sequence[Effect]]:
    """That Toxiproxy's own account of every link is what all faults together want."""
    differences = await site.cluster.network.verify()
    if differences:
        raise FaultError(
            f"{site.id}: the links are not in the state they should be in.",
            why="; ".join(str(difference) for difference in differences[:5]),
        )
    return site.links
