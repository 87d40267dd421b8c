"""What somebody who uses a link sees of each effect, through a real server."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from harness.network import (
    Bandwidth,
    Drop,
    Effect,
    Latency,
    LimitData,
    Link,
    Network,
    Reject,
    Reset,
    Slicer,
    SlowClose,
    answer,
)
from harness.network.resets import Resetter
from tests.support.toxiproxy import Handler, Server, echo, running_toxiproxy, serving, until

pytestmark = pytest.mark.live

QUIET_S = 0.15
PATIENCE_S = 10.0


@pytest.fixture
def server() -> Iterator[Server]:
    with running_toxiproxy() as running:
        yield running


@contextlib.asynccontextmanager
async def opened(server: Server, handler: Handler = echo) -> AsyncIterator[tuple[Network, Link]]:
    """A network with something behind its links, and the link from client to node-1."""
    network = server.network(2)
    async with serving(network.links(), handler):
        await network.open()
        try:
            yield network, network.links("client", "node-1")[0]
        finally:
            await network.close()


class Talk:
    """One connection through a link."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes = b"x") -> None:
        self.writer.write(data)

    async def receive(self, size: int = 1) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readexactly(size)

    async def silent(self) -> bool:
        """Whether nothing at all happens for a while."""
        try:
            async with asyncio.timeout(QUIET_S):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False

    async def ending(self) -> str:
        """How the connection ends: reset or closed."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionResetError:
                return "reset"
        return "closed"


@contextlib.asynccontextmanager
async def talk(link: Link) -> AsyncIterator[Talk]:
    """A connection that has worked once."""
    reader, writer = await asyncio.open_connection(*link.listen)
    try:
        one = Talk(reader, writer)
        one.send(b"hello")
        assert await one.receive(5) == b"hello"
        yield one
    finally:
        writer.transport.abort()


def run(
    server: Server,
    work: Callable[[Network, Link], Awaitable[None]],
    handler: Handler = echo,
) -> None:
    async def all_of_it() -> None:
        async with opened(server, handler) as (network, link):
            await work(network, link)

    asyncio.run(all_of_it())


@pytest.mark.parametrize("direction", ["both", "to", "from"])
def test_dropped_bytes_vanish_and_healing_ends_the_connections(
    server: Server, direction: str
) -> None:
    received = bytearray()

    async def noting_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            received.extend(data)
            writer.write(data)

    async def work(network: Network, link: Link) -> None:
        async with talk(link) as old:
            await network.hold("f", {link: [Drop(direction)]})  # type: ignore[arg-type]
            old.send(b"lost")
            assert await old.silent()
            # New connections are accepted, and as silent.
            assert (await answer(link, None, 1)).kind == "connected"
            assert (await answer(link, b"new", QUIET_S)).kind == "silent"
            assert (b"lost" in received) == (direction == "from")
            await network.release("f")
            assert await old.ending() == "reset"
        async with talk(link):
            pass

    run(server, work, noting_echo)


def test_a_drop_in_one_direction_lets_the_other_pass(server: Server) -> None:
    async def greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await reader.read(1)

    async def work(network: Network, link: Link) -> None:
        await network.hold("f", {link: [Drop("to")]})
        reader, writer = await asyncio.open_connection(*link.listen)
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.readexactly(5) == b"hello"
        writer.transport.abort()
        await network.release("f")

    run(server, work, greeting)


def test_an_idle_connection_does_not_survive_a_healed_drop(server: Server) -> None:
    async def work(network: Network, link: Link) -> None:
        async with talk(link) as old:
            await network.hold("f", {link: [Drop("from")]})
            await network.release("f")
            assert await old.ending() == "reset"

    run(server, work)


def test_rejecting_resets_connections_and_refuses_new_ones(server: Server) -> None:
    async def work(network: Network, link: Link) -> None:
        async with talk(link) as old:
            await network.hold("f", {link: [Reject()]})
            assert await old.ending() == "reset"
        assert (await answer(link, b"x", 1)).kind == "refused"
        assert (await answer(link, None, 1)).kind == "refused"
        await network.release("f")
        assert (await answer(link, b"x", 5)).kind == "answered"

    run(server, work)


def test_a_reset_ends_idle_connections_at_once_and_new_ones_with_their_first_bytes(
    server: Server,
) -> None:
    async def work(network: Network, link: Link) -> None:
        async with talk(link) as old:
            await network.hold("f", {link: [Reset()]})
            assert await old.ending() == "reset"
        assert (await answer(link, b"x", 5)).kind == "reset"
        await network.release("f")
        assert (await answer(link, b"x", 5)).kind == "answered"

    run(server, work)


def test_a_late_reset_comes_after_the_first_bytes(server: Server) -> None:
    async def work(network: Network, link: Link) -> None:
        await network.hold("f", {link: [Reset(after_ms=200)]})
        reader, writer = await asyncio.open_connection(*link.listen)
        start = time.monotonic()
        writer.write(b"x")
        assert await Talk(reader, writer).ending() == "reset"
        assert time.monotonic() - start >= 0.2
        writer.transport.abort()
        await network.release("f")

    run(server, work)


def test_where_sockets_cannot_be_borrowed_connections_are_closed_instead(server: Server) -> None:
    async def work(network: Network, link: Link) -> None:
        network._resetter = Resetter(None)
        async with talk(link) as old:
            await network.hold("f", {link: [Reset()]})
            assert await old.ending() == "closed"
        assert await network.verify() == []
        await network.release("f")
        for effect in (Reject(), Drop()):
            async with talk(link) as old:
                await network.hold("f", {link: [effect]})
                await network.release("f")
                assert await old.ending() == "closed"
            assert await network.verify() == []

    run(server, work)


def test_resetting_one_link_leaves_the_others_alone(server: Server) -> None:
    async def work(network: Network, link: Link) -> None:
        other = network.links("node-2", "node-1")[0]
        assert other.upstream == link.upstream
        async with talk(link) as hit, talk(other) as spared:
            await network.hold("f", {link: [Reset()]})
            assert await hit.ending() == "reset"
            spared.send()
            assert await spared.receive() == b"x"
            await network.release("f")

    run(server, work)


def test_latency_delays_each_direction(server: Server) -> None:
    async def work(network: Network, link: Link) -> None:
        for effect, least_s in ((Latency(60), 0.12), (Latency(60, "to"), 0.06)):
            await network.hold("f", {link: [effect]})
            slowed = await answer(link, b"x", PATIENCE_S)
            assert slowed.kind == "answered"
            assert slowed.latency_s >= least_s
            await network.release("f")
        free = await until(lambda: faster_than(link, 0.06))
        assert free

    run(server, work)


async def faster_than(link: Link, limit_s: float) -> bool:
    said = await answer(link, b"x", PATIENCE_S)
    return said.kind == "answered" and said.latency_s < limit_s


def test_bandwidth_is_bounded_and_free_again_when_released(server: Server) -> None:
    size = 50_000

    async def transfer(link: Link) -> float:
        async with talk(link) as one:
            start = time.monotonic()
            one.send(b"x" * size)
            await one.receive(size)
            return time.monotonic() - start

    async def work(network: Network, link: Link) -> None:
        await network.hold("f", {link: [Bandwidth(100, "to")]})
        took_s = await transfer(link)
        # 50 kB at 100 kB/s; Toxiproxy owes up to 0.1 s at the end of a chunk.
        assert 0.4 <= took_s < 3
        await network.release("f")
        await until(lambda: below(transfer(link), 0.3))

    run(server, work)


async def below(measure: Awaitable[float], limit: float) -> bool:
    return await measure < limit


def test_a_slow_close_delays_the_end(server: Server) -> None:
    async def farewell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        await reader.read(100)

    async def end_after(link: Link) -> float:
        async with talk(link) as one:
            one.send(b"bye")
            start = time.monotonic()
            assert await one.ending() in ("closed", "reset")
            return time.monotonic() - start

    async def work(network: Network, link: Link) -> None:
        await network.hold("f", {link: [SlowClose(300, "from")]})
        assert await end_after(link) >= 0.29
        await network.release("f")
        await until(lambda: below(end_after(link), 0.29))

    run(server, work, farewell)


def test_a_slicer_slices_deterministically(server: Server) -> None:
    async def pieces(link: Link) -> list[int]:
        async with talk(link) as one:
            one.send(b"x" * 64)
            sizes: list[int] = []
            while sum(sizes) < 64:
                async with asyncio.timeout(PATIENCE_S):
                    sizes.append(len(await one.reader.read(100)))
            return sizes

    async def work(network: Network, link: Link) -> None:
        assert await until(lambda: equal(pieces(link), [64]))
        await network.hold("f", {link: [Slicer(16, delay_us=30_000, direction="from")]})
        assert await until(lambda: equal(pieces(link), [16, 16, 16, 16]))
        await network.release("f")

    run(server, work)


async def equal(measure: Awaitable[list[int]], wanted: list[int]) -> bool:
    return await measure == wanted


def test_limited_data_closes_after_that_many_bytes(server: Server) -> None:
    async def work(network: Network, link: Link) -> None:
        async with talk(link) as old:
            await network.hold("f", {link: [LimitData(10, "from")]})
            old.send(b"0123456789abc")
            assert await old.receive(10) == b"0123456789"
            assert await old.ending() in ("closed", "reset")
        assert (await answer(link, b"x", 5)).kind == "answered"
        await network.release("f")

    run(server, work)


def test_effects_on_one_link_add_up(server: Server) -> None:
    async def work(network: Network, link: Link) -> None:
        effects: list[Effect] = [Latency(40, "to"), Latency(40, "from")]
        await network.hold("f", {link: effects})
        await network.hold("g", {link: [Latency(40)]})
        assert (await answer(link, b"x", PATIENCE_S)).latency_s >= 0.16
        await network.release("f")
        said = await answer(link, b"x", PATIENCE_S)
        assert said.latency_s >= 0.08
        await network.release("g")

    run(server, work)


def test_probes_tell_the_endings_apart(server: Server) -> None:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.close()
        await writer.wait_closed()

    async def work(network: Network, link: Link) -> None:
        assert (await answer(link, b"x", 5)).kind in ("closed", "reset")
        assert (await answer(link.listen, None, 5)).kind == "connected"
        unused = (link.listen[0], link.listen[1] + 1)
        assert (await answer(unused, b"x", 5)).kind == "refused"

    run(server, work, closing)
