"""One node: the chat, the mesh it is part of, its port, and how all of it starts and ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, Final

from aiohttp import web
from primitives.membership import Member, Membership
from primitives.mesh import Mesh
from primitives.pubsub import PubSub
from primitives.pubsub.mesh import MeshPubSub
from primitives.telemetry import Metrics, emit

from .api import Api
from .crowd import Crowd
from .models import MODELS, Model
from .service import Service
from .settings import HTTP_PORT, MESH_PORT, Settings
from .sockets import RESTARTING
from .store import Store

DATABASE: Final = "chat.db"
BACKLOG: Final = 1024
SHUTDOWN_S: Final = 0.5

PROBE_S: Final = 0.1
SUSPECT_S: Final = 0.6
"""A node that dies is found dead within about 2·(n-1)·`PROBE_S` + 3·`PROBE_S` + `SUSPECT_S`: 1.3 s
of three, 1.7 s of five. That leaves the rest of two seconds to tell the users of it."""


class Node:
    """To be made where a loop runs."""

    def __init__(
        self,
        settings: Settings,
        home: Path,
        random: Random,
        *,
        models: Mapping[str, Model] = MODELS,
    ) -> None:
        self._settings = settings
        self._ending = asyncio.Event()
        self._metrics = Metrics()
        self._store = Store(
            home / DATABASE, settings.name, random, fsync=settings.fsync, mutant=settings.mutant
        )
        others = {name: (name, MESH_PORT) for name in settings.members if name != settings.name}
        self._mesh = Mesh(
            settings.name,
            settings.address,
            MESH_PORT,
            others,
            random=random,
            metrics=self._metrics,
        )
        self._membership = Membership(
            self._mesh,
            seeds=others,
            random=random,
            metrics=self._metrics,
            probe_s=PROBE_S,
            suspect_s=SUSPECT_S,
        )
        self._pubsub = self._adapter(random)
        self._service = Service(
            settings,
            self._store,
            self._mesh,
            self._pubsub,
            lambda: self._membership.members,
            random=random,
            metrics=self._metrics,
            models=models,
        )
        self._crowd = Crowd(settings, self._service.metrics)
        self._service.metrics.watch(
            sockets=lambda: len(self._crowd),
            outgoing_bytes=lambda: self._crowd.outgoing_bytes,
            streams=lambda: len(self._service.streams),
        )
        api = Api(
            settings,
            self._store,
            self._service.history,
            self._service.channels,
            self._crowd,
            self._metrics,
            self._about,
        )
        self._runner = web.AppRunner(
            api.application(), handle_signals=False, access_log=None, shutdown_timeout=SHUTDOWN_S
        )
        self._membership.on_change(self._member_changed)

    async def run(self) -> None:
        """Serve until SIGTERM."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        await self.start()
        try:
            await self._ending.wait()
        finally:
            await self.close()

    async def start(self) -> None:
        name = self._settings.name
        emit("started", node=name, origin=self._store.origin)
        await self._mesh.start()
        await self._membership.start()
        await self._pubsub.start()
        await self._service.start()
        self._crowd.start()
        await self._runner.setup()
        address = self._settings.address
        await web.TCPSite(self._runner, address, HTTP_PORT, backlog=BACKLOG).start()
        emit("ready", node=name)

    async def close(self) -> None:
        """Drain: no more pushes; all sockets are told to come back; what was said is sent on."""
        emit("draining", sockets=len(self._crowd), streams=len(self._service.streams))
        await self._service.drain()
        await self._crowd.close(RESTARTING, "draining")
        await self._runner.cleanup()
        await self._service.close()
        await self._pubsub.close()
        await self._membership.leave()
        await self._membership.close()
        await self._mesh.close()
        self._store.close()
        emit("drained", node=self._settings.name)

    def _adapter(self, random: Random) -> PubSub:
        settings = self._settings
        if settings.adapter == "mesh":
            return MeshPubSub(self._mesh, metrics=self._metrics)
        # Only nodes that use it need the client's library.
        from primitives.pubsub.redis import RedisPubSub

        return RedisPubSub(
            settings.name,
            settings.redis_host,
            settings.redis_port,
            random=random,
            metrics=self._metrics,
            channel="chat",
        )

    def _member_changed(self, _member: Member) -> None:
        self._service.members_changed()

    def _about(self) -> dict[str, Any]:
        return {
            "node": self._settings.name,
            "alive": sorted(self._membership.alive),
            "connected": sorted(self._mesh.connected),
        }
