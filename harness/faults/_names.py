"""names: no host name resolves in a node, as when its name server is gone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from harness.errors import FaultError, UsageError
from harness.faults._base import Proof
from harness.faults._containers import ContainerFault, let_go, up
from harness.faults._packets import prove_no_rules
from harness.runtime.needs import NAMES
from harness.runtime.spec import TOXIPROXY_NODE

if TYPE_CHECKING:
    from harness.nemesis import Site

ASK_S = 1.0
"""How long a proof waits for a name; the C library itself tries for 10 s."""


@dataclass(frozen=True)
class Names(ContainerFault):
    """Take the names of the cluster out of the nodes' hosts files, and cut off the engine's
    resolver: asking for a name is refused at once (`how="reject"`), or is not answered
    (`how="drop"`). A node's own name stays; connections, and addresses that a program remembers,
    go on to work.

    A node that is started again meanwhile has its names for about 0.3 s.
    """

    kind: ClassVar[str] = "names"
    need: ClassVar[str] = NAMES

    how: Literal["reject", "drop"] = field(default="reject", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.how not in ("reject", "drop"):
            raise UsageError(f"faults.names: how={self.how!r}.", do="Give reject or drop.")

    async def inject(self, site: Site) -> None:
        nodes, target = await site.resolve(self.who), self.how.upper()
        for node in up(site):
            name = self._peer(site, node)
            known = await self.use(
                site, lambda m, n, p: m.packets.resolves(n, p, ASK_S), node, name
            )
            site.remember(node, known=known)
        await self.use(site, lambda means: means.packets.hide_names(site.id, nodes, target))

    async def prove(self, site: Site) -> Proof:
        unknown = {}
        for node in up(site):
            name = self._peer(site, node)
            if await self.use(site, lambda m, n, p: m.packets.resolves(n, p, ASK_S), node, name):
                raise FaultError(f"{site.id}: {node} should know no names, but knows {name}.")
            unknown[node] = name
        return {"unknown": unknown}

    async def heal(self, site: Site) -> None:
        await let_go(site, lambda means: means.packets.release(site.id))

    async def prove_healed(self, site: Site) -> Proof:
        await prove_no_rules(site, site.nodes)
        known = {}
        for node in up(site):
            name = self._peer(site, node)
            hidden, resolves = await self.use(
                site,
                lambda m, n, p: (m.packets.nameless(n), m.packets.resolves(n, p, ASK_S)),
                node,
                name,
            )
            if hidden or not site.memory.get(node, {}).get("known", True):
                continue  # by another fault
            if not resolves:
                raise FaultError(f"{site.id} was healed, but {node} does not know {name}.")
            known[node] = name
        return {"known": known}

    def _peer(self, site: Site, node: str) -> str:
        """A name that the node knows by itself: of another node, or of Toxiproxy in a cluster of
        one."""
        others = [name for name in site.cluster.all_names if name != node]
        return others[0] if others else f"harness-{site.cluster.runtime.id}-{TOXIPROXY_NODE}"
