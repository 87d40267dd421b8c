"""One node: its parts, in the order in which they are started, and how they end."""

from __future__ import annotations

import asyncio
import math
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from aiohttp import web
from primitives.coordination import Election
from primitives.crdt import AWMap, Replicator, replica_id
from primitives.limiter import ApproximateLimiter, Limiter, StrictLimiter
from primitives.membership import Membership
from primitives.mesh import Mesh
from primitives.pubsub import PubSub
from primitives.pubsub.mesh import MeshPubSub
from primitives.pubsub.redis import RedisPubSub
from primitives.telemetry import Metrics, Schema, emit

from .api import Api
from .conflicts import Journal
from .ownership import Ownership
from .registry import Registry
from .runner import Runner
from .settings import BURST, HTTP_PORT, MESH_PORT, REDIS_NAME, REDIS_PORT, Settings
from .topics import Topics

JOURNAL = "conflicts.jsonl"

PROBE_S = 0.2
SUSPECT_S = 0.8
ANTI_ENTROPY_S = 0.5
LEASE_S = 0.6
STRICT_S = 0.5
"""How long a node waits for the leader of the strict limiter before it says that there is none."""

SYNC_S = 0.1
"""How often nodes tell each other what they admitted. The shorter, the less is refused needlessly
when load moves; at 300/s and node a tenth of a second is thirty requests."""

SCHEMA = Schema(
    component="cluster",
    operations={
        "worker": ("started", "stopped", "failed"),
        "conflict": ("opened", "resolved"),
        "catch-up": ("missed",),
        "internal": ("failed",),
    },
    gauges=("running",),
)
"""What the service counts beside its parts, as they do (`primitives.telemetry`)."""

_COUNTED = {
    "worker-started": ("worker", "started"),
    "worker-stopped": ("worker", "stopped"),
    "worker-failed": ("worker", "failed"),
    "conflict": ("conflict", "opened"),
    "resolved": ("conflict", "resolved"),
    "missed": ("catch-up", "missed"),
    "failed": ("internal", "failed"),
}

SHUTDOWN_S = 0.5
KEEPALIVE_S = 75.0


