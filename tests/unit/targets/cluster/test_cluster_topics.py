"""Topics on three nodes in one process, on virtual time: gaps, netsplits, what nobody has left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
from primitives.pubsub.mesh import MeshPubSub
from primitives.telemetry import Metrics

from targets.cluster.app import topics
from targets.cluster.app.topics import Topics
from tests.support.virtual_mesh import VirtualNet, run_pausably

NAMES = ("node-1", "node-2", "node-3")
REPAIRED_S = 3.0


class Nodes:
    def __init__(self, mutant: str | None) -> None:
        self.net = VirtualNet(Random(3))
        self.topics: dict[str, Topics] = {}
        self.told: list[tuple[str, Any]] = []
        self._mutant = mutant

    async def start(self, name: str) -> None:
        mesh = self.net.start(name)

        def tell(event: str, **data: Any) -> None:
            self.told.append((event, data))

        pubsub = MeshPubSub(mesh, metrics=Metrics())
        origin = f"{name}/{mesh.incarnation}"
        self.topics[name] = Topics(origin, mesh, pubsub, tell, mutant=self._mutant)

        async def begin() -> None:
            await pubsub.start()
            await self.topics[name].start()

        await mesh.task(begin())

    async def publish(self, name: str, *messages: str, topic: str = "news") -> None:
        for message in messages:
            await self.net.nodes[name].task(self.topics[name].publish(topic, message))

    def read(self, name: str, topic: str = "news") -> list[Any]:
        return self.topics[name].read(topic)[0]


def on_nodes(work: Callable[[Nodes], Awaitable[None]], mutant: str | None = None) -> None:
    async def whole() -> None:
        nodes = Nodes(mutant)
        for name in NAMES:
            await nodes.start(name)
        await asyncio.sleep(0.5)
        await work(nodes)

    run_pausably(whole())


def test_what_is_published_anywhere_is_read_everywhere() -> None:
    async def work(nodes: Nodes) -> None:
        await nodes.publish("node-1", "a", "b")
        await nodes.publish("node-2", "c", topic="other")
        await asyncio.sleep(0.1)
        for name in NAMES:
            assert nodes.read(name) == ["a", "b"]
            assert nodes.read(name, "other") == ["c"]
            assert nodes.topics[name].read("news", since=1) == (["b"], 2)
            assert nodes.topics[name].read("nothing") == ([], 0)

    on_nodes(work)


def test_both_sides_of_a_netsplit_are_read_on_both() -> None:
    async def work(nodes: Nodes) -> None:
        await nodes.publish("node-1", "a")
        await asyncio.sleep(0.1)
        nodes.net.split(["node-1"], ["node-2", "node-3"])
        await nodes.publish("node-1", *(f"one-{number}" for number in range(500)))
        await nodes.publish("node-2", "two-1", "two-2")
        await asyncio.sleep(2.0)
        assert nodes.read("node-3") == ["a", "two-1", "two-2"]
        nodes.net.heal()
        await asyncio.sleep(REPAIRED_S)
        heads = [nodes.topics[name].heads() for name in NAMES]
        assert heads[1:] == heads[:-1]
        for name in NAMES:
            read = nodes.read(name)
            assert len(read) == len(set(read)) == 503
            assert [one for one in read if one.startswith("one")] == [
                f"one-{number}" for number in range(500)
            ]
            assert [one for one in read if one.startswith("two")] == ["two-1", "two-2"]

    on_nodes(work)


def test_a_node_that_is_back_is_told_what_it_forgot() -> None:
    async def work(nodes: Nodes) -> None:
        await nodes.publish("node-1", "a", "b")
        await asyncio.sleep(0.1)
        await nodes.start("node-1")
        await asyncio.sleep(REPAIRED_S)
        await nodes.publish("node-1", "c")
        await asyncio.sleep(REPAIRED_S)
        assert [nodes.read(name) for name in NAMES] == [["a", "b", "c"]] * 3

    on_nodes(work)


def test_what_nobody_has_any_more_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "MOST_MESSAGES", 100)

    async def work(nodes: Nodes) -> None:
        nodes.net.split(["node-1"], ["node-2", "node-3"])
        await nodes.publish("node-1", *(str(number) for number in range(205)))
        nodes.net.heal()
        await asyncio.sleep(REPAIRED_S)
        kept, after = nodes.topics["node-1"].read("news")
        assert (kept[-1], after, len(kept) <= 100) == ("204", 205, True)
        assert nodes.read("node-2") == kept
        assert nodes.topics["node-2"].missed == 205 - len(kept)
        assert ("missed", 205 - len(kept)) in [
            (event, data.get("messages")) for event, data in nodes.told
        ]

    on_nodes(work)


def test_large_messages_are_caught_up_in_pages_and_topics_are_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(topics, "PAGE_BYTES", 2_500)
    monkeypatch.setattr(topics, "MOST_TOPICS", 2)

    async def work(nodes: Nodes) -> None:
        nodes.net.split(["node-1"], ["node-2", "node-3"])
        messages = [str(number) * 1_000 for number in range(10)]
        await nodes.publish("node-1", *messages)
        await nodes.publish("node-1", "x" * 5_000, topic="other")
        with pytest.raises(topics.TooManyTopicsError):
            await nodes.publish("node-1", "x", topic="one more")
        nodes.net.heal()
        await asyncio.sleep(REPAIRED_S)
        assert nodes.read("node-2") == messages
        assert nodes.read("node-3", "other") == ["x" * 5_000]

    on_nodes(work)


def test_the_mutant_never_asks() -> None:
    async def work(nodes: Nodes) -> None:
        nodes.net.split(["node-1"], ["node-2", "node-3"])
        await nodes.publish("node-1", "lost")
        nodes.net.heal()
        await asyncio.sleep(REPAIRED_S)
        await nodes.publish("node-1", "a")
        await asyncio.sleep(REPAIRED_S)
        assert nodes.read("node-2") == ["a"]

    on_nodes(work, "no-catch-up")
