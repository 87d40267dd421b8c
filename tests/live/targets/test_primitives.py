"""Mesh, membership and PubSub as processes that are paused, killed and started again; Redis too."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from primitives.pubsub import Gap

from tests.support.pubsub_worlds import RedisWorld
from tests.support.wires import on_loop, until

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "tests" / "support" / "primitives_node.py"


class Process:
    """One node and all that it has said."""

    def __init__(self, name: str, ports: dict[str, int]) -> None:
        self.name = name
        self._ports = ports
        self.said: list[dict[str, Any]] = []
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        # It knows the first one only, and finds the others by gossip.
        first = next(iter(self._ports))
        self.said = []
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(str(SCRIPT), self.name, str(self._ports[self.name])),
            f"{first}={self._ports[first]}",
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT / "targets" / "lib")},
        )
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.said.append(json.loads(line))

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def end(self, number: int) -> int:
        """Its exit status, after it has said everything."""
        assert self._process is not None
        assert self._reading is not None
        if self._process.returncode is None:
            self.signal(signal.SIGCONT)
            self.signal(number)
        await self._reading
        return await self._process.wait()

    def events(self, event: str, since: int = 0, **data: Any) -> list[dict[str, Any]]:
        return [
            one
            for one in self.said[since:]
            if one["event"] == event and data.items() <= one.items()
        ]

    @property
    def alive(self) -> list[str]:
        told = self.events("alive")
        return list(told[-1]["names"]) if told else []

    def member(self, name: str) -> dict[str, Any]:
        return self.events("member", member=name)[-1]


@contextlib.asynccontextmanager
async def processes(*names: str) -> AsyncIterator[list[Process]]:
    """All started and known to each other."""
    with contextlib.ExitStack() as stack:
        free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        ports = {name: s.getsockname()[1] for name, s in zip(names, free, strict=True)}
    nodes = [Process(name, ports) for name in names]
    try:
        for node in nodes:
            await node.start()
        await until(lambda: all(node.alive == sorted(names) for node in nodes))
        yield nodes
    finally:
        for node in nodes:
            await node.end(signal.SIGKILL)


def test_a_node_is_paused_killed_started_again_and_ended() -> None:
    async def work() -> None:
        async with processes("a", "b", "c") as (a, b, c):
            await until(lambda: hears(a, "c") and hears(b, "c"))

            c.signal(signal.SIGSTOP)
            await until(lambda: a.alive == b.alive == ["a", "b"])
            before, of_c = a.member("c"), len(c.said)
            c.signal(signal.SIGCONT)
            await until(lambda: a.alive == b.alive == ["a", "b", "c"])
            assert a.member("c")["incarnation"] == before["incarnation"]
            await until(lambda: hears(c, "a", of_c) and c.events("missed", of_c, publisher="a"))

            await c.end(signal.SIGKILL)
            await until(lambda: a.alive == b.alive == ["a", "b"])
            since = len(a.said)
            await c.start()
            await until(lambda: a.alive == b.alive == c.alive == ["a", "b", "c"])
            assert a.member("c")["incarnation"] > before["incarnation"]
            await until(lambda: a.events("missed", since, publisher="c", reason="restarted"))
            await until(lambda: hears(a, "c", since) and hears(c, "b"))

            assert await c.end(signal.SIGTERM) == 0
            assert c.said[-1] == {**c.said[-1], "event": "ended", "tasks": 1}
            await until(lambda: a.member("c")["status"] == b.member("c")["status"] == "dead")
            for node, other in ((a, b), (b, a), (c, a)):
                assert_every_hole_is_announced(node, other.name)

    on_loop(work, timeout_s=60)


def hears(node: Process, publisher: str, since: int = 0) -> bool:
    return len(node.events("got", since, publisher=publisher)) > 10


def assert_every_hole_is_announced(node: Process, publisher: str) -> None:
    before, announced = 0, False
    for one in node.said:
        if one["event"] == "missed" and one["publisher"] == publisher:
            announced = True
        elif one["event"] == "got" and one["publisher"] == publisher:
            assert one["number"] > before
            assert one["number"] == before + 1 or announced, one
            before, announced = one["number"], False


needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None,
    reason="redis-server is not on PATH: apt-get install redis-server",
)


@needs_redis
def test_redis_is_killed_and_started_again() -> None:
    async def work() -> None:
        async with RedisWorld() as world:
            a, b = await world.start("a", "b")
            a.listen("t")
            b.listen("t")
            await a.publish("t", n=1)
            await until(lambda: b.numbers("a") == [1])
            await world.kill_server()
            await until(lambda: not a.pubsub.peers and not b.pubsub.peers)
            await a.publish("t", n=2)
            assert a.numbers("a") == [1, 2]
            await world.start_server()
            await world.all_hear_all()
            await until(lambda: Gap(None, "reconnected") in a.gaps and b.gaps)
            await a.publish("t", n=3)
            await until(lambda: b.numbers("a") == [1, 3])
            assert a.counted("relay", "dropped") == 1

    on_loop(work)


@needs_redis
def test_a_redis_that_hangs_is_noticed_by_own_beats_that_do_not_come_back() -> None:
    async def work() -> None:
        async with RedisWorld(silent_s=0.4) as world:
            a, b = await world.start("a", "b")
            world.signal_server(signal.SIGSTOP)
            await until(lambda: a.counted("connect", "failed") and b.counted("connect", "failed"))
            assert not a.pubsub.peers
            world.signal_server(signal.SIGCONT)
            await world.all_hear_all()
            await until(lambda: Gap(None, "reconnected") in a.gaps)

    on_loop(work)


@needs_redis
def test_a_subscription_that_hears_nothing_is_noticed_though_all_else_is_in_order() -> None:
    async def work() -> None:
        async with RedisWorld(silent_s=0.4) as world:
            a, b = await world.start("a", "b")
            (wire,) = world.wires("b")
            wire.change_back = lambda data: b"" if b"message" in data else data
            await until(lambda: b.counted("connect", "failed"))
            wire.change_back = lambda data: data
            await until(lambda: Gap(None, "reconnected") in b.gaps)
            await world.all_hear_all()
            assert a.counted("connect", "failed") == 0

    on_loop(work)


@needs_redis
@pytest.mark.parametrize("server", ["answers", "is gone", "hangs"])
def test_closing_ends_at_once_whatever_the_connection_is_at(server: str) -> None:
    async def work() -> None:
        async with RedisWorld(silent_s=0.05) as world:
            if server == "is gone":
                await world.kill_server()
            elif server == "hangs":
                world.signal_server(signal.SIGSTOP)
            moments = random.Random(7)
            for number in range(20):
                node = await world.start_alone(f"n{number}")
                await asyncio.sleep(moments.uniform(0, 0.15))
                async with asyncio.timeout(3):
                    await node.pubsub.close()
            world.signal_server(signal.SIGCONT)

    on_loop(work, timeout_s=60)
