"""How the nodes of chat start, when they are ready, and what their logs say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from harness import Image, Node, Target
from harness.container import Container
from harness.errors import UsageError
from targets import IMAGES
from targets.chat.app.settings import (
    HTTP_PORT,
    MESH_PORT,
    MUTANTS,
    REDIS_HOST,
    REDIS_PORT,
    Settings,
)
from targets.redis.part import REDIS
from targets.services import LIB, asked, json_event, python_path, well

APP = Path(__file__).with_name("app")
HEALTH_REQUEST = b"GET /health HTTP/1.1\r\nHost: chat\r\nConnection: close\r\n\r\n"
READY_REQUEST = b"GET /ready HTTP/1.1\r\nHost: chat\r\nConnection: close\r\n\r\n"
PING = b"PING\r\n"

ADAPTERS = ("mesh", "redis")

EVENTS = frozenset(
    {
        "started",
        "ready",
        "slow-consumer",
        "stream-begun",
        "stream-ended",
        "stream-error",
        "stream-resumed",
        "origin-lost",
        "caught-up",
        "draining",
        "drained",
    }
)
"""What of the logs is kept as events of the run."""

_SETTINGS = "settings.json"


@dataclass(frozen=True, kw_only=True)
class Chat(Target):
    """Nodes that tell each other of new messages over the mesh between them, or through a Redis
    (`adapter`), which is a dependency of its own then. Either way each keeps every room on its own
    disk, and asks the others for what it missed.

    At most `queue_bytes` wait for one socket, and `all_queues_bytes` for all sockets of a node. The
    assistant gives a token every `token_s` seconds. With `fsync` what is acknowledged survives a
    power cut as well. A socket of which nothing is heard for `heartbeat_s` seconds is closed.
    """

    name: ClassVar[str] = "chat"
    ports: ClassVar[Mapping[str, int]] = {"http": HTTP_PORT, "mesh": MESH_PORT}
    image: ClassVar[Image | None] = Image(
        IMAGES / "chat",
        copies={APP: "/srv/app", LIB / "primitives": "/srv/primitives"},
        requirements=("aiohttp", "orjson", "prometheus-client", "redis", "uvloop"),
    )
    mutants: ClassVar[Mapping[str, str]] = MUTANTS

    adapter: Literal["mesh", "redis"] = "mesh"
    queue_bytes: int = 256 * 1024
    all_queues_bytes: int = 64 * 1024 * 1024
    token_s: float = 0.02
    heartbeat_s: float = 60.0
    fsync: bool = False

    def __post_init__(self) -> None:
        if self.adapter not in ADAPTERS:
            raise UsageError(
                f"Chat has no adapter {self.adapter!r}.", do=f"Give {' or '.join(ADAPTERS)}."
            )
        for option in ("queue_bytes", "all_queues_bytes", "token_s", "heartbeat_s"):
            if getattr(self, option) <= 0:
                raise UsageError(
                    f"Chat cannot have {option}={getattr(self, option)!r}.",
                    do=f"{option} is a number above zero.",
                )
        # What the base class calls the same for all instances depends on the adapter.
        if self.adapter == "redis":
            self._set("dependencies", {REDIS_HOST: {"redis": REDIS_PORT}})
            self._set("parts", (REDIS,))
        probes = {"http": HEALTH_REQUEST} | ({"redis": PING} if self.adapter == "redis" else {})
        self._set("probes", probes)
        super().__post_init__()

    def command(self, node: Node, peers: Sequence[Node]) -> Sequence[str]:
        if node.name == REDIS_HOST:
            # It only passes messages on, and keeps nothing.
            keeps_nothing = ["--save", "", "--appendonly", "no"]
            listens = ["--bind", node.address, "--port", str(REDIS_PORT), "--protected-mode", "no"]
            return [node.program(REDIS), *listens, *keeps_nothing]
        # -P: its working directory, which is full of data, is no place to import from.
        return [node.python, "-P", "-m", "app", _SETTINGS]

    def environment(self, node: Node) -> Mapping[str, str]:
        if node.image is not None:
            return {}  # the image says where its Python code is
        return python_path(APP.parent, LIB)

    def files(self, node: Node, peers: Sequence[Node]) -> Mapping[str, str]:
        if node.name == REDIS_HOST:
            return {}
        settings = Settings(
            name=node.name,
            address=node.address,
            members=self.node_names,
            adapter=self.adapter,
            fsync=self.fsync,
            heartbeat_s=self.heartbeat_s,
            queue_bytes=self.queue_bytes,
            all_queues_bytes=self.all_queues_bytes,
            token_s=self.token_s,
            mutant=self.mutant,
        )
        return {_SETTINGS: settings.to_json()}

    def container(self, name: str) -> Container | None:
        if name == REDIS_HOST:
            return Container(_REDIS_IMAGE, self.limits)
        return super().container(name)

    async def ready(self, node: Node) -> bool:
        if node.name == REDIS_HOST:
            return await asked(node.address, REDIS_PORT, PING) == b"+PONG\r\n"
        return well(await asked(node.address, HTTP_PORT, READY_REQUEST))

    def event(self, line: str) -> tuple[float, str, Mapping[str, Any]] | None:
        return json_event(line, EVENTS)

    def _set(self, attribute: str, value: object) -> None:
        object.__setattr__(self, attribute, value)


_REDIS_IMAGE = Image(IMAGES / "redis-sentinel", packages=("redis-server",))
