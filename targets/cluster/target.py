"""How the nodes of the cluster start, when they are ready, and who leads the strict limiter."""

from __future__ import annotations

import asyncio
import json
import os
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

APP = Path(__file__).with_name("app")
LIB = APP.parents[1] / "lib"

HEALTH_REQUEST = b"GET /health HTTP/1.1\r\nHost: cluster\r\nConnection: close\r\n\r\n"
READY_REQUEST = b"GET /ready HTTP/1.1\r\nHost: cluster\r\nConnection: close\r\n\r\n"
MEMBERS_REQUEST = b"GET /members HTTP/1.0\r\nHost: cluster\r\n\r\n"
MESH_PROBE = b"\xf5PF\x01\x00\x00\x00\x03\x8c\x14\xbd\x8bU4\x03\xf9[0]"
"""A heartbeat of the mesh, which every node answers (`primitives.mesh.PROBE`)."""

EVENTS = frozenset(
    {"worker-started", "worker-stopped", "conflict", "resolved", "leader", "missed", "node-started"}
)
"""What of the logs is kept as events of the run."""

ASK_S = 0.5

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
        paths = [str(APP.parent), str(LIB), os.environ.get("PYTHONPATH", "")]
        return {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}

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
        return b" 200 " in (await _ask(node.address, READY_REQUEST)).partition(b"\r\n")[0]

    async def holders(self, role: str, nodes: Sequence[Node]) -> Sequence[str]:
        """Who leads: by its own account, the one of the greatest term if there are two."""
        answers = await asyncio.gather(*map(_leads, nodes))
        leading = [(term, node.name) for node, term in zip(nodes, answers, strict=True) if term]
        return (max(leading)[1],) if leading else ()

    def event(self, line: str) -> tuple[float, str, Mapping[str, Any]] | None:
        try:
            said = json.loads(line)
            name = said.pop("event")
            at = float(said.pop("at"))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None  # a stack trace, or a line that a kill cut short
        return (at, name, said) if name in EVENTS else None


async def _leads(node: Node) -> int:
    """The term in which the node leads; 0 if it does not, or does not answer."""
    try:
        async with asyncio.timeout(ASK_S):
            answer = await _ask(node.address, MEMBERS_REQUEST)
        told = json.loads(answer.partition(b"\r\n\r\n")[2])
    except (OSError, ValueError, TimeoutError):
        return 0
    return int(told["term"]) if told["leading"] else 0


async def _ask(address: str, request: bytes) -> bytes:
    """All that the node answers."""
    reader, writer = await asyncio.open_connection(address, HTTP_PORT)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()
