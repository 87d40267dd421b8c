"""The same cluster, where messages of topics travel through a Redis server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness import Node
from harness.container import Container, Image
from harness.parts import Part
from targets import IMAGES
from targets.cluster.app.settings import REDIS_NAME, REDIS_PORT
from targets.cluster.target import Cluster
from targets.redis.part import REDIS


@dataclass(frozen=True, kw_only=True)
class ClusterOnRedis(Cluster):
    """Redis is a dependency of its own, so that faults can hit it and the way to it. It keeps
    nothing: what is published while nobody listens is gone, and repaired over the mesh."""

    adapter: ClassVar[str] = "redis"
    dependencies: ClassVar[Mapping[str, Mapping[str, int]]] = {REDIS_NAME: {"redis": REDIS_PORT}}
    probes: ClassVar[Mapping[str, bytes]] = {**Cluster.probes, "redis": b"PING\r\n"}
    parts: ClassVar[Sequence[Part]] = (REDIS,)

    def container(self, name: str) -> Container | None:
        if name != REDIS_NAME:
            return super().container(name)
        return Container(Image(IMAGES / "redis-sentinel", packages=("redis-server",)), self.limits)

    def command(self, node: Node, peers: Sequence[Node]) -> Sequence[str]:
        if node.name != REDIS_NAME:
            return super().command(node, peers)
        return [
            node.program(REDIS),
            *("--bind", node.address, "--port", str(REDIS_PORT)),
            *("--protected-mode", "no", "--save", "", "--appendonly", "no"),
        ]

    def environment(self, node: Node) -> Mapping[str, str]:
        return {} if node.name == REDIS_NAME else super().environment(node)

    def files(self, node: Node, peers: Sequence[Node]) -> Mapping[str, str]:
        return {} if node.name == REDIS_NAME else super().files(node, peers)

    async def ready(self, node: Node) -> bool:
        if node.name == REDIS_NAME:
            return await super(Cluster, self).ready(node)
        return await super().ready(node)
