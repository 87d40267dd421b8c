"""What happens to jobs and to no other system: a deployment, and faults at the edge of a window."""

from __future__ import annotations

import asyncio
import random
import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import aiohttp

from harness import faults
from harness.errors import FaultError
from harness.faults import Fault, Members, NodeFault, Proof
from harness.units import Duration, Moment, to_seconds
from targets.jobs.app.settings import GATE_PORT
from targets.jobs.target import GATE, LEADER

if TYPE_CHECKING:
    from harness.nemesis import Site

DEPLOY_TIMEOUT_S = 20.0
"""For the gate to look at the colour, to switch, and to watch it for a while."""

AHEAD_S = 0.03
"""What it takes to ask who leads, and to find its processes: some land before the edge, some after.
"""


@dataclass(frozen=True)
class Deploy(Fault):
    """The gate is asked to switch to a colour. What becomes of it is for checks to judge; here it
    only must have answered."""

    kind: ClassVar[str] = "deploy"
    lasts: ClassVar[bool] = False

    to: str = "green"

    def resolve(self, rng: random.Random, members: Members, lasting_s: float) -> Self:
        return self

    async def inject(self, site: Site) -> None:
        site.nodes = (GATE,)
        url = f"http://{site.cluster.client_host(GATE)}:{GATE_PORT}/gate/switch"
        timeout = aiohttp.ClientTimeout(total=DEPLOY_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(url, json={"to": self.to}) as response,
            ):
                site.remember(GATE, status=response.status, said=await response.json())
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FaultError(f"{site.id}: the gate did not answer: {error!r}.") from error

    async def prove(self, site: Site) -> Proof:
        return dict(site.memory[GATE])

    async def heal(self, site: Site) -> None:
        pass

    async def prove_healed(self, site: Site) -> Proof:
        return {}

    def describe(self) -> str:
        return f"deploy {self.to}"


@dataclass(frozen=True)
class EdgeFault(NodeFault):
    """Base of faults that hit whoever leads cron just before a window begins, or just after."""

    window_s: float = 1.0

    @property
    @abstractmethod
    def plain(self) -> Fault:
        """The same at any moment."""

    async def inject(self, site: Site) -> None:
        # Windows are told by the database's clock, which is that of this machine.
        await asyncio.sleep(self.window_s - (time.time() + AHEAD_S) % self.window_s)
        await self.plain.inject(site)

    async def prove(self, site: Site) -> Proof:
        return await self.plain.prove(site)

    async def heal(self, site: Site) -> None:
        await self.plain.heal(site)

    async def prove_healed(self, site: Site) -> Proof:
        return await self.plain.prove_healed(site)


@dataclass(frozen=True)
class EdgeKill(EdgeFault):
    """SIGKILL, and started again."""

    kind: ClassVar[str] = "edge-kill"

    @property
    def plain(self) -> Fault:
        return faults.kill(who=_listed(self.who))


@dataclass(frozen=True)
class EdgePause(EdgeFault):
    """SIGSTOP, and SIGCONT."""

    kind: ClassVar[str] = "edge-pause"

    @property
    def plain(self) -> Fault:
        return faults.pause(who=_listed(self.who))


def deploy(to: str, *, at: Moment | list[Moment]) -> Deploy:
    """Ask the gate to switch to the colour `to`."""
    return Deploy(to=to, at=at)


def edge_kill(
    *, window: Duration, restart_after: Moment, every: Moment, jitter: float = 0.1
) -> EdgeKill:
    """SIGKILL to the leader at the edge of a window of that length. It waits for one, so that
    `restart_after` should be longer."""
    window_s = to_seconds(window, "edge_kill: window")
    return EdgeKill(
        who=LEADER, window_s=window_s, lasting=restart_after, every=every, jitter=jitter
    )


def edge_pause(
    *, window: Duration, lasting: Moment, every: Moment, jitter: float = 0.1
) -> EdgePause:
    """SIGSTOP to the leader at the edge of a window of that length."""
    window_s = to_seconds(window, "edge_pause: window")
    return EdgePause(who=LEADER, window_s=window_s, lasting=lasting, every=every, jitter=jitter)


def _listed(who: str | Sequence[str]) -> str | list[str]:
    return who if isinstance(who, str) else list(who)
