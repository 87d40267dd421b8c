"""kill: SIGKILL, as if the power of the node's processes went. Its disk stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.errors import FaultError
from harness.faults._base import NodeFault, Proof
from harness.units import Moment, seconds

if TYPE_CHECKING:
    from harness.nemesis import Site


@dataclass(frozen=True)
class Kill(NodeFault):
    """Kill every process of the nodes; start them again on the same data after `restart_after`."""

    kind: ClassVar[str] = "kill"

    async def inject(self, site: Site) -> None:
        for node in await site.resolve(self.who):
            site.remember(node, pids=list(site.cluster.processes(node)))
            await take_down(site, node)

    async def prove(self, site: Site) -> Proof:
        return {"gone": prove_down(site)}

    async def heal(self, site: Site) -> None:
        for node in site.nodes:
            await site.cluster.revive(node, site.id)

    async def prove_healed(self, site: Site) -> Proof:
        return await prove_up(site)


async def take_down(site: Site, node: str) -> None:
    """Kill the node on behalf of this fault."""
    await site.cluster.kill(node, site.id)
    site.remember(node, starts=site.cluster.starts(node))


def prove_down(site: Site) -> dict[str, list[int]]:
    """The processes that are gone, by node. Raises `FaultError` if one of them is still there."""
    for node in site.nodes:
        left = site.cluster.processes(node)
        if left:
            raise FaultError(f"{site.id}: {node} should be down, but runs as {list(left)}.")
    return {node: site.memory.get(node, {}).get("pids", []) for node in site.nodes}


async def prove_up(site: Site) -> Proof:
    """That the nodes were started again: their processes (`pids`), by node, and how those ended
    that ran and did not stay (`ended`), which is the target's doing. Nodes that another fault
    keeps down are left out. Raises `FaultError` for one that was not started."""
    running: dict[str, list[int]] = {}
    ended: dict[str, int | None] = {}
    for node in site.nodes:
        await site.cluster.settle(node)
        if site.cluster.held_down(node):
            continue
        pids = list(site.cluster.processes(node))
        if pids:
            running[node] = pids
        elif site.cluster.starts(node) > site.memory[node]["starts"]:
            ended[node] = site.cluster.exit_status(node)
        else:
            raise FaultError(
                f"{site.id}: {node} was started again, but does not run.",
                why=site.cluster.log_tail(node),
            )
    return {"pids": running, **({"ended": ended} if ended else {})}


def kill(
    *,
    who: str | tuple[str, ...] | list[str] = "random",
    restart_after: Moment = seconds(1),
    at: Moment | list[Moment] | None = None,
    every: Moment | None = None,
    jitter: float = 0.1,
) -> Kill:
    """SIGKILL to `who`; started again on the same data `restart_after` later."""
    return Kill(who=who, lasting=restart_after, at=at, every=every, jitter=jitter)
