"""What is queued for a reader that does not read is bounded, and what may be dropped goes first."""

from __future__ import annotations

import asyncio
import json

from primitives.telemetry import Metrics

from targets.chat.app.channels import Channel
from targets.chat.app.crowd import Crowd
from targets.chat.app.metrics import ChatMetrics
from targets.chat.app.settings import Settings
from targets.chat.app.sockets import Socket
from tests.support.chat_world import texts
from tests.support.virtual_time import run_virtually

LIMIT = 1000


class Wire:
    """A transport whose other side takes what `take` says."""

    def __init__(self) -> None:
        self.queue = b""
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.queue += data

    def take(self, size: int) -> None:
        self.queue = self.queue[size:]

    def get_write_buffer_size(self) -> int:
        return len(self.queue)

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def get_extra_info(self, _name: str) -> None:
        return None


class Closing:
    """A WebSocket whose other side never answers that it is being closed."""

    def __init__(self) -> None:
        self.code: int | None = None

    async def close(self, *, code: int, message: bytes) -> None:
        self.code = code
        await asyncio.Event().wait()


def crowd_of(number: int, mutant: str | None = None, **options):
    options = {"queue_bytes": LIMIT, **options}
    settings = Settings(name="a", address="", members=("a",), mutant=mutant, **options)
    crowd = Crowd(settings, ChatMetrics(Metrics()))
    made = []
    for _ in range(number):
        wire, websocket = Wire(), Closing()
        now = asyncio.get_running_loop().time()
        socket = Socket(websocket, wire, settings, now, crowd.slow)  # type: ignore[arg-type]
        socket.channels["room:x"] = Channel(socket, "room:x", "1", "ada")
        crowd.enter(socket)
        made.append((socket, wire, websocket))
    return crowd, made


def test_typing_is_dropped_first_and_a_slow_reader_is_closed():
    async def whole():
        crowd, ((socket, wire, websocket),) = crowd_of(1)
        assert socket.send(b"x" * 200)
        assert not socket.send(b"t" * 100, droppable=True) and socket.dropped == 1
        assert socket.send(b"x" * 800)
        assert not socket.send(b"x") and not socket.send(b"x")
        await asyncio.sleep(0.1)
        assert websocket.code == 1013 and socket.closing
        assert crowd._metrics.slow._value.get() == 1
        (told,) = texts(wire.queue[1000:])
        reason = {"reason": "slow consumer", "reconnect": True}
        assert json.loads(told) == ["1", None, "room:x", "phx_error", reason]
        await asyncio.sleep(2)
        assert wire.aborted and not socket.send(b"x")

    run_virtually(whole())


def test_a_reader_that_reads_is_left_alone():
    async def whole():
        crowd, ((socket, wire, _),) = crowd_of(1, write_timeout_s=1)
        crowd.start()
        for _ in range(100):
            assert socket.send(b"x" * 90)
            await asyncio.sleep(0.1)
            wire.take(80 if len(wire.queue) < 800 else 200)
        await crowd.close(1012, "draining")
        assert crowd._metrics.slow._value.get() == 0

    run_virtually(whole())


def test_a_reader_that_takes_nothing_for_long_is_closed():
    async def whole():
        crowd, ((socket, _, websocket),) = crowd_of(1, write_timeout_s=1)
        crowd.start()
        socket.send(b"x" * 10)
        await asyncio.sleep(2)
        assert websocket.code == 1013

    run_virtually(whole())


def test_one_frame_may_be_larger_than_the_bound_if_nothing_else_waits():
    async def whole():
        _, ((socket, _, _),) = crowd_of(1)
        assert socket.send(b"x" * 5 * LIMIT)
        assert not socket.send(b"x")

    run_virtually(whole())


def test_all_queues_together_are_bounded_and_the_longest_goes_first():
    async def whole():
        crowd, made = crowd_of(4, all_queues_bytes=1500)
        crowd.start()
        for size, (socket, _, _) in enumerate(made, start=1):
            socket.send(b"x" * size * 200)
        await asyncio.sleep(0.3)
        assert [websocket.code for _, _, websocket in made] == [None, None, None, 1013]

    run_virtually(whole())


def test_the_mutant_keeps_everything():
    async def whole():
        crowd, ((socket, wire, websocket),) = crowd_of(
            1, "unbounded-queue", all_queues_bytes=1500, write_timeout_s=1
        )
        crowd.start()
        for _ in range(100):
            assert socket.send(b"x" * 100, droppable=True)
        await asyncio.sleep(3)
        assert len(wire.queue) == 10_000 and websocket.code is None

    run_virtually(whole())


def test_who_is_silent_for_the_heartbeats_time_is_closed():
    async def whole():
        crowd, ((silent, _, first), (heard, _, second)) = crowd_of(2, heartbeat_s=5)
        crowd.start()
        for _ in range(12):
            await asyncio.sleep(0.5)
            heard.heard_at = asyncio.get_running_loop().time()
        assert (first.code, second.code) == (1001, None)
        assert silent.closing and not heard.closing

    run_virtually(whole())


def test_a_node_that_was_stopped_does_not_blame_its_clients():
    async def whole():
        crowd, ((socket, wire, websocket),) = crowd_of(1, heartbeat_s=5, write_timeout_s=5)
        crowd.start()
        socket.send(b"x" * 10)
        await asyncio.sleep(0.5)
        loop = asyncio.get_running_loop()
        loop._skipping.skipped_s += 60  # as if it had been stopped for a minute
        wire.take(10)
        await asyncio.sleep(0.01)
        socket.heard_at = loop.time()
        await asyncio.sleep(2)
        assert websocket.code is None

    run_virtually(whole())


def test_at_the_end_all_are_told_and_closed():
    async def whole():
        crowd, made = crowd_of(3)
        crowd.start()
        await crowd.close(1012, "draining")
        assert [websocket.code for _, _, websocket in made] == [1012] * 3
        assert all(wire.aborted and b"draining" in wire.queue for _, wire, _ in made)

    run_virtually(whole())
