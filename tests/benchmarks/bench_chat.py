"""What the target chat carries on this machine, beside what its source set out to reach.

Run it as `PYTHONPATH=. python tests/benchmarks/bench_chat.py [sockets]` (500 by default; clients
and nodes share the machine). Three nodes; the sockets are opened on the first, past all links. What
a socket costs is what that node grows by. Then 25 people publish as fast as they are answered, in
rooms of two and of twenty, and one after the other at a rate that leaves the machine time. A
message is delivered when another member has it. At last the assistant is asked.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from harness.check.windows import percentile
from harness.cluster import Cluster
from harness.runtime.process import ProcessRuntime
from harness.runtimes import create_runtime
from targets.chat import Chat
from targets.chat.channels import PORT, Payload, Socket
from targets.chat.client import metric

SOCKETS = 500
LARGE, SMALL = 20, 2  # members of a room
PUBLISHERS = 25
SECONDS = 5.0
AT_ONCE = 50  # sockets that connect at the same time
QUESTIONS = 10
CALM_RATE = 50  # messages a second
OPEN_FILES = 12_000


@dataclass
class Heard:
    """How long messages took to those who did not send them, in seconds."""

    latencies: list[float] = field(default_factory=list)
    deliveries: int = 0


def main() -> None:
    """Measure, and print figures beside those of the source."""
    sockets = int(sys.argv[1]) if len(sys.argv) > 1 else SOCKETS
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, hard), hard))
    asyncio.run(_measure(sockets))


async def _measure(sockets: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        runtime = await create_runtime("process", Chat(), logs=Path(folder), run_id="bench")
        assert isinstance(runtime, ProcessRuntime)
        try:
            cluster = await Cluster.start(Chat(), runtime)
            try:
                async with asyncio.timeout(120):
                    await _all(cluster, sockets)
            finally:
                await cluster.close()
        finally:
            await runtime.close()


async def _all(cluster: Cluster, count: int) -> None:
    host, other = (cluster.node(name).address for name in cluster.names[:2])
    async with aiohttp.ClientSession(f"http://{host}:{PORT}") as node:
        before = await metric(node, "chat_resident_bytes")
        begun = time.monotonic()
        sockets = await _connected(host, count)
        took_s = time.monotonic() - begun
        each = (await metric(node, "chat_resident_bytes") - before) / count
        heard = Heard()
        _say("sockets", f"{count} connected and joined in {took_s:.1f} s", "500 sessions")
        _say("memory per socket", f"{each / 1024:.0f} KiB", "< 50 MB per session")
        for size in (SMALL, LARGE):
            await _meet(sockets, size, heard)
            await _flat_out(sockets, size, heard)
        await _calmly(sockets, LARGE, heard)
        peak = await metric(node, "chat_resident_bytes")
        _say("memory of the node", f"{peak / 2**20:.0f} MiB with all of them", "")
        await _assistant(other)
        await asyncio.gather(*(socket.close() for socket in sockets))


async def _connected(host: str, count: int) -> list[Socket]:
    """So many sockets, each in a room of its own."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> Socket:
        async with gate:
            socket = await Socket.open(host)
            user = {"user": f"u{number}", "presence": False}
            await socket.join(f"room:own-{number}", user, lambda event, payload: None)
            return socket

    return await asyncio.gather(*(one(number) for number in range(count)))


async def _meet(sockets: Sequence[Socket], size: int, heard: Heard) -> None:
    """Let `size` of them at a time join a room."""

    async def join(number: int, socket: Socket) -> None:
        def listen(event: str, payload: Payload) -> None:
            if event == "new_msg":
                heard.deliveries += 1
                if payload["user"] != f"u{number}":
                    heard.latencies.append(time.monotonic() - float(payload["body"]))

        await socket.join(_room(number, size), {"user": f"u{number}", "presence": False}, listen)

    await asyncio.gather(*(join(number, socket) for number, socket in enumerate(sockets)))


async def _flat_out(sockets: Sequence[Socket], size: int, heard: Heard) -> None:
    """Publishers, one in a room, each of which goes on as soon as it was answered."""
    end = time.monotonic() + SECONDS
    took: list[float] = []

    async def publish(number: int) -> None:
        while time.monotonic() < end:
            id = f"f{size}-{number}-{len(took)}"
            took.append(await _publish(sockets[number], _room(number, size), id))

    _reset(heard)
    numbers = range(0, len(sockets), size)[:PUBLISHERS]
    await asyncio.gather(*(publish(number) for number in numbers))
    rates = f"{len(took) / SECONDS:.0f} messages/s, {heard.deliveries / SECONDS:.0f} deliveries/s"
    _say(f"rooms of {size}", rates, "1000 messages/s")
    _say("", f"acknowledged after {_percentiles(took)}", "")
    _say("", f"delivered after {_percentiles(heard.latencies)}", "")


async def _calmly(sockets: Sequence[Socket], size: int, heard: Heard) -> None:
    """Messages to one room after the other."""
    _reset(heard)
    begun, number = time.monotonic(), 0
    while time.monotonic() < begun + SECONDS:
        place = number * size % len(sockets)
        await _publish(sockets[place], _room(place, size), f"c{number}")
        number += 1
        await asyncio.sleep(max(0.0, begun + number / CALM_RATE - time.monotonic()))
    rate = heard.deliveries / (time.monotonic() - begun)
    _say(
        "with time to spare", f"{rate:.0f} deliveries/s, after {_percentiles(heard.latencies)}", ""
    )


async def _assistant(host: str) -> None:
    """From the question, asked on another node, to the first word of the answer there."""
    came: dict[str, asyncio.Event] = {}
    first = asyncio.Event()

    def listen(event: str, payload: Payload) -> None:
        if event == "token" and payload["index"] == 0:
            first.set()
        elif event == "stream_end":
            came.setdefault(payload["stream"], asyncio.Event()).set()

    socket = await Socket.open(host)
    took = []
    await socket.join("room:assistant", {"user": "asker"}, listen)
    for number in range(QUESTIONS):
        first.clear()
        begun = time.monotonic()
        asked = {"id": f"q{number}", "prompt": "how long does it take?", "model": "echo"}
        stream = (await socket.push("room:assistant", "ask", asked))["stream"]
        await first.wait()
        took.append(time.monotonic() - begun)
        await came.setdefault(stream, asyncio.Event()).wait()
    await socket.close()
    _say("first token", _percentiles(took), "< 200 ms")


async def _publish(socket: Socket, topic: str, id: str) -> float:
    begun = time.monotonic()
    await socket.push(topic, "new_msg", {"id": id, "body": str(begun)})
    return time.monotonic() - begun


def _room(number: int, size: int) -> str:
    return f"room:{size}-{number // size}"


def _reset(heard: Heard) -> None:
    heard.latencies.clear()
    heard.deliveries = 0


def _percentiles(took: Sequence[float]) -> str:
    ordered = sorted(took)
    return f"p50 {percentile(ordered, 50) * 1e3:.1f} ms, p99 {percentile(ordered, 99) * 1e3:.1f} ms"


def _say(what: str, figures: str, source: str) -> None:
    print(f"{what:18} {figures:56} {source}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
