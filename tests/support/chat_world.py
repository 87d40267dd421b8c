"""Chat services in one process on virtual time, and clients that speak the protocol to them.

Each service is the real one with its log on disk; only the mesh below it (`virtual_mesh`) and the
sockets above it are made up. Killing a node ends it between two steps, and what was not committed
is lost, as with SIGKILL.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from primitives.membership import Member
from primitives.pubsub.mesh import MeshPubSub
from primitives.telemetry import Metrics

from targets.chat.app import protocol
from targets.chat.app.models import MODELS
from targets.chat.app.service import Service
from targets.chat.app.settings import Settings
from targets.chat.app.store import Store
from tests.support.virtual_mesh import VirtualMesh, VirtualNet

ROOM = "room:lobby"


def texts(data: bytes) -> Iterator[str]:
    """The text messages in a run of whole, unmasked WebSocket frames."""
    at = 0
    while at < len(data):
        assert data[at] == 0x81, data[at]
        size, at = data[at + 1], at + 2
        if size >= 126:
            wide = 2 if size == 126 else 8
            size, at = int.from_bytes(data[at : at + wide], "big"), at + wide
        yield data[at : at + size].decode()
        at += size


class FakeSocket:
    """What channels write to; `heard` is called with every message."""

    def __init__(self, heard: Callable[[list[Any]], None]) -> None:
        self.channels: dict[str, Any] = {}
        self.closing = False
        self._heard = heard

    def send(self, frames: bytes, *, droppable: bool = False) -> bool:
        for text in texts(frames):
            self._heard(json.loads(text))
        return True


@dataclass
class Heard:
    """What a client has heard of an answer."""

    text: str = ""
    index: int = 0
    state: str = "running"
    sha256: str | None = None

    @property
    def whole(self) -> bool:
        digest = hashlib.sha256(self.text.encode()).hexdigest()
        return self.state == "ended" and self.sha256 == digest


class Chatter:
    """A client of one node: it keeps its cursor, reads on until it is up to date, and keeps what it
    was given in `seen`, in order."""

    def __init__(self, world: World, node: str, user: str, room: str = ROOM) -> None:
        self._world = world
        self.node = node
        self.user = user
        self.room = room
        self.cursor: dict[str, int] | None = {}
        self.seen: list[dict[str, Any]] = []
        self.events: list[tuple[str, Any]] = []
        self.streams: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, Heard] = {}
        self.live = False
        self._socket: FakeSocket | None = None
        self._refs = 0
        self._join_ref = ""
        self._replies: dict[str, dict[str, Any]] = {}

    async def connect(self) -> bool:
        """Join, and read on until nothing is missing. False if the node is not there."""
        self.live = False
        self._socket = socket = FakeSocket(lambda message: self._heard(socket, message))
        answer = await self.push("phx_join", {"user": self.user, "cursor": self.cursor})
        while answer is not None and answer["status"] == "ok":
            page = answer["response"]
            for message in page["messages"]:
                self._see(message)
            self.cursor = page["cursor"]
            for stream in page["streams"]:
                self.streams[stream["stream"]] = stream
                self.answers[stream["stream"]] = Heard(
                    stream["text"], stream["index"], stream["state"], stream.get("sha256")
                )
            if not page["more"]:
                self.live = True
                return True
            answer = await self.push("history", {"cursor": self.cursor})
        return False

    def disconnect(self) -> None:
        """The socket ends."""
        service = self._world.services.get(self.node)
        if service is not None and self._socket is not None:
            self._world.net.nodes[self.node].doing(service.channels.gone, self._socket)
        self._socket, self.live = None, False

    async def push(self, event: str, payload: Any, within_s: float = 1.0) -> dict[str, Any] | None:
        """The reply; None if there was none."""
        service = self._world.services.get(self.node)
        if service is None or self._socket is None:
            return None
        self._refs += 1
        ref = str(self._refs)
        if event == protocol.JOIN:
            self._join_ref = ref
        push = protocol.Push(self._join_ref, ref, self.room, event, payload)
        mesh = self._world.net.nodes[self.node]
        handled = mesh.task(service.channels.handle(self._socket, push))  # type: ignore[arg-type]
        await asyncio.wait([handled], timeout=within_s)
        if handled.done():
            handled.result()
        return self._replies.pop(ref, None)

    async def say(self, name: str, body: str = "") -> dict[str, Any] | None:
        return await self.push("new_msg", {"id": name, "body": body or name})

    def _heard(self, socket: FakeSocket, message: list[Any]) -> None:
        if socket is not self._socket:
            return
        _, ref, _, event, payload = message
        if event == protocol.REPLY:
            self._replies[ref] = payload
            return
        self.events.append((event, payload))
        if event == "new_msg":
            self._see(payload)
        elif "stream" in payload:
            self._hear(event, payload)

    def _hear(self, event: str, payload: dict[str, Any]) -> None:
        heard = self.answers.setdefault(payload["stream"], Heard())
        if event == "token":
            assert payload["index"] <= heard.index, "a gap"
            if payload["index"] == heard.index:
                heard.text += payload["text"]
                heard.index += 1
                heard.state = "running"
        elif event == "stream_end":
            heard.state, heard.sha256 = "ended", payload["sha256"]
        elif event == "stream_error":
            heard.state = "error" if payload["final"] else "lost"
        if "seq" in payload:
            self.cursor = {**(self.cursor or {}), payload["origin"]: payload["seq"]}

    def _see(self, message: dict[str, Any]) -> None:
        self.seen.append(message)
        self.cursor = {**(self.cursor or {}), message["origin"]: message["seq"]}


class World:
    """Nodes by name, started again and again with the same home."""

    def __init__(
        self,
        home: Path,
        random: Random,
        names: tuple[str, ...] = ("a", "b", "c"),
        *,
        mutant: str | None = None,
        models: Mapping[str, Any] = MODELS,
        **settings: Any,
    ) -> None:
        self.net = VirtualNet(random)
        self.services: dict[str, Service] = {}
        self.names = names
        self.rumours: set[str] = set()
        self._home = home
        self._random = random
        self._models = models
        self._settings = {"members": names, "mutant": mutant, **settings}
        self._parts: dict[str, tuple[Store, MeshPubSub]] = {}

    async def __aenter__(self) -> World:
        for name in self.names:
            await self.start(name)
        return self

    async def __aexit__(self, *_: object) -> None:
        for name in list(self.services):
            await self.stop(name)

    async def start(self, name: str) -> None:
        mesh = self.net.start(name)
        await mesh.task(self._started(name, mesh))

    async def stop(self, name: str) -> None:
        """As SIGTERM does."""
        service = self.services.pop(name)
        store, pubsub = self._parts.pop(name)

        async def stop() -> None:
            await service.drain()
            await service.close()
            await pubsub.close()
            store.close()

        await self.net.nodes[name].task(stop())
        self.net.stop(name)

    def kill(self, name: str) -> None:
        """As SIGKILL does."""
        if self.services.pop(name, None) is not None:
            store, _ = self._parts.pop(name)
            self.net.stop(name)
            if store._timer is not None:
                store._timer.cancel()
            store._db.close()

    def have(self, name: str) -> dict[str, int]:
        return self.services[name].store.have

    async def settled(self, within_s: float = 20.0) -> None:
        """Wait until all nodes have the same."""
        async with asyncio.timeout(within_s):
            while len({json.dumps(sorted(self.have(name).items())) for name in self.services}) > 1:
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.1)

    async def _started(self, name: str, mesh: VirtualMesh) -> None:
        metrics = Metrics()
        home = self._home / name
        home.mkdir(exist_ok=True)
        settings = Settings(name=name, address="", **self._settings)
        store = Store(home / "chat.db", name, self._random, fsync=False, mutant=settings.mutant)
        pubsub = MeshPubSub(mesh, metrics=metrics)
        service = Service(
            settings,
            store,
            mesh,
            pubsub,
            lambda: self._members(name),
            random=Random(self._random.random()),
            metrics=metrics,
            models=self._models,
        )
        await pubsub.start()
        await service.start()
        self.services[name] = service
        self._parts[name] = (store, pubsub)

    def _members(self, name: str) -> dict[str, Member]:
        """Links stand for membership here: who is not connected is dead, at once. What is in
        `rumours` is believed to be dead as well."""
        alive = {name, *self.net.connected(name)} - self.rumours
        return {
            one: Member(one, "alive" if one in alive else "dead", mesh.incarnation, 0, one, 0)
            for one, mesh in self.net.nodes.items()
        }
