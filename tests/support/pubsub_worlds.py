"""Nodes that publish and subscribe, with each adapter, and networks that can be broken."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import tempfile
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Self

from primitives.mesh import Mesh, Timing
from primitives.pubsub import Gap, Message, PubSub
from primitives.pubsub.mesh import MeshPubSub
from primitives.pubsub.numbered import Beat
from primitives.pubsub.redis import RedisPubSub
from primitives.telemetry import Metrics

from tests.support.wires import Wire, until

HOST = "127.0.0.1"
PATIENT_S = 5.0
HASTY_S = 0.4
"""How long nodes bear silence. Hasty ones only where a test is about silence: a busy machine
is silent for a while, too."""


class Node:
    """One node's PubSub, and what its subscriber saw: messages and gaps, in order."""

    def __init__(self, pubsub: PubSub, metrics: Metrics) -> None:
        self.pubsub = pubsub
        self.metrics = metrics
        self.seen: list[Message | Gap] = []
        pubsub.on_gap(self.seen.append)

    def listen(self, *topics: str) -> None:
        for topic in topics:
            self.pubsub.subscribe(topic, self.seen.append)

    async def publish(self, topic: str, **payload: Any) -> None:
        await self.pubsub.publish(topic, payload)

    @property
    def messages(self) -> list[Message]:
        return [one for one in self.seen if isinstance(one, Message)]

    @property
    def gaps(self) -> list[Gap]:
        """All but those that meeting a node for the first time always is."""
        return [one for one in self.seen if isinstance(one, Gap) and one.reason != "joined"]

    def numbers(self, publisher: str) -> list[int]:
        return [one.payload["n"] for one in self.messages if one.publisher == publisher]

    def counted(self, operation: str, outcome: str) -> float:
        (family,) = (
            one for one in self.metrics.registry.collect() if one.name == "primitives_operations"
        )
        return sum(
            float(sample.value)
            for sample in family.samples
            if sample.name.endswith("_total")
            and sample.labels["component"] == "pubsub"
            and sample.labels["operation"] == operation
            and sample.labels["outcome"] == outcome
        )


class World(ABC):
    """Nodes of one adapter. Whatever a test leaves open is closed at the end."""

    adapter: str

    def __init__(self, queue: int = 1000, silent_s: float = PATIENT_S) -> None:
        self._queue = queue
        self._beat = Beat(every_s=0.02, silent_s=silent_s)
        self._starts = 0
        self.nodes: dict[str, Node] = {}
        self.stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.stack.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in tuple(self.nodes):
            await self.stop(name)
        await self.stack.aclose()

    async def start(self, *names: str) -> list[Node]:
        """Start nodes, and wait until all that run hear each other."""
        started = []
        for name in names:
            self._starts += 1
            self.nodes[name] = await self._start(name, self._starts)
            started.append(self.nodes[name])
        await self.all_hear_all()
        return started

    async def start_alone(self, name: str) -> Node:
        """A node whose owner closes it; does not wait for anything."""
        self._starts += 1
        return await self._start(name, self._starts)

    async def stop(self, name: str) -> None:
        await self.nodes.pop(name).pubsub.close()
        await self._stopped(name)

    async def all_hear_all(self) -> None:
        await until(
            lambda: all(
                node.pubsub.peers == set(self.nodes) - {name} for name, node in self.nodes.items()
            )
        )

    @abstractmethod
    async def _start(self, name: str, incarnation: int) -> Node:
        """A node that may reach all others."""

    @abstractmethod
    async def _stopped(self, name: str) -> None:
        """Close what the node had beside its PubSub."""

    @abstractmethod
    def wires(self, name: str) -> list[Wire]:
        """Through which all that the node says and hears goes."""

    async def cut_off(self, name: str) -> None:
        """Bytes of this node vanish both ways, until it is `mended`."""
        for wire in self.wires(name):
            wire.loses_there = wire.loses_back = True
        await until(lambda: not self.nodes[name].pubsub.peers)

    async def mend(self, name: str) -> None:
        for wire in self.wires(name):
            wire.loses_there = wire.loses_back = False
            wire.reset()
        await self.all_hear_all()

    def reset(self, name: str) -> None:
        """End all connections of this node; they may be made again at once."""
        for wire in self.wires(name):
            wire.reset()


