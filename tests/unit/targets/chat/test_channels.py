"""The protocol's client side against a server in the same process that says what it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from targets.chat.channels import Disconnected, Payload, Refusal, Socket

Said = list[Any]
Server = Callable[[ServerConnection, Said], Awaitable[None]]
"""Is given each frame that the client sends."""

HOST = "127.0.0.1"


@asynccontextmanager
async def connected(server: Server, heartbeat_s: float = 60) -> AsyncIterator[Socket]:
    async def handle(connection: ServerConnection) -> None:
        async for frame in connection:
            await server(connection, json.loads(frame))

    async with asyncio.timeout(5), serve(handle, HOST, 0, close_timeout=0.1) as listening:
        (listener,) = listening.sockets
        socket = await Socket.open(HOST, listener.getsockname()[1], heartbeat_s=heartbeat_s)
        try:
            yield socket
        finally:
            await socket.close()


async def say(connection: ServerConnection, *frame: Any) -> None:
    await connection.send(json.dumps(frame))


async def reply(connection: ServerConnection, said: Said, status: str = "ok", **what: Any) -> None:
    payload = {"status": status, "response": what}
    await say(connection, said[0], said[1], said[2], "phx_reply", payload)


def test_what_a_reply_holds_is_handed_over_before_what_comes_after_it() -> None:
    heard: list[str] = []

    async def server(connection: ServerConnection, said: Said) -> None:
        await say(connection, None, None, "room:1", "new_msg", {"n": "early"})
        await reply(connection, said, n="reply")
        await say(connection, None, None, "room:1", "new_msg", {"n": "late"})

    def listen(event: str, payload: Payload) -> None:
        heard.append(payload["n"])

    async def work() -> None:
        async with connected(server) as socket:
            joined = await socket.join("room:1", {}, listen, lambda page: heard.append(page["n"]))
            assert joined == {"n": "reply"}
            while len(heard) < 3:
                await asyncio.sleep(0)

    asyncio.run(work())
    assert heard == ["early", "reply", "late"]


def test_frames_carry_the_join_and_old_ones_are_left_alone() -> None:
    frames: list[Said] = []
    heard: list[Payload] = []

    async def server(connection: ServerConnection, said: Said) -> None:
        frames.append(said)
        await say(connection, "of-before", None, "room:1", "phx_error", {"n": 1})
        await say(connection, None, None, "room:2", "new_msg", {"n": 2})
        await say(connection, said[0], None, "room:1", "phx_error", {"n": 3})
        await reply(connection, said)

    async def work() -> None:
        async with connected(server) as socket:
            await socket.join("room:1", {"user": "a"}, lambda event, payload: heard.append(payload))
            await socket.push("room:1", "new_msg", {"id": "1"})

    asyncio.run(work())
    assert frames == [
        ["1", "1", "room:1", "phx_join", {"user": "a"}],
        ["1", "2", "room:1", "new_msg", {"id": "1"}],
    ]
    assert heard == [{"n": 3}, {"n": 3}]


def test_a_refusal_has_its_reason() -> None:
    async def server(connection: ServerConnection, said: Said) -> None:
        await reply(connection, said, "error", reason="no such room")

    async def work() -> None:
        async with connected(server) as socket:
            with pytest.raises(Refusal, match="no such room"):
                await socket.join("room:1", {}, lambda event, payload: None)

    asyncio.run(work())


def test_who_waits_for_an_answer_is_told_when_there_will_be_none() -> None:
    async def server(connection: ServerConnection, said: Said) -> None:
        await connection.close(1013, "slow consumer")

    async def work() -> None:
        async with connected(server) as socket:
            with pytest.raises(Disconnected, match="1013 slow consumer"):
                await socket.heartbeat()
            assert socket.ended.is_set()
            assert socket.close_code == 1013
            with pytest.raises(Disconnected):
                await socket.heartbeat()

    asyncio.run(work())


def test_a_server_that_restarts_has_done_nothing_that_it_did_not_answer() -> None:
    async def server(connection: ServerConnection, said: Said) -> None:
        await connection.close(1012, "service restart")

    async def work() -> None:
        async with connected(server) as socket:
            for _ in range(2):
                with pytest.raises(Disconnected) as ended:
                    await socket.heartbeat()
                assert ended.value.restarting

    asyncio.run(work())


def test_a_reply_that_nobody_waits_for_is_handed_over_all_the_same() -> None:
    """What comes after it on the same connection relies on it."""
    heard: list[str] = []
    late = asyncio.Event()

    async def server(connection: ServerConnection, said: Said) -> None:
        if said[3] == "phx_join":
            await late.wait()
        await reply(connection, said, n=said[3])

    async def work() -> None:
        async with connected(server) as socket:
            join = socket.join("room:1", {}, ignore, lambda page: heard.append(page["n"]))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(join, 0.01)
            late.set()
            await socket.heartbeat()

    asyncio.run(work())
    assert heard == ["phx_join"]


def ignore(event: str, payload: Payload) -> None:
    pass


def test_a_server_that_does_not_answer_heartbeats_is_given_up() -> None:
    async def server(connection: ServerConnection, said: Said) -> None:
        pass

    async def work() -> None:
        async with connected(server, heartbeat_s=0.01) as socket:
            await socket.ended.wait()

    asyncio.run(work())


def test_nobody_listens() -> None:
    async def work() -> None:
        with pytest.raises(Disconnected, match="no connection"):
            await Socket.open(HOST, 1, timeout_s=1)

    asyncio.run(work())
