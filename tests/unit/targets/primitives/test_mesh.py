"""A mesh on this machine's loopback: order, bounds, what is noticed, and what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from primitives.frames import encode
from primitives.mesh import PROBE, Mesh, Timing, Unreachable
from primitives.mesh.wire import Is, dump
from primitives.telemetry import Metrics

from tests.support.wires import Wire, on_loop, until

HOST = "127.0.0.1"
FAST = Timing(ping_s=0.02, dead_s=0.15, dial_s=0.2, backoff_s=0.005, backoff_most_s=0.02)


class Node:
    """A mesh and what arrived at it."""

    def __init__(self, name: str, timing: Timing = FAST, **options: Any) -> None:
        self.metrics = Metrics()
        self.mesh = Mesh(
            name,
            HOST,
            0,
            {},
            random=random.Random(name),
            metrics=self.metrics,
            timing=timing,
            **options,
        )
        self.got: list[Any] = []
        self.changes: list[tuple[str, bool]] = []
        self.mesh.handle("note", lambda peer, body: self.got.append((peer, body)))
        self.mesh.handle("echo", lambda _peer, body: body)
        self.mesh.on_change(lambda peer, connected: self.changes.append((peer, connected)))

    def counted(self, operation: str, outcome: str) -> float:
        labels = {"operation": operation, "outcome": outcome, "component": "mesh", "adapter": "tcp"}
        return self.metrics.registry.get_sample_value("primitives_operations_total", labels) or 0.0


@contextlib.asynccontextmanager
async def meshed(*nodes: Node) -> AsyncIterator[None]:
    """All started, each connected to each other."""
    async with contextlib.AsyncExitStack() as stack:
        for node in nodes:
            await node.mesh.start()
            stack.push_async_callback(node.mesh.close)
        for node in nodes:
            for other in nodes:
                node.mesh.add_peer(other.mesh.name, HOST, other.mesh.port)
        await until(lambda: all(len(node.mesh.connected) == len(nodes) - 1 for node in nodes))
        yield


def test_messages_arrive_in_order_and_requests_are_answered() -> None:
    async def work() -> None:
        a, b, c = Node("a"), Node("b"), Node("c")
        async with meshed(a, b, c):
            for number in range(500):
                assert a.mesh.send("b", "note", {"number": number})
            assert await a.mesh.request("b", "echo", [1, {"two": None}], 5) == [1, {"two": None}]
            assert await c.mesh.request("b", "echo", "three", 5) == "three"
            await until(lambda: len(b.got) == 500)
            assert b.got == [("a", {"number": number}) for number in range(500)]
            assert c.got == []

    on_loop(work)


def test_what_is_not_sent_is_said_at_once() -> None:
    async def work() -> None:
        a, b = Node("a"), Node("b")
        async with meshed(a):
            assert not a.mesh.send("nobody", "note", 1)
            a.mesh.add_peer("b", HOST, 1)
            assert not a.mesh.send("b", "note", 1)
            with pytest.raises(Unreachable, match="not connected") as refused:
                await a.mesh.request("b", "echo", 1, 5)
            assert not refused.value.sent
            assert a.counted("send", "not connected") == 2
            await until(lambda: a.counted("dial", "failed") > 1)
        async with meshed(a := Node("a"), b), contextlib.AsyncExitStack():
            with pytest.raises(Unreachable, match="nobody handles other") as failed:
                await a.mesh.request("b", "other", 1, 5)
            assert failed.value.sent
            with pytest.raises(ValueError, match="longer than a frame"):
                a.mesh.send("b", "note", "x" * (1 << 20))
            with pytest.raises(TypeError):
                a.mesh.send("b", "note", object())
            with pytest.raises(ValueError, match="has a handler already"):
                a.mesh.handle("note", print)

    on_loop(work)


def test_a_handler_that_fails_harms_only_who_asked() -> None:
    async def work() -> None:
        a, b = Node("a"), Node("b")

        async def fail(_peer: str, body: Any) -> None:
            raise ZeroDivisionError(body)

        b.mesh.handle("fail", fail)
        b.mesh.handle("strange", lambda _peer, _body: {object()})
        async with meshed(a, b):
            assert a.mesh.send("b", "fail", 1)
            assert a.mesh.send("b", "note", 2)
            with pytest.raises(Unreachable, match="ZeroDivisionError"):
                await a.mesh.request("b", "fail", 3, 5)
            with pytest.raises(Unreachable, match="not JSON"):
                await a.mesh.request("b", "strange", 3, 5)
            await until(lambda: b.got == [("a", 2)])
            assert b.counted("receive", "failed") == 2
            assert a.changes == [("b", True)]

    on_loop(work)


def test_slow_handlers_keep_the_order_and_make_the_peer_wait() -> None:
    """Fifty may wait here, ten there; the rest stays with the sender, which is told when its queue
    is full too. Nothing that was taken is lost."""

    async def work() -> None:
        a, b = Node("a", queue=50, timing=Timing()), Node("b", queue=10, timing=Timing())
        going_on = asyncio.Event()
        got: list[int] = []

        async def slow(_peer: str, body: Any) -> None:
            await going_on.wait()
            got.append(body[0])

        b.mesh.handle("slow", slow)
        async with meshed(a, b):
            taken = 0
            filler = "x" * 100_000
            # What TCP and the transports hold is not counted by us, and finite.
            while a.mesh.send("b", "slow", [taken, filler]):
                taken += 1
                await asyncio.sleep(0)
                assert taken < 1000
            assert a.counted("send", "queue full") == 1
            going_on.set()
            await until(lambda: len(got) == taken)
            assert got == list(range(taken))
            assert a.changes == [("b", True)]

    on_loop(work)


def test_requests_do_not_wait_for_each_other_and_end_in_time() -> None:
    async def work() -> None:
        a, b = Node("a"), Node("b")
        forever = asyncio.Event()

        async def wait(_peer: str, _body: Any) -> None:
            await forever.wait()

        b.mesh.handle("wait", wait)
        async with meshed(a, b):
            waiting = asyncio.create_task(a.mesh.request("b", "wait", 1, 0.05))
            assert await a.mesh.request("b", "echo", 2, 5) == 2
            with pytest.raises(Unreachable, match="none in") as late:
                await waiting
            assert late.value.sent
            assert late.value.reason == "timeout"

    on_loop(work)


def test_the_loss_of_a_link_fails_what_waits_and_is_mended() -> None:
    async def work() -> None:
        a, b = Node("a"), Node("b")
        b.mesh.handle("wait", lambda _peer, _body: asyncio.Event().wait())
        async with meshed(a, b), Wire(b.mesh.port) as wire:
            a.mesh.add_peer("b", HOST, wire.port)  # moved
            await until(lambda: a.changes == [("b", True), ("b", False), ("b", True)])
            waiting = asyncio.create_task(a.mesh.request("b", "wait", 1, 5))
            await until(lambda: b.counted("accept", "ok") == 2)
            await asyncio.sleep(0.01)
            wire.reset()
            with pytest.raises(Unreachable, match="link lost"):
                await waiting
            await until(lambda: "b" in a.mesh.connected)
            assert await a.mesh.request("b", "echo", 2, 5) == 2

    on_loop(work)


@pytest.mark.parametrize("way", ["there", "back"])
def test_bytes_that_vanish_one_way_take_the_link_down_until_they_pass_again(way: str) -> None:
    async def work() -> None:
        a, b = Node("a"), Node("b")
        async with meshed(a, b), Wire(b.mesh.port) as wire:
            a.mesh.add_peer("b", HOST, wire.port)
            await until(lambda: len(a.changes) == 3 and "b" in a.mesh.connected)
            if way == "there":
                wire.loses_there = True
            else:
                wire.loses_back = True
            await until(lambda: "b" not in a.mesh.connected)
            assert not a.mesh.send("b", "note", 1)
            wire.loses_there = wire.loses_back = False
            wire.reset()
            await until(lambda: "b" in a.mesh.connected)
            assert a.mesh.send("b", "note", 2)
            await until(lambda: b.got == [("a", 2)])

    on_loop(work)


def test_a_damaged_stream_ends_the_connection_and_nothing_wrong_is_handled() -> None:
    async def work() -> None:
        a, b = Node("a"), Node("b")
        async with meshed(a, b), Wire(b.mesh.port) as wire:
            a.mesh.add_peer("b", HOST, wire.port)
            await until(lambda: len(a.changes) == 3 and "b" in a.mesh.connected)
            wire.change_there = lambda data: data[:-1] + bytes([data[-1] ^ 1])
            a.mesh.send("b", "note", "damaged")
            await until(lambda: b.counted("frame", "checksum") >= 1)
            await until(lambda: a.changes[3:])  # the loss is known here, too
            wire.change_there = lambda data: data
            await until(lambda: "b" in a.mesh.connected)
            a.mesh.send("b", "note", "whole")
            await until(lambda: b.got)
            assert b.got == [("a", "whole")]

    on_loop(work)


def test_a_node_that_starts_again_replaces_its_former_self() -> None:
    async def work() -> None:
        a, b = Node("a", incarnation=1), Node("b")
        async with meshed(a, b):
            await a.mesh.close()
            await until(lambda: b.changes[-1] == ("a", False))
            again = Node("a", incarnation=2)
            await again.mesh.start()
            try:
                again.mesh.add_peer("b", HOST, b.mesh.port)
                b.mesh.add_peer("a", HOST, again.mesh.port)
                await until(lambda: "b" in again.mesh.connected and "a" in b.mesh.connected)
                assert again.mesh.send("b", "note", "new")
                await until(lambda: b.got == [("a", "new")])
            finally:
                await again.mesh.close()

    on_loop(work)


class Stranger:
    """Speaks frames by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, node: Node) -> Stranger:
        return cls(*await asyncio.open_connection(HOST, node.mesh.port))

    def say(self, *items: Any) -> None:
        self.writer.write(encode(dump(*items)))

    async def ended(self) -> bool:
        with contextlib.suppress(ConnectionError):
            await self.reader.read()
        self.writer.close()
        return True