class MeshWorld(World):
    adapter = "mesh"

    def __init__(self, queue: int = 1000, silent_s: float = PATIENT_S) -> None:
        super().__init__(queue, silent_s)
        self._timing = Timing(
            ping_s=0.02, dead_s=silent_s, dial_s=silent_s, backoff_s=0.005, backoff_most_s=0.02
        )
        self._meshes: dict[str, Mesh] = {}
        self._wires: dict[tuple[str, str], Wire] = {}

    async def _start(self, name: str, incarnation: int) -> Node:
        metrics = Metrics()
        mesh = Mesh(
            name,
            HOST,
            0,
            {},
            random=random.Random(incarnation),
            metrics=metrics,
            queue=self._queue,
            timing=self._timing,
            incarnation=incarnation,
        )
        pubsub = MeshPubSub(mesh, metrics=metrics, beat=self._beat)
        node = Node(pubsub, metrics)
        await mesh.start()
        await pubsub.start()
        for other, its in self._meshes.items():
            await self._join(mesh, other, its)
            await self._join(its, name, mesh)
        self._meshes[name] = mesh
        return node

    async def _join(self, mesh: Mesh, other: str, its: Mesh) -> None:
        wire = await self.stack.enter_async_context(Wire(its.port))
        self._wires[mesh.name, other] = wire
        mesh.add_peer(other, HOST, wire.port)

    async def _stopped(self, name: str) -> None:
        await self._meshes.pop(name).close()

    def wires(self, name: str) -> list[Wire]:
        return [wire for way, wire in self._wires.items() if name in way]


class RedisWorld(World):
    """A `redis-server` of its own."""

    adapter = "redis"

    def __init__(self, queue: int = 1000, silent_s: float = PATIENT_S) -> None:
        super().__init__(queue, silent_s)
        self._port = 0
        self._wires: dict[str, Wire] = {}
        self._server: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        with socket.create_server((HOST, 0)) as free:
            self._port = free.getsockname()[1]
        self._folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        await self.start_server()
        self.stack.push_async_callback(self.kill_server)
        return self

    async def start_server(self) -> None:
        self._server = await asyncio.create_subprocess_exec(
            "redis-server",
            *("--bind", HOST, "--port", str(self._port), "--save", "", "--daemonize", "no"),
            cwd=self._folder,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._server.stdout is not None
        async with asyncio.timeout(10):
            while b"Ready to accept connections" not in (await self._server.stdout.readline()):
                pass

    def signal_server(self, number: int) -> None:
        assert self._server is not None
        if self._server.returncode is None:
            self._server.send_signal(number)

    async def kill_server(self) -> None:
        assert self._server is not None
        if self._server.returncode is None:
            self._server.kill()
        await self._server.communicate()

    async def _start(self, name: str, incarnation: int) -> Node:
        wire = await self.stack.enter_async_context(Wire(self._port))
        self._wires[name] = wire
        metrics = Metrics()
        pubsub = RedisPubSub(
            name,
            HOST,
            wire.port,
            random=random.Random(incarnation),
            metrics=metrics,
            queue=self._queue,
            beat=self._beat,
            incarnation=incarnation,
        )
        node = Node(pubsub, metrics)
        await pubsub.start()
        return node

    async def _stopped(self, name: str) -> None:
        pass

    def wires(self, name: str) -> list[Wire]:
        return [self._wires[name]]


WORLDS: dict[str, type[World]] = {"mesh": MeshWorld, "redis": RedisWorld}
