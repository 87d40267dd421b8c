"""packet loss: some of the packets between a node and its cluster never arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from harness.errors import FaultError, UsageError
from harness.faults._base import Proof
from harness.faults._containers import ContainerFault, let_go, up, use
from harness.runtime.needs import PACKET_LOSS, PACKETS
from harness.runtime.spec import TOXIPROXY_NODE, Address

if TYPE_CHECKING:
    from harness.nemesis import Site

SILENCE_S = 0.3
"""For how long a connection must not come about. One between containers takes a millisecond; one
whose first packet was lost a second."""

OPEN_S = 5.0
"""How long after the healing a connection may take, which is made although packets may be lost."""

SAMPLE = 5
"""How many packets must be lost to prove that they are, in each direction."""


@dataclass(frozen=True)
class PacketLoss(ContainerFault):
    """Lose every `one_in`-th packet that the nodes get from their cluster, and every `one_in`-th
    that they send through links, those of clients included. TCP sends them again: connections
    live, and stutter (by 0.2 s and more for each packet that is lost).

    The kernel counts, and does not roll dice. A node that is killed and started again loses what
    it sends from the start, and what it gets again after about 0.3 s.
    """

    kind: ClassVar[str] = "packet-loss"
    need: ClassVar[str] = PACKET_LOSS

    one_in: int = field(default=10)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.one_in, int) or isinstance(self.one_in, bool) or self.one_in < 2:
            raise UsageError(
                f"faults.packet_loss: one_in={self.one_in!r} is no share of the packets.",
                do='Give a whole number of at least 2; to lose all use netsplit(how="packets").',
            )

    async def inject(self, site: Site) -> None:
        nodes = await site.resolve(self.who)
        await self.use(site, lambda means: means.packets.lose(site.id, nodes, self.one_in))

    async def prove(self, site: Site) -> Proof:
        lost = {}
        count = SAMPLE * self.one_in
        for node in up(site):
            before = await self.use(site, lambda m, n: m.packets.lost(n, site.id), node)
            if before is not None:
                await self.use(site, lambda m, n: m.packets.send(n, count), node)
            after = await self.use(site, lambda m, n: m.packets.lost(n, site.id), node)
            if site.cluster.state(node) == "down":
                continue  # it ended meanwhile
            rise = [new - old for old, new in zip(before or (), after or (), strict=False)]
            if len(rise) < 2 or min(rise) < SAMPLE:
                seen = f"lost were {rise} of {count} each way" if rise else "there is no rule"
                raise FaultError(
                    f"{site.id}: {node} should lose one packet in {self.one_in}, but does not.",
                    why=f"Of a sample, {seen}.",
                )
            lost[node] = rise
        return {"sent": count, "lost": lost}

    async def heal(self, site: Site) -> None:
        await let_go(site, lambda means: means.packets.release(site.id))

    async def prove_healed(self, site: Site) -> Proof:
        await prove_no_rules(site, site.nodes)
        return {"free": up(site)}

    def describe(self) -> str:
        return super().describe().replace("packet-loss", f"packet loss 1/{self.one_in}", 1)


# netsplit(how="packets")


async def cut(site: Site, pairs: Collection[tuple[str, str]]) -> None:
    """Drop all packets between the nodes of each pair, and remember which connections could be made
    before."""
    links = [
        link
        for link in site.cluster.network.links()
        if (link.source, link.node) in pairs or (link.node, link.source) in pairs
    ]
    await site.meet(links)
    ways = _ways(site, pairs)
    site.memory["ways"] = await _connect(site, ways, SILENCE_S)
    await use(site, PACKETS, lambda means: means.packets.cut(site.id, pairs))


async def prove_cut(site: Site) -> Proof:
    """That connections which could be made before cannot be made now."""
    before: dict[str, list[Address]] = site.memory["ways"]
    after = await _connect(site, before, SILENCE_S)
    for node, reached in after.items():
        if reached:
            host, port = reached[0]
            raise FaultError(f"{site.id}: {node} is cut off from {host}, but reaches port {port}.")
    probed = sum(len(ways) for node, ways in before.items() if node in up(site))
    return {"by": "connections", "probed": probed, "saw": ["silent"] if probed else []}


async def prove_uncut(site: Site) -> Proof:
    """That no rule is left, and the same connections can be made again."""
    await prove_no_rules(site, site.nodes)
    packets = site.cluster.runtime.means.packets if site.cluster.runtime.means else None
    serving = {site.cluster.node(name).address: name for name in site.cluster.all_names}
    before: dict[str, list[Address]] = site.memory.get("ways", {})
    ways = {
        node: [
            (host, port)
            for host, port in known
            if packets is not None
            and not packets.cut_by_others(site.id, node, host)
            and not packets.cut_by_others(
                site.id, serving.get(host, ""), site.cluster.node(node).address
            )
            and (host not in serving or site.cluster.serving(serving[host]))
        ]
        for node, known in before.items()
        if node in up(site)
    }
    again = await _connect(site, ways, OPEN_S)
    for node, wanted in ways.items():
        missing = [one for one in wanted if one not in again.get(node, ())]
        # What ended meanwhile is no fault's doing.
        missing = [
            one for one in missing if one[0] not in serving or site.cluster.serving(serving[one[0]])
        ]
        if missing and site.cluster.serving(node):
            host, port = missing[0]
            raise FaultError(f"{site.id} was healed, but {node} does not reach {host}:{port}.")
    return {"by": "connections", "answered": sum(map(len, again.values()))}


async def prove_no_rules(site: Site, nodes: Collection[str]) -> None:
    """That the fault has no rules in any network of `nodes`."""
    if site.cluster.runtime.means is None:
        return
    places = (*nodes, TOXIPROXY_NODE)
    left = await site.cluster.runtime.use(lambda m: m.packets.leftovers(site.id, places))
    for node, rules in left.items():
        raise FaultError(f"{site.id} was healed, but its rules are still in {node}.", why=rules)


def _ways(site: Site, pairs: Collection[tuple[str, str]]) -> dict[str, list[Address]]:
    """All addresses at which a node of a pair would reach the other: its own, and the links."""
    runtime, target = site.cluster.runtime, site.cluster.target
    ways: dict[str, list[Address]] = {}
    for pair in pairs:
        for one, other in (pair, pair[::-1]):
            hosts = (runtime.address(other), runtime.link_address(one, other))
            ports = target.ports_of(other).values()
            ways.setdefault(one, []).extend((host, port) for host in hosts for port in ports)
    return ways


async def _connect(
    site: Site, ways: dict[str, list[Address]], timeout_s: float
) -> dict[str, list[Address]]:
    """The addresses that each node's network reaches."""

    async def ask(node: str, targets: list[Address]) -> list[Address]:
        if not targets:
            return []
        said = await use(
            site, PACKETS, lambda m, n, t: m.packets.connect(n, t, timeout_s), node, targets
        )
        return [address for address in targets if said.get(address) == "open"]

    found = await asyncio.gather(*(ask(node, targets) for node, targets in ways.items()))
    return dict(zip(ways, found, strict=True))