class Node:
    """Built by `run`, which also ends it."""

    def __init__(self, settings: Settings, home: Path, random: random.Random) -> None:
        mutant = settings.mutant
        self._settings = settings
        self._metrics = metrics = Metrics()
        self._meter = metrics.meter(SCHEMA, adapter="http")
        others = {name: (name, MESH_PORT) for name in settings.members if name != settings.name}
        self.mesh = mesh = Mesh(
            settings.name, settings.address, MESH_PORT, others, random=random, metrics=metrics
        )
        self.membership = Membership(
            mesh,
            seeds=others,
            random=random,
            metrics=metrics,
            probe_s=PROBE_S,
            suspect_s=SUSPECT_S,
        )
        replica = replica_id(mesh.name, mesh.incarnation)
        self._maps = {"wanted": AWMap(replica), "claims": AWMap(replica)}
        self._replicators = {
            kind: Replicator(
                mesh,
                entries,
                kind=kind,
                interval_s=ANTI_ENTROPY_S,
                random=random,
                metrics=metrics,
                # Mutant: deltas that were lost never come again.
                anti_entropy=mutant != "no-anti-entropy",
                # Who asked for a worker may restart: the worker is wanted all the same.
                drop_former_starts=kind == "claims",
            )
            for kind, entries in self._maps.items()
        }
        self._journal = Journal(
            home / JOURNAL,
            mesh.incarnation,
            asyncio.get_running_loop().time,
            self._tell,
            mutant=mutant,
        )
        self.runner = Runner(settings.name, mesh.incarnation, self._tell)
        self.ownership = Ownership(
            settings.name,
            Registry(
                settings.name,
                mesh.incarnation,
                (self._maps["wanted"], self._replicators["wanted"].publish),
                (self._maps["claims"], self._replicators["claims"].publish),
            ),
            self.runner,
            self._journal,
            self.membership,
            mesh,
            self._tell,
            mutant=mutant,
        )
        for replicator in self._replicators.values():
            replicator.on_change(self.ownership.changed)
        self.election = Election(
            mesh,
            settings.members,
            random=random,
            metrics=metrics,
            lease_s=LEASE_S,
            mutant=mutant,
        )
        self.election.on_change(self._leader_changed)
        self._limiters: dict[str, Limiter] = {
            "strict": StrictLimiter(
                mesh,
                self.election,
                settings.limit,
                settings.per_s,
                metrics=metrics,
                timeout_s=STRICT_S,
                mutant=mutant,
            ),
            "approximate": ApproximateLimiter(
                mesh,
                settings.members,
                settings.limit,
                settings.per_s,
                sync_s=SYNC_S,
                burst=BURST,
                random=random,
                metrics=metrics,
                mutant=mutant,
            ),
        }
        self._pubsub: PubSub = (
            RedisPubSub(settings.name, REDIS_NAME, REDIS_PORT, random=random, metrics=metrics)
            if settings.adapter == "redis"
            else MeshPubSub(mesh, metrics=metrics)
        )
        self._topics = Topics(
            f"{settings.name}/{mesh.incarnation}", mesh, self._pubsub, self._tell, mutant=mutant
        )
        self._api = Api(
            ownership=self.ownership,
            runner=self.runner,
            journal=self._journal,
            topics=self._topics,
            limiters=self._limiters,
            members=self._members,
            ready=self._lacking,
            metrics=metrics,
            tell=self._tell,
        )

        self._quiet_until = math.inf

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; then stop the workers of this node, take its claims back
        and leave."""
        ending = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ending.set)
        async with AsyncExitStack() as stack:
            stack.callback(self._journal.close)
            parts: list[tuple[Callable[[], Awaitable[Any]], Callable[[], Awaitable[Any]]]] = [
                (self.mesh.start, self.mesh.close),
                (self.membership.start, self._leave),
                *((one.start, one.close) for one in self._replicators.values()),
                (self.election.start, self.election.close),
                *((one.start, one.close) for one in self._limiters.values()),
                (self._pubsub.start, self._pubsub.close),
                (self._topics.start, self._topics.close),
                (self.ownership.start, self.ownership.close),
            ]
            for start, close in parts:
                # Noted first: what fails half-way is ended as well.
                stack.push_async_callback(close)
                await start()
            self._quiet_until = loop.time() + self._settings.per_s
            await self._serve(stack)
            emit("node-started", node=self._settings.name, incarnation=self.mesh.incarnation)
            await ending.wait()
            emit("node-ending", node=self._settings.name)

    async def _serve(self, stack: AsyncExitStack) -> None:
        runner = web.AppRunner(
            self._api.application(),
            handle_signals=False,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=SHUTDOWN_S,
        )
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, self._settings.address, HTTP_PORT).start()

    async def _leave(self) -> None:
        await self.membership.leave()
        await self.membership.close()

    def _tell(self, event: str, **data: Any) -> None:
        """Write an event to the log, and count it."""
        emit(event, **data)
        if event in _COUNTED:
            self._meter.count(*_COUNTED[event])
        if event.startswith("worker-"):
            self._meter.gauge("running", len(self.runner.running))

    def _leader_changed(self) -> None:
        emit("leader", leader=self.election.leader, term=self.election.term)

    def _members(self) -> dict[str, Any]:
        return {
            "members": {
                name: {"status": member.status, "incarnation": member.incarnation}
                for name, member in sorted(self.membership.members.items())
            },
            "leader": self.election.leader,
            "leading": self.election.is_leader(),
            "term": self.election.term,
        }

    def _lacking(self) -> list[str]:
        """What keeps this node from serving fully: members that it does not see, no leader, and
        limiters that do not know yet what was admitted before this node was started."""
        unseen = sorted(set(self._settings.members) - self.membership.alive)
        leader = [] if self.election.leader else ["leader"]
        quiet = asyncio.get_running_loop().time() < self._quiet_until
        return [*unseen, *leader, *(["limits"] if quiet else [])]
