"""What a node is told when it starts, in one JSON file."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

MEMBER_PORT = 8080
DEPENDENCY_PORTS = {"provider": 8081, "notifications": 8082, "analytics": 8083, "store": 8084}
"""Each is a process of its own, found by its host name."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of one node: a member, or a dependency if its name is that of one.

    `clock_speed` shortens the lifetime of keys, and nothing else: at 360, ten seconds do to the
    store's table what an hour does.
    """

    name: str
    address: str
    workers: int = 2
    key_lifetime_s: float = 120.0
    clock_speed: float = 1.0
    mutant: str | None = None

    @property
    def port(self) -> int:
        return DEPENDENCY_PORTS.get(self.name, MEMBER_PORT)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises `TypeError` or `ValueError` if the file is not one that `to_json` wrote."""
        return cls(**json.loads(path.read_text()))