def test_a_connection_dialled_before_the_latest_one_comes_too_late() -> None:
    """Frames that a slow network kept back must not be handled after newer ones."""

    async def work() -> None:
        b = Node("b", timing=Timing())
        async with meshed(b):
            old, new = await Stranger.to(b), await Stranger.to(b)
            new.say(Is.HELLO, "a", "b", 7, 2)
            new.say(Is.MESSAGE, "note", "new")
            await until(lambda: b.got == [("a", "new")])
            old.say(Is.HELLO, "a", "b", 7, 1)
            old.say(Is.MESSAGE, "note", "old")
            assert await old.ended()
            newer = await Stranger.to(b)
            newer.say(Is.HELLO, "a", "b", 7, 3)
            newer.say(Is.MESSAGE, "note", "newer")
            await until(lambda: len(b.got) == 2)
            new.say(Is.MESSAGE, "note", "late")
            assert await new.ended()
            assert b.got == [("a", "new"), ("a", "newer")]
            newer.writer.close()

    on_loop(work)


@pytest.mark.parametrize(
    "said",
    [
        [Is.MESSAGE, "note", 1],  # without a greeting
        [Is.HELLO, "a", "c", 1, 1],  # for somebody else
        [Is.HELLO, "a", "b"],
        {"not": "a list"},
    ],
)
def test_who_does_not_keep_to_the_protocol_is_shown_out(said: Any) -> None:
    async def work() -> None:
        b = Node("b")
        async with meshed(b):
            stranger = await Stranger.to(b)
            stranger.writer.write(encode(dump(*said) if isinstance(said, list) else b"{}"))
            assert await stranger.ended()
            assert b.got == []

    on_loop(work)


def test_probes_are_answered_and_silence_is_not_borne() -> None:
    async def work() -> None:
        b = Node("b")
        async with meshed(b):
            stranger = await Stranger.to(b)
            stranger.writer.write(PROBE)
            assert await stranger.reader.readexactly(19) == encode(dump(Is.PONG))
            assert await stranger.ended()  # it never greets

    on_loop(work)


def test_closing_sends_what_was_queued() -> None:
    async def work() -> None:
        a, b = Node("a"), Node("b")
        async with meshed(a, b):
            for number in range(100):
                a.mesh.send("b", "note", number)
            await a.mesh.close()
            await until(lambda: len(b.got) == 100)

    on_loop(work)


def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    async def work() -> None:
        a = Node("a")
        async with meshed(a):
            other = Mesh(
                "b", HOST, a.mesh.port, {}, random=random.Random(1), metrics=Metrics(), timing=FAST
            )
            with pytest.raises(OSError, match="address already in use"):
                await other.start()

    on_loop(work)
