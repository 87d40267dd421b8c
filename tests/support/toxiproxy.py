"""A Toxiproxy server for tests, addresses that nobody else has, and small servers behind links."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.errors import MissingPartError
from harness.network import Link, Network, Toxiproxy, mesh
from harness.parts import toxiproxy_binary

API_PORT = 8474
PORT = 7000

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Addresses:
    """A block 127.R of loopback addresses, in rows that clusters of the harness do not use."""

    block: int

    @property
    def api(self) -> str:
        return f"127.{self.block}.239.1"

    def node(self, name: str) -> str:
        return f"127.{self.block}.240.{_number(name)}"

    def link(self, source: str, node: str) -> str:
        return f"127.{self.block}.{200 + _number(source)}.{_number(node)}"


@dataclass
class Server:
    """A running Toxiproxy."""

    binary: Path
    addresses: Addresses
    process: subprocess.Popen[bytes]
    replaced: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.addresses.api

    @property
    def port(self) -> int:
        return API_PORT

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    async def restart(self) -> None:
        """Start it again, once it was killed."""
        self.process = start(self.binary, self.addresses)

    def network(self, nodes: int = 2, ports: dict[str, int] | None = None) -> Network:
        """A network over this server, of `node-1` … and clients. If the server hangs, it is
        replaced, and `replaced` gets longer."""
        names = [f"node-{number}" for number in range(1, nodes + 1)]
        on_each = ports or {"peer": PORT}
        links = mesh(names, lambda _: on_each, self.addresses.node, self.addresses.link)
        return Network(
            self.host,
            self.port,
            links,
            escape=self.kill,
            restart=self.restart,
            tell=self.replaced.append,
        )


@contextlib.contextmanager
def reserved() -> Iterator[Addresses]:
    """A block of addresses that no other test has while this is open."""
    for block in random.sample(range(20, 251), 231):
        addresses = Addresses(block)
        with contextlib.suppress(OSError), socket.socket() as lock:
            lock.bind((addresses.api, API_PORT - 1))
            yield addresses
            return
    raise RuntimeError("all address blocks are taken")


@contextlib.contextmanager
def running_toxiproxy(*options: str) -> Iterator[Server]:
    """A Toxiproxy server that answers; skips the test if there is none to be had."""
    try:
        binary = toxiproxy_binary()
    except MissingPartError as error:
        pytest.skip(str(error))
    with reserved() as addresses:
        server = Server(binary, addresses, start(binary, addresses, *options))
        try:
            api = Toxiproxy(addresses.api, API_PORT)
            poll(api.running)
            api.close()
            # A server that somebody left behind would answer in its place.
            assert server.process.poll() is None, "something else has the address"
            yield server
        finally:
            server.kill()


def start(binary: Path, addresses: Addresses, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(binary), "-host", addresses.api, "-port", str(API_PORT), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def poll(condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """The first true answer of `condition`; fails the test after `timeout_s`."""
    ends = time.monotonic() + timeout_s
    while not (answer := condition()):
        assert time.monotonic() < ends, f"not within {timeout_s:g} s"
        time.sleep(0.005)
    return answer


async def until(condition: Callable[[], Awaitable[Any]], timeout_s: float = 10.0) -> Any:
    """Like `poll`, for conditions that are awaited."""
    ends = time.monotonic() + timeout_s
    while not (answer := await condition()):
        assert time.monotonic() < ends, f"not within {timeout_s:g} s"
        await asyncio.sleep(0.005)
    return answer


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every byte with itself."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@contextlib.asynccontextmanager
async def serving(links: Iterable[Link], handler: Handler = echo) -> AsyncIterator[None]:
    """A server behind every link; its connections end with it."""
    tasks: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            tasks.discard(task)

    servers = []
    try:
        for host, port in sorted({link.upstream for link in links}):
            servers.append(await asyncio.start_server(handle, host, port))
        yield
    finally:
        for server in servers:
            server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in servers:
            await server.wait_closed()


def _number(name: str) -> int:
    return 30 if name == "client" else int(name.rpartition("-")[2])
