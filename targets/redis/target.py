"""How a node of Redis with its Sentinel starts, when it is ready, and who is the primary."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from harness import Image, Node, Target
from harness.errors import UsageError
from harness.parts import Part
from targets import IMAGES
from targets.redis.app.node import SENTINEL_PORT
from targets.redis.part import REDIS

APP = Path(__file__).with_name("app")
PORT = 6379
SERVICE = "main"
"""What the Sentinels call the primary and its replicas."""

ASK_TIMEOUT_S = 1.0

DOWN_MS = 2000
"""For so long a Sentinel takes somebody for down until its node is ready all the same: those that
start at the same moment may do so for less, until they are connected."""


@dataclass(frozen=True, kw_only=True)
class Redis(Target):
    """A primary (node-1 at first) and its replicas, with a Sentinel on each node.

    A primary that does not answer for `down_after_ms` is down for a Sentinel; when a majority of
    them says so, a replica is promoted. An attempt may take `failover_timeout_ms`, and after twice
    that time the next one begins.

    With `min_replicas_to_write`, a primary refuses writes unless so many replicas have
    acknowledged something within the last `min_replicas_max_lag_s` seconds. By default 0: it does
    not ask.

    `ping_period_ms`, `info_period_ms` and `publish_period_ms` are how often Sentinels look whether
    servers and each other live (and try to connect to those that do not), ask servers about
    themselves, and tell each other what they know. Redis' own are 1000, 10000 and 2000: they say
    how long a cluster takes to start and to recover. A primary that was deposed while it was away
    is made a replica once it is back for four `publish_period_ms`. A replica that said nothing of
    itself for five `ping_period_ms` is not promoted, and while the primary is down it is asked once
    a second: below 300 or so, failovers fail.

    Nodes write an append-only file and wait for the disk, so that what one acknowledged survives
    its SIGKILL: what gets lost is lost by a failover.
    """

    name: ClassVar[str] = "redis"
    ports: ClassVar[Mapping[str, int]] = {"redis": PORT, "sentinel": SENTINEL_PORT}
    probes: ClassVar[Mapping[str, bytes]] = dict.fromkeys(("redis", "sentinel"), b"PING\r\n")
    parts: ClassVar[Sequence[Part]] = (REDIS,)
    image: ClassVar[Image | None] = Image(
        IMAGES / "redis-sentinel", packages=("redis-server",), copies={APP: "/srv/redis-node"}
    )
    roles: ClassVar[Sequence[str]] = ("primary", "replica")

    mutants: ClassVar[Mapping[str, str]] = {
        "not-durable": "nodes keep nothing on disk: a primary that is back at once is empty, and "
        "so are its replicas then",
        "replicas-writable": "replicas take writes of their own, which nobody else ever sees",
        "lag-zero": "min-replicas-max-lag is 0, which is not strict but switches "
        "min-replicas-to-write off",
        "no-failover": "one Sentinel more than there are would have to agree that the primary is "
        "down",
    }

    down_after_ms: int = 1000
    failover_timeout_ms: int = 2000
    min_replicas_to_write: int = 0
    min_replicas_max_lag_s: int = 1
    ping_period_ms: int = 500
    info_period_ms: int = 1000
    publish_period_ms: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, least in (
            ("down_after_ms", 1),
            ("failover_timeout_ms", 1),
            ("min_replicas_to_write", 0),
            ("min_replicas_max_lag_s", 1),
            ("ping_period_ms", 1),
            ("info_period_ms", 1),
            ("publish_period_ms", 1),
        ):
            value = getattr(self, option)
            if not isinstance(value, int) or value < least:
                raise UsageError(
                    f"Redis cannot have {option}={value!r}.",
                    do=f"{option} is a whole number, {least} or more.",
                )
        if self.min_replicas_to_write >= self.nodes:
            raise UsageError(
                f"Nobody could ever write: of {self.nodes} nodes, {self.nodes - 1} are replicas, "
                f"and min_replicas_to_write is {self.min_replicas_to_write}.",
                do="Give a min_replicas_to_write below the number of nodes.",
            )

    @property
    def quorum(self) -> int:
        """How many Sentinels must find the primary down before one of them may act."""
        return self.nodes + 1 if self.mutant == "no-failover" else self.nodes // 2 + 1

    def command(self, node: Node, peers: Sequence[Node]) -> Sequence[str]:
        return [
            node.python,
            "-P",
            node.path(APP / "node.py"),
            node.program(REDIS),
            node.address,
            f"ping-period={self.ping_period_ms}",
            f"info-period={self.info_period_ms}",
            f"publish-period={self.publish_period_ms}",
        ]

    def files(self, node: Node, peers: Sequence[Node]) -> Mapping[str, str]:
        # Both files are rewritten by the Sentinels: what they decided survives a restart.
        return {
            "redis.conf": _lines(self._server(node, peers)),
            "sentinel.conf": _lines(self._sentinel(node, peers)),
        }

    def _server(self, node: Node, peers: Sequence[Node]) -> list[str]:
        primary = peers[0].name
        lag_s = 0 if self.mutant == "lag-zero" else self.min_replicas_max_lag_s
        return [
            f"port {PORT}",
            f"bind {node.address}",
            "protected-mode no",
            f"replica-announce-ip {node.name}",
            f"appendonly {'no' if self.mutant == 'not-durable' else 'yes'}",
            "appendfsync always",
            'save ""',
            # By default a primary waits 5 s for further replicas before it feeds the first.
            "repl-diskless-sync-delay 0",
            f"replica-read-only {'no' if self.mutant == 'replicas-writable' else 'yes'}",
            f"min-replicas-to-write {self.min_replicas_to_write}",
            f"min-replicas-max-lag {lag_s}",
            *([] if node.name == primary else [f"replicaof {primary} {PORT}"]),
        ]

    def _sentinel(self, node: Node, peers: Sequence[Node]) -> list[str]:
        """Whom it would find out about within some ten seconds, it is told: it would write the
        same lines itself."""
        primary = peers[0].name
        return [
            f"port {SENTINEL_PORT}",
            f"bind {node.address}",
            "protected-mode no",
            # Names, never addresses: else nodes would talk to each other past their links.
            "sentinel resolve-hostnames yes",
            "sentinel announce-hostnames yes",
            f"sentinel announce-ip {node.name}",
            f"sentinel announce-port {SENTINEL_PORT}",
            f"sentinel myid {_sentinel_id(node.name)}",
            f"sentinel monitor {SERVICE} {primary} {PORT} {self.quorum}",
            f"sentinel down-after-milliseconds {SERVICE} {self.down_after_ms}",
            f"sentinel failover-timeout {SERVICE} {self.failover_timeout_ms}",
            *(
                f"sentinel known-replica {SERVICE} {peer.name} {PORT}"
                for peer in peers
                if peer.name != primary
            ),
            *(
                f"sentinel known-sentinel {SERVICE} {peer.name} {SENTINEL_PORT} "
                f"{_sentinel_id(peer.name)}"
                for peer in peers
                if peer.name != node.name
            ),
        ]

    async def ready(self, node: Node) -> bool:
        """Its server is the primary or in step with it, and its Sentinel has met all others: every
        other Sentinel, and every replica, which is in step as well. Those that it takes for
        down for a while need not be met: they may be held so by a fault."""
        role = await ask(node.address, PORT, "ROLE")
        if role[0] == "slave" and role[3] != "connected":
            return False
        replicas = [_fields(one) for one in await _sentinel(node, "REPLICAS")]
        others = [_fields(one) for one in await _sentinel(node, "SENTINELS")]
        if len(replicas) != self.nodes - 1 or len(others) != self.nodes - 1:
            return False
        return all(_met(one) for one in (*replicas, *others)) and all(
            one["master-link-status"] == "ok" or _down(one) for one in replicas
        )

    async def holders(self, role: str, nodes: Sequence[Node]) -> Sequence[str]:
        """The primary is who the Sentinel with the newest configuration names: it was made by a
        majority of them. One that was cut off, and a Sentinel beside it, may still believe that it
        is the primary."""
        said = [one for one in await asyncio.gather(*(_primary(node) for node in nodes)) if one]
        if not said:
            return ()
        _epoch, primary = max(said)
        if role == "replica":
            return tuple(node.name for node in nodes if node.name != primary)
        return tuple(node.name for node in nodes if node.name == primary)


def connection(host: str, port: int, timeout_s: float | None = None) -> redis.asyncio.Redis:
    """A client that tries everything once only: whoever repeats a write must know that it does."""
    return redis.asyncio.Redis(
        host=host,
        port=port,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        protocol=2,
    )


async def send(client: redis.asyncio.Redis, *words: str | int) -> Any:
    """The answer to one command, as the server gives it."""
    return await client.execute_command(*words)  # type: ignore[no-untyped-call]


async def ask(host: str, port: int, *words: str) -> Any:
    """The answer to one command, on a connection of its own. Raises `OSError` if there is none."""
    asking = connection(host, port, ASK_TIMEOUT_S)
    try:
        return await send(asking, *words)
    except RedisError as error:
        raise OSError(str(error)) from error
    finally:
        await asking.aclose()


async def _sentinel(node: Node, what: str) -> Any:
    return await ask(node.address, SENTINEL_PORT, "SENTINEL", what, SERVICE)


async def _primary(node: Node) -> tuple[int, str] | None:
    """How new the configuration of the node's Sentinel is, and whom it names."""
    try:
        state = _fields(await _sentinel(node, "MASTER"))
        # During a failover this names the new one earlier.
        name, _port = await _sentinel(node, "GET-MASTER-ADDR-BY-NAME")
    except OSError:
        return None
    return int(state["config-epoch"]), str(name)


def _fields(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _met(one: Mapping[str, str]) -> bool:
    return "disconnected" not in one["flags"] or _down(one)


def _down(one: Mapping[str, str]) -> bool:
    return int(one.get("s-down-time", 0)) >= DOWN_MS


def _sentinel_id(name: str) -> str:
    """Forty hexadecimal digits, as a Sentinel would draw for itself."""
    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
