"""Faults on the links between containers, proved by the nemesis and seen from where it matters:
inside the containers, and from this machine through the published doors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.registers import PORT, Registers
from harness import faults, milliseconds
from harness.network import Drop, Latency
from harness.runtime import proc
from harness.runtime.docker.engine import Engine
from harness.runtime.docker.runtime import DockerRuntime
from tests.support.containers import PYTHON, on_engine
from tests.support.live_cluster import (
    ANSWER_S,
    HEALED,
    SILENCE_S,
    Live,
    abort,
    exchange,
    on_cluster,
    started,
    until,
)
from tests.support.strays import PastTheLink

pytestmark = pytest.mark.live

TIMEOUT_S = 30.0

TALK = """
import socket, sys
with socket.create_connection(("node-2", {port}), 5) as peer, open("/tmp/seen", "w") as seen:
    peer.settimeout(20)
    peer.sendall(b'{{"f": "ping"}}\\n')
    print(peer.recv(100), file=seen, flush=True)
    try:
        print(peer.recv(100), file=seen, flush=True)
    except OSError as error:
        print(type(error).__name__, file=seen, flush=True)
"""
"""Asks node-2 by its name, and then waits for what becomes of the connection."""


def docker(live: Live) -> DockerRuntime:
    runtime = live.cluster.runtime
    assert isinstance(runtime, DockerRuntime)
    return runtime


@dataclass
class Shared:
    """A cluster of three registers that most tests share."""

    runner: asyncio.Runner
    live: Live

    def run(self, work: Callable[[Live], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with asyncio.timeout(TIMEOUT_S):
                try:
                    await work(self.live)
                finally:
                    await self.live.nemesis.heal_all()
                await self.live.assert_sound()

        self.runner.run(whole())


@pytest.fixture(scope="module")
def shared(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp("links")
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        entered = stack.enter_async_context(started(folder, Registers(nodes=3), "docker"))
        live = runner.run(entered)
        try:
            yield Shared(runner, live)
        finally:
            runner.run(stack.aclose())


async def inside(live: Live, node: str, text: str) -> str:
    """What some Python says in the container of a node."""
    status, said = await docker(live).inside(node, [*PYTHON, "-c", text])
    assert status == 0, said
    return said


PING = f"""
import socket
try:
    with socket.create_connection(("node-1", {PORT}), 0.5) as peer:
        peer.settimeout(0.5)
        peer.sendall(b'{{"f": "ping"}}\\n')
        print(peer.recv(100) or "ended")
except OSError as error:
    print(type(error).__name__)
