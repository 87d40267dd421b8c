"""stop: SIGTERM, as an operator or an orchestrator ends a node; it may finish its work first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from harness.faults._base import NodeFault, Proof
from harness.faults._kill import prove_down, prove_up
from harness.units import Moment, seconds

if TYPE_CHECKING:
    from harness.nemesis import Site


@dataclass(frozen=True)
class Stop(NodeFault):
    """Ask the nodes to end, kill those that do not within the target's `stop_timeout_s`, and
    start them again on the same data."""

    kind: ClassVar[str] = "stop"

    async def inject(self, site: Site) -> None:
        for node in await site.resolve(self.who):
            pids = list(site.cluster.processes(node))
            ended = await site.cluster.stop(node, site.id)
            site.remember(node, pids=pids, ended=ended, starts=site.cluster.starts(node))

    async def prove(self, site: Site) -> Proof:
        ended = {node: site.memory[node]["ended"] for node in site.nodes}
        return {"gone": prove_down(site), "ended": ended}

    async def heal(self, site: Site) -> None:
        for node in site.nodes:
            await site.cluster.revive(node, site.id)

    async def prove_healed(self, site: Site) -> Proof:
        return await prove_up(site)


def stop(
    *,
    who: str | tuple[str, ...] | list[str] = "random",
    restart_after: Moment = seconds(1),
    at: Moment | list[Moment] | None = None,
    every: Moment | None = None,
    jitter: float = 0.1,
) -> Stop:
    """SIGTERM to `who`; started again on the same data `restart_after` later."""
    return Stop(who=who, lasting=restart_after, at=at, every=every, jitter=jitter)
