"""How the nodes of the cluster start, when they are ready, and who leads the strict limiter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness import Image, Node, Target
from harness.errors import UsageError
from targets import IMAGES
from targets.cluster.app.settings import (
    HTTP_PORT,
    MESH_PORT,
    Settings,
)
from targets.services import LIB, asked, json_event, python_path, well

APP = Path(__file__).with_name("app")

HEALTH_REQUEST = b"GET /health HTTP/1.1\r\nHost: cluster\r\nConnection: close\r\n\r\n"
READY_REQUEST = b"GET /ready HTTP/1.1\r\nHost: cluster\r\nConnection: close\r\n\r\n"
MEMBERS_REQUEST = b"GET /members HTTP/1.0\r\nHost: cluster\r\n\r\n"
MESH_PROBE = b"\xf5PF\x01\x00\x00\x00\x03\x8c\x14\xbd\x8bU4\x03\xf9[0]"
"""A heartbeat of the mesh, which every node answers (`primitives.mesh.PROBE`)."""

EVENTS = frozenset(
    {"worker-started", "worker-stopped", "conflict", "resolved", "leader", "missed", "node-started"}
)
"""What of the logs is kept as events of the run."""

_SETTINGS = "settings.json"


@dataclass(frozen=True, kw_only=True)
class Cluster(Target):
    """Each key of the limiter admits `limit` requests per `per_s` seconds, over all nodes.
    Messages of topics travel over the mesh (`on_redis` has the same cluster with Redis)."""

    name: ClassVar[str] = "cluster"
    ports: ClassVar[Mapping[str, int]] = {"http": HTTP_PORT, "mesh": MESH_PORT}
    probes: ClassVar[Mapping[str, bytes]] = {
        "http": HEALTH_REQUEST,
        "mesh": MESH_PROBE,
    }
    image: ClassVar[Image | None] = Image(
        IMAGES / "cluster",
        copies={APP: "/srv/app", LIB / "primitives": "/srv/primitives"},
        requirements=("aiohttp", "orjson", "prometheus-client", "redis"),
    )
    adapter: ClassVar[str] = "mesh"
    roles: ClassVar[Sequence[str]] = ("limiter-leader",)
    mutants: ClassVar[Mapping[str, str]] = {
        "first-met-wins": "of several claims to a worker each node keeps the one it met first",
        "loser-keeps-running": "who gives way takes back the claim, and lets the worker run on",
        "no-anti-entropy": "deltas that were lost in a netsplit never come again",
        "dead-keep-workers": "workers of dead nodes are theirs, and run nowhere",
        "journal-forgets-losers": "the journal says who won a conflict, and not who gave way",
        "strict-without-lease": "the leader of the strict limiter does not look at its lease",
        "limiter-forgets-on-failover": "a new leader admits at once, as if nothing had been "
        "admitted before it",
        "approximate-ignores-peers": "each node admits the whole limit, whatever the others do",
        "no-catch-up": "messages of topics that were missed are never asked for",
    }

    nodes: int = 5
    limit: int = 300
    per_s: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.limit, int) or self.limit < 1 or self.per_s <= 0:
            raise UsageError(
                f"A limiter cannot admit {self.limit!r} requests per {self.per_s!r} s.",
                do="limit is a whole number from 1 on, per_s a number of seconds above zero.",
            )

    def command(self, node: Node, peers: Sequence[Node]) -> Sequence[str]:
        # -P: its working directory, which is full of data, is no place to import from.
        return [node.python, "-P", "-m", "app", _SETTINGS]

    def environment(self, node: Node) -> Mapping[str, str]:
        if node.image is not None:
            return {}  # the image says where its Python code is
        return python_path(APP.parent, LIB)

    def files(self, node: Node, peers: Sequence[Node]) -> Mapping[str, str]:
        settings = Settings(
            name=node.name,
            address=node.address,
            members=self.node_names,
            adapter=self.adapter,
            limit=self.limit,
            per_s=self.per_s,
            mutant=self.mutant,
        )
        return {_SETTINGS: settings.to_json()}

    async def ready(self, node: Node) -> bool:
        """A node is ready when it sees all members alive and knows a leader of the limiter."""
        return well(await asked(node.address, HTTP_PORT, READY_REQUEST))

    async def holders(self, role: str, nodes: Sequence[Node]) -> Sequence[str]:
        """Who leads: by its own account, the one of the greatest term if there are two."""
        answers = await asyncio.gather(*map(_leads, nodes))
        leading = [(term, node.name) for node, term in zip(nodes, answers, strict=True) if term]
        return (max(leading)[1],) if leading else ()

    def event(self, line: str) -> tuple[float, str, Mapping[str, Any]] | None:
        return json_event(line, EVENTS)


async def _leads(node: Node) -> int:
    """The term in which the node leads; 0 if it does not, or does not answer."""
    try:
        answer = await asked(node.address, HTTP_PORT, MEMBERS_REQUEST, whole=True)
        told = json.loads(answer.partition(b"\r\n\r\n")[2])
    except (OSError, ValueError):
        return 0
    return int(told["term"]) if told["leading"] else 0
