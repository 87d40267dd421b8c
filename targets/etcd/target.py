"""How an etcd node starts, when it is ready, and who leads."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import aiohttp

from harness import Image, Node, Target
from harness.parts import Part
from targets import IMAGES
from targets.etcd.part import ETCD

ASK_TIMEOUT_S = 1.0
VERSION_REQUEST = b"GET /version HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Etcd(Target):
    """An etcd cluster of `nodes` members.

    `stale_reads` makes clients read `serializable`: any member answers from its own state, without
    asking the leader. etcd offers that for speed, and it is not linearizable.
    """

    name: ClassVar[str] = "etcd"
    ports: ClassVar[Mapping[str, int]] = {"client": 2379, "peer": 2380}
    probes: ClassVar[Mapping[str, bytes]] = {"client": VERSION_REQUEST, "peer": VERSION_REQUEST}
    parts: ClassVar[Sequence[Part]] = (ETCD,)
    image: ClassVar[Image | None] = Image(IMAGES / "etcd", parts=(ETCD,))
    roles: ClassVar[Sequence[str]] = ("leader", "follower")

    mutants: ClassVar[Mapping[str, str]] = {
        "acknowledges-early": "Clients say that a write is done before they were told so.",
    }

    # A member that boots asks each other one whether the cluster exists, and gives one that listens
    # but does not answer yet a second. Members that start together thus lose one or two seconds.
    starts_in_turn: ClassVar[bool] = True

    stale_reads: bool = False
    heartbeat_interval_ms: int = 50
    election_timeout_ms: int = 500
    """Half of etcd's defaults, which are meant for networks: elections take half as long."""

    def command(self, node: Node, peers: Sequence[Node]) -> Sequence[str]:
        members = ",".join(f"{peer.name}=http://{peer.name}:2380" for peer in peers)
        return [
            node.program(ETCD),
            f"--name={node.name}",
            f"--data-dir={node.home / 'data'}",
            f"--listen-client-urls=http://{node.address}:2379",
            f"--advertise-client-urls=http://{node.name}:2379",
            f"--listen-peer-urls=http://{node.address}:2380",
            f"--initial-advertise-peer-urls=http://{node.name}:2380",
            f"--initial-cluster={members}",
            "--initial-cluster-state=new",
            f"--heartbeat-interval={self.heartbeat_interval_ms}",
            f"--election-timeout={self.election_timeout_ms}",
            "--logger=zap",
            "--log-level=warn",
        ]

    async def ready(self, node: Node) -> bool:
        timeout = aiohttp.ClientTimeout(total=ASK_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://{node.address}:2379/health") as response,
        ):
            return response.status == 200

    async def holders(self, role: str, nodes: Sequence[Node]) -> Sequence[str]:
        """The leader is the member that calls itself leader in the newest term: one that was cut
        off or paused may still believe that it leads an older one."""
        statuses = await asyncio.gather(*(_status(node) for node in nodes))
        leading = [
            (int(status["raftTerm"]), node.name)
            for node, status in zip(nodes, statuses, strict=True)
            if status and status.get("leader") == status["header"]["member_id"]
        ]
        if not leading:
            return ()
        leader = max(leading)[1]
        if role == "leader":
            return (leader,)
        return tuple(node.name for node in nodes if node.name != leader)


async def _status(node: Node) -> dict[str, Any] | None:
    timeout = aiohttp.ClientTimeout(total=ASK_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(f"http://{node.address}:2379/v3/maintenance/status", json={}) as response,
        ):
            return dict(await response.json()) if response.status == 200 else None
    except (aiohttp.ClientError, TimeoutError):
        return None
