"""What a node is told when it starts, in one JSON file."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

HTTP_PORT = 8080
MESH_PORT = 7946
REDIS_PORT = 6379
REDIS_NAME = "redis"
"""The host name of the Redis server that the PubSub adapter of that name uses."""

BURST = 1.2
"""So many times its own share of the approximate limit a node may admit when others leave theirs.
What it may be wrong by grows with it (`primitives.limiter.error_bound`): here a fifth."""

ADAPTERS = ("mesh", "redis")
MODES = ("strict", "approximate")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of one node. `members` are the names of all nodes, itself included; `adapter` is the way of
    PubSub; each key of the limiter admits `limit` requests per `per_s` seconds, whatever the
    mode."""

    name: str
    address: str
    members: tuple[str, ...]
    adapter: str = "mesh"
    limit: int = 300
    per_s: float = 1.0
    mutant: str | None = None

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises `TypeError` or `ValueError` if the file is not one that `to_json` wrote."""
        told = json.loads(path.read_text())
        return cls(**{**told, "members": tuple(told["members"])})
