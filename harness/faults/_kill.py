"""kill: SIGKILL, as if the power of the node's processes went. Its disk stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.errors import FaultError
from harness.faults._base import NodeFault, Proof
from harness.units import Duration, seconds

if TYPE_CHECKING:
    from harness.nemesis import Site


@dataclass(frozen=True)
class Kill(NodeFault):
    """Kill every process of the nodes; start them again on the same data after `restart_after`."""

    kind: ClassVar[str] = "kill"

    async def inject(self, site: Site) -> None:
        for node in await site.resolve(self.who):
            site.remember(node, pids=list(site.cluster.processes(node)))
            await site.cluster.kill(node, site.id)

    async def prove(self, site: Site) -> Proof:
        return {"gone": prove_down(site)}

    async def heal(self, site: Site) -> None:
        for node in site.nodes:
            await site.cluster.revive(node, site.id)

    async def prove_healed(self, site: Site) -> Proof:
        return {"pids": prove_up(site)}


def prove_down(site: Site) -> dict[str, list[int]]:
    """The processes that are gone, by node. Raises `FaultError` if one of them is still there."""
    for node in site.nodes:
        left = site.cluster.processes(node)
        if left:
            raise FaultError(f"{site.id}: {node} should be down, but runs as {list(left)}.")
    return {node: site.memory.get(node, {}).get("pids", []) for node in site.nodes}


def prove_up(site: Site) -> dict[str, list[int]]:
    """The processes that run now, by node; nodes that another fault keeps down are left out."""
    running = {}
    for node in site.nodes:
        if site.cluster.held_down(node):
            continue
        pids = list(site.cluster.processes(node))
        if not pids:
            raise FaultError(
                f"{site.id}: {node} was started again, but does not run.",
                why=site.cluster.log_tail(node),
            )
        running[node] = pids
    return running


def kill(
    *,
    who: str | tuple[str, ...] | list[str] = "random",
    restart_after: Duration = seconds(1),
    at: Duration | list[Duration] | None = None,
    every: Duration | None = None,
    jitter: float = 0.1,
) -> Kill:
    """SIGKILL to `who`; started again on the same data `restart_after` later."""
    return Kill(who=who, lasting=restart_after, at=at, every=every, jitter=jitter)