"""


def test_a_netsplit_cuts_the_links_of_one_side_only(shared: Shared) -> None:
    async def work(live: Live) -> None:
        site = await live.inject(faults.netsplit("isolate", who="node-1"))
        assert live.proof()["by"] == "probe"
        assert await live.silent("node-2", "node-1")
        assert await live.silent("node-1", "node-3")
        assert await live.answers("node-2", "node-3")
        assert await live.answers("client", "node-1")
        # The same as the server in the container sees it, by name.
        assert await inside(live, "node-2", PING) == "TimeoutError"
        assert "node-1" in await inside(live, "node-1", PING)
        await live.nemesis.heal(site)
        assert "node-1" in await inside(live, "node-2", PING)
        assert live.steps() == list(HEALED)

    shared.run(work)


def test_latency_is_measured_on_the_link(shared: Shared) -> None:
    async def work(live: Live) -> None:
        fault = faults.latency(milliseconds(300), who="node-2")
        site = await live.inject(fault, "slow")
        assert live.steps("slow")[-1] == "proved"
        assert await live.took_s("node-2", "node-1") >= 0.3
        assert await live.took_s("node-3", "node-1") < 0.3
        await live.nemesis.heal(site)
        assert live.steps("slow") == list(HEALED)

    shared.run(work)


def test_a_reset_is_seen_as_such_inside_the_container(shared: Shared) -> None:
    async def work(live: Live) -> None:
        talking = asyncio.create_task(inside(live, "node-1", TALK.format(port=PORT)))

        async def seen() -> list[str]:
            return (await docker(live).inside("node-1", ["cat", "/tmp/seen"]))[1].splitlines()

        async def connected() -> bool:
            return any("node-2" in line for line in await seen())

        await until(connected)
        site = await live.inject(faults.reset(who="node-2"), "reset")
        await talking
        assert (await seen())[-1] == "ConnectionResetError"
        assert live.told("reset", "injected")["connections"] >= 1
        assert await live.answers("node-1", "node-2")
        await live.nemesis.heal(site)

    shared.run(work)


def test_doors_are_on_loopback_only_and_lead_through_the_links(
    shared: Shared, engine: Engine
) -> None:
    async def work(live: Live) -> None:
        runtime = docker(live)
        places = runtime.published()
        assert len(places) == 3
        assert {host for host, _ in places.values()} == {"127.0.0.1"}
        every = engine.api.containers(filters={"label": f"harness.cluster={runtime.id}"})
        ports = [port for one in every for port in one["Ports"]]
        assert {port["IP"] for port in ports if "PublicPort" in port} == {"127.0.0.1"}
        assert sorted(port["PublicPort"] for port in ports if "PublicPort" in port) == sorted(
            port for _, port in places.values()
        )
        link = live.link("client", "node-2")
        door = places[link.listen]
        ping = {"f": "ping"}
        assert await exchange(door, ANSWER_S, ping) == {"value": "node-2"}
        await live.cluster.network.hold("cut", {link: [Drop()]})
        assert await exchange(door, SILENCE_S, ping) == "silent"
        other = places[live.link("client", "node-3").listen]
        assert await exchange(other, ANSWER_S, ping) == {"value": "node-3"}
        await live.cluster.network.release("cut")
        assert await exchange(door, ANSWER_S, ping) == {"value": "node-2"}

    shared.run(work)


def test_a_killed_and_a_paused_node_come_back(shared: Shared) -> None:
    async def work(live: Live) -> None:
        frozen = await live.inject(faults.pause(who="node-2"), "pause")
        killed = await live.inject(faults.kill(who="node-3"), "kill")
        assert live.cluster.state("node-2") == "paused"
        assert live.cluster.state("node-3") == "down"
        assert await live.silent("client", "node-2")
        assert await live.say("client", "node-3", SILENCE_S) in ("silent", "ended")
        await live.nemesis.heal(frozen)
        await live.nemesis.heal(killed)
        assert await live.cluster.wait_serving(20) == []
        assert live.cluster.starts("node-3") == 2
        for id in ("pause", "kill"):
            assert live.steps(id) == list(HEALED)

    shared.run(work)


def test_one_worker_of_a_node_is_killed(shared: Shared) -> None:
    async def work(live: Live) -> None:
        (main,) = live.cluster.processes("node-3")
        sleeper = asyncio.create_task(docker(live).inside("node-3", ["sleep", "600"]))
        found = await until(
            lambda: [pid for pid in live.cluster.processes("node-3") if pid != main]
        )
        assert await live.cluster.kill_process("node-3", found[0])
        assert (await sleeper)[0] in (-signal.SIGKILL, 128 + signal.SIGKILL)
        assert live.cluster.processes("node-3") == (main,)
        assert await live.answers("client", "node-3")

    shared.run(work)


class Direct(PastTheLink):
    where = "0.1"


class LinkOfAnother(PastTheLink):
    where = "130.1"


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        (Direct(), "itself, past the link"),
        (LinkOfAnother(), "which is the link node-2>node-1:main"),
    ],
)
def test_connections_past_the_links_are_found(
    engine: Engine, target: Registers, seen: str, tmp_path: Path
) -> None:
    async def work(live: Live) -> None:
        (said,) = live.cluster.strays().values()
        assert said.startswith("node-3 is connected to")
        assert seen in said

    on_cluster(tmp_path, work, target=target, runtime="docker")


def test_where_links_are_used_there_is_no_stray(shared: Shared) -> None:
    async def work(live: Live) -> None:
        talking = asyncio.create_task(inside(live, "node-1", TALK.format(port=PORT)))

        async def dialled() -> bool:
            links = {live.link("node-1", "node-2").listen}
            return bool(live.cluster._dialled(links)["node-1"])

        await until(dialled)
        assert live.cluster.strays() == {}
        await live.inject(faults.reset(who="node-2"), "ends")
        await talking

    shared.run(work)


def test_a_toxiproxy_that_hangs_is_replaced_with_what_was_in_force(
    engine: Engine, tmp_path: Path
) -> None:
    async def work(live: Live) -> None:
        runtime, network = docker(live), live.cluster.network
        told: list[str] = []
        network._tell = told.append
        network.server.deadline_s = 0.5
        cut, other = network.links("client")
        await network.hold("f", {cut: [Drop()]})
        pid = runtime.toxiproxy_process()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: (now := proc.status(pid)) is not None and now.stopped)
        await network.hold("g", {cut: [Drop("to")], other: [Latency(1)]})
        assert told == ["Toxiproxy hung and was replaced: all connections were closed."]
        assert runtime.toxiproxy_process() not in (None, pid)
        assert await network.verify() == []
        assert await live.silent("client", cut.node)
        assert await live.answers("client", other.node)
        door = runtime.published()[other.listen]
        assert await exchange(door, ANSWER_S, {"f": "ping"}) == {"value": other.node}
        await network.release("f")
        await network.release("g")
        assert await live.answers("client", cut.node)
        await live.assert_sound()
        made = on_engine(engine, f"harness.cluster={runtime.id}")
        assert sum(name.endswith("-toxiproxy") for name in made) == 1

    on_cluster(tmp_path, work, nodes=2, runtime="docker")


@contextlib.asynccontextmanager
async def connection(address: tuple[str, int]) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(b'{"f": "ping"}\n')
        await reader.readline()
        yield reader
    finally:
        await abort(writer)


def test_a_reset_spares_the_connections_of_other_links(shared: Shared) -> None:
    async def work(live: Live) -> None:
        async with (
            connection(live.link("client", "node-1").listen) as spared,
            connection(live.link("node-3", "node-2").listen) as concerned,
        ):
            site = await live.inject(faults.reset(who="node-2"), "spares")
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(concerned.readexactly(1), ANSWER_S)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(spared.read(1), SILENCE_S)
            await live.nemesis.heal(site)

    shared.run(work)
