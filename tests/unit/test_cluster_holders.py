"""Who holds a role: nodes, and what stands beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

from harness import Node, Target
from harness.cluster import Cluster


@dataclass(frozen=True, kw_only=True)
class Service(Target):
    name: ClassVar[str] = "service"
    ports: ClassVar[Mapping[str, int]] = {"http": 8080}
    dependencies: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "worker-1": {"worker": 8081},
        "worker-2": {"worker": 8081},
    }
    roles: ClassVar[Sequence[str]] = ("leader", "server")

    nodes: int = 1

    def command(self, node: Node, peers: Sequence[Node]) -> Sequence[str]:
        return ["serve", node.name]

    async def holders(self, role: str, nodes: Sequence[Node]) -> Sequence[str]:
        names = [node.name for node in nodes]
        return [name for name in names if name.startswith("worker") == (role == "leader")]


class Runtime:
    """Nodes that are what they are said to be."""

    def __init__(self, **states: str) -> None:
        self.states = states

    def state(self, name: str) -> str:
        return self.states.get(name.replace("-", "_"), "running")

    def address(self, name: str) -> str:
        return "127.0.0.1"

    def link_address(self, source: str, name: str) -> str:
        return "127.0.0.2"

    def home(self, name: str) -> Path:
        return Path("/nowhere") / name

    def image(self, name: str) -> None:
        return None


def holders(role: str, runtime: Runtime) -> tuple[str, ...]:
    cluster = Cluster(Service(), cast(Any, runtime), cast(Any, None))
    cluster._serving.update(cluster.all_names)
    return asyncio.run(cluster.holders(role))


def test_a_dependency_may_hold_a_role() -> None:
    assert holders("leader", Runtime()) == ("worker-1", "worker-2")
    assert holders("server", Runtime()) == ("node-1",)


def test_one_that_does_not_run_holds_none() -> None:
    assert holders("leader", Runtime(worker_1="paused")) == ("worker-2",)
