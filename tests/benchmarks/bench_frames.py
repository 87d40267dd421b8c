"""Framed TCP: commands a minute through a server that answers each, and damaged streams beside it.

The source asks for 20 000 commands a minute with no frame error. Streams of good clients are cut
into pieces of random sizes, so that frames arrive in parts and several at a time; beside them other
clients send frames of which one byte is wrong, and the server must show out each of those, and
nobody else.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "targets" / "lib"))

from primitives.connection import FramedConnection
from primitives.frames import HEADER, Decoder, encode

RUN_S = 3.0
CLIENTS = 8
IN_FLIGHT = 16
COMMAND = b'{"command":"set","key":"k","value":"0123456789"}'
ASKED_A_MINUTE = 20_000


class Server:
    """Answers every command with itself."""

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()
        self._open: set[FramedConnection] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in tuple(self._open):
            connection.abort("closed")
        await self._server.wait_closed()

    def _accept(self) -> FramedConnection:
        def lost(_reason: str) -> None:
            self._open.discard(connection)
            if connection.frame_error is not None:
                self.errors[connection.frame_error.kind] += 1

        def answer(command: bytes) -> None:
            connection.send(command)

        connection = FramedConnection(answer, lost, queue=10_000)
        self._open.add(connection)
        return connection


async def plain(port: int, until: float, _random: random.Random) -> tuple[int, int]:
    """One command after the other, each answered before the next. Commands and errors."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    frame, done = encode(COMMAND), 0
    while time.perf_counter() < until:
        writer.write(frame)
        if await reader.readexactly(len(frame)) != frame:
            return done, 1
        done += 1
    writer.close()
    return done, 0


async def fragmented(port: int, until: float, random: random.Random) -> tuple[int, int]:
    """Many commands at a time, written in pieces that do not care where frames begin."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    decoder, done = Decoder(), 0
    while time.perf_counter() < until:
        commands = [COMMAND[: random.randrange(len(COMMAND))] for _ in range(IN_FLIGHT)]
        stream = b"".join(map(encode, commands))
        while stream:
            size = random.randint(1, 3 * HEADER)
            writer.write(stream[:size])
            stream = stream[size:]
            await asyncio.sleep(0)  # a piece of its own for the server
        answers: list[bytes] = []
        while len(answers) < len(commands):
            answers += decoder.feed(await reader.read(65536))
        if answers != commands:
            return done, 1
        done += len(commands)
    writer.close()
    return done, 0


async def damaged(port: int, until: float, random: random.Random) -> tuple[int, int]:
    """Streams whose last frame has one wrong byte. How many were sent, and in how many other frames
    were answered than the good ones before it."""
    streams = wrong = 0
    while time.perf_counter() < until:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        good = random.randrange(4)
        frame = bytearray(encode(COMMAND))
        frame[random.randrange(len(frame))] ^= random.randint(1, 255)
        writer.write(encode(COMMAND) * good + bytes(frame))
        decoder = Decoder()
        answers: list[bytes] = []
        try:
            while data := await reader.read(65536):
                answers += decoder.feed(data)
        except ConnectionError:
            pass
        writer.close()
        streams += 1
        wrong += answers != [COMMAND] * good
    return streams, wrong


Client = Callable[[int, float, random.Random], Awaitable[tuple[int, int]]]


async def measure(client: Client, beside: Client | None) -> None:
    server = Server()
    port = await server.start()
    begun = time.perf_counter()
    until = begun + RUN_S
    mains = [client(port, until, random.Random(n)) for n in range(CLIENTS)]
    besides = [beside(port, until, random.Random(n)) for n in range(2)] if beside else []
    results = await asyncio.gather(*mains, *besides)
    took_s = time.perf_counter() - begun
    commands = sum(done for done, _ in results[:CLIENTS])
    failed = sum(errors for _, errors in results)
    streams = sum(done for done, _ in results[CLIENTS:])
    a_minute = commands / took_s * 60
    refused = sum(server.errors.values())
    await server.close()
    name = client.__name__ + (f" beside {streams} damaged" if beside else "")
    print(
        f"{name:36} {a_minute:10,.0f} {a_minute / ASKED_A_MINUTE:8.0f}×"
        f" {failed + abs(refused - streams):6}   {dict(server.errors) or ''}"
    )


def decoding() -> None:
    """What the decoder alone does with a stream, by the size of the pieces."""
    stream = encode(COMMAND) * 20_000
    for size in (1, 16, 1460, 65536):
        part = stream if size > 16 else stream[: len(stream) // 10]
        decoder, frames = Decoder(), 0
        begun = time.perf_counter()
        for at in range(0, len(part), size):
            frames += len(decoder.feed(part[at : at + size]))
        took_s = time.perf_counter() - begun
        print(f"  pieces of {size:6} bytes: {frames / took_s:10,.0f} frames/s")


def main() -> None:
    print(f"{CLIENTS} clients, {RUN_S:g} s each; the server and all clients share one core")
    print(
        f"{'clients':36} {'commands/min':>10} {'of 20k':>8} {'errors':>6}   shown out by the server"
    )
    asyncio.run(measure(plain, None))
    asyncio.run(measure(fragmented, None))
    asyncio.run(measure(fragmented, damaged))
    print("the decoder alone")
    decoding()


if __name__ == "__main__":
    main()
