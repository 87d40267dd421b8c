"""What a node is told when it starts, in one JSON file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

HTTP_PORT = 4000
MESH_PORT = 4369
REDIS_HOST = "redis"
REDIS_PORT = 6379

MUTANTS: Mapping[str, str] = {
    "ack-before-write": "a message is acknowledged 0.3 s before it is written to the disk",
    "no-catch-up": "a client that comes back with its cursor is told that it missed nothing",
    "cursor-off-by-one": "whoever comes back is given the last it has seen of each log once more",
    "duplicate-on-retry": "the id of a message is ignored: a push repeated is a second message",
    "no-anti-entropy": "what a node missed of another's log is skipped and never fetched",
    "order-by-arrival": "messages of other nodes are given out as they arrive, and what was missed "
    "before them some time later",
    "presence-never-removed": "users of a node that died stay present",
    "unbounded-queue": "whatever a socket's reader does not read is kept in memory, without end",
    "stream-silently-short": "an answer that is cut off just stops: nobody is told, nobody resumes",
    "token-gaps": "a node that missed tokens of an answer goes on with the next one",
}
"""What `mutant` can be, and what is wrong then."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of one node. `members` are the host names of all nodes, this one's among them.

    `fsync`: what is acknowledged survives a power cut too; without it, every end of the process.
    `queue_bytes` may wait for one socket, `all_queues_bytes` for all of them together.
    `token_s` is the time between two tokens of an answer.
    """

    name: str
    address: str
    members: tuple[str, ...]
    adapter: Literal["mesh", "redis"] = "mesh"
    redis_host: str = REDIS_HOST
    redis_port: int = REDIS_PORT
    fsync: bool = False
    heartbeat_s: float = 60.0
    write_timeout_s: float = 10.0
    queue_bytes: int = 1024 * 1024
    all_queues_bytes: int = 128 * 1024 * 1024
    token_s: float = 0.02
    origin_lost_s: float = 1.5
    mutant: str | None = None

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises `TypeError` or `ValueError` if the file is not one that `to_json` wrote."""
        given = json.loads(path.read_text())
        return cls(**{**given, "members": tuple(given["members"])})
