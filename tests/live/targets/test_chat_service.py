"""One real node of chat and real sockets: the handshake, limits, readers that do not read, ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest

from targets.chat.app.settings import HTTP_PORT, Settings

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[3]
ROOM = "room:live"
WAIT_S = 10.0


@contextlib.asynccontextmanager
async def node(home: Path, **options: Any) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """A node that is ready, on an address of its own."""
    # Nobody else of this machine's tests picks the same one of some million.
    draw = Random(os.getpid() ^ id(home))
    address = f"127.{draw.randint(201, 250)}.{draw.randint(0, 255)}.{draw.randint(1, 254)}"
    settings = Settings(name=address, address=address, members=(address,), **options)
    (home / "settings.json").write_text(settings.to_json())
    paths = [str(ROOT / "targets" / "chat"), str(ROOT / "targets" / "lib")]
    with (home / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-P", "-m", "app", "settings.json"],
            cwd=home,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdout=log,
        )
    url = f"http://{address}:{HTTP_PORT}"
    try:
        async with asyncio.timeout(WAIT_S), aiohttp.ClientSession() as session:
            while True:
                assert process.returncode is None, (home / "log").read_text()
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    async with session.get(f"{url}/ready") as answer:
                        if answer.status == 200:
                            break
                await asyncio.sleep(0.02)
        yield url, process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def connect(session: aiohttp.ClientSession, url: str, version: str = "2.0.0") -> Any:
    return session.ws_connect(f"{url}/socket/websocket?vsn={version}", max_msg_size=0)


async def reply_to(socket: aiohttp.ClientWebSocketResponse, *message: Any) -> Any:
    """The reply's payload; what else comes before it is passed over."""
    await socket.send_str(json.dumps(message))
    async with asyncio.timeout(WAIT_S):
        while True:
            _, ref, _, event, payload = json.loads((await socket.receive()).data)
            if event == "phx_reply" and ref == message[1]:
                return payload


async def join(socket: aiohttp.ClientWebSocketResponse, user: str) -> Any:
    return await reply_to(socket, "1", "1", ROOM, "phx_join", {"user": user})


async def metric(session: aiohttp.ClientSession, url: str, name: str) -> float:
    async with session.get(f"{url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


async def closed(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    """How the other side closed it."""
    async with asyncio.timeout(WAIT_S):
        async for _ in socket:
            pass
    return socket.close_code


def test_what_is_not_the_protocol_is_refused_or_closed(tmp_path):
    async def whole():
        async with node(tmp_path) as (url, _), aiohttp.ClientSession() as session:
            for version in ("1.0.0", "", "3"):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await connect(session, url, version)
                assert refused.value.status == 403
            for send, code in (
                (lambda socket: socket.send_bytes(b"\x00"), 1003),
                (lambda socket: socket.send_str("{"), 1007),
                (lambda socket: socket.send_str("x" * 70_000), 1009),
            ):
                async with connect(session, url) as socket:
                    await join(socket, "ada")
                    await send(socket)
                    assert await closed(socket) == code
            async with session.get(f"{url}/export/room:x?format=pdf") as answer:
                assert answer.status == 400

    asyncio.run(whole())


def test_what_was_said_survives_a_kill_and_is_exported(tmp_path):
    async def whole():
        said = {"id": "m1", "body": "hello"}
        async with (
            node(tmp_path) as (url, process),
            aiohttp.ClientSession() as session,
            connect(session, url) as socket,
        ):
            await join(socket, "ada")
            first = await reply_to(socket, "1", "2", ROOM, "new_msg", said)
            process.kill()
        async with node(tmp_path) as (url, _), aiohttp.ClientSession() as session:
            async with connect(session, url) as socket:
                joined = await join(socket, "ada")
                assert joined["response"]["messages"] == [
                    {**first["response"], "user": "ada", "body": "hello"}
                ]
                assert await reply_to(socket, "1", "2", ROOM, "new_msg", said) == first
            async with session.get(f"{url}/export/{ROOM}?format=md") as answer:
                assert await answer.text() == f"# {ROOM}\n\n- **ada**: hello\n"

    asyncio.run(whole())


def test_a_reader_that_does_not_read_is_closed_and_its_queue_stays_bounded(tmp_path):
    bound = 256 * 1024

    async def whole():
        async with (
            node(tmp_path, queue_bytes=bound) as (url, _),
            aiohttp.ClientSession() as session,
            connect(session, url) as slow,
            connect(session, url) as writer,
        ):
            await join(slow, "slow")
            # Not read any more: the client's buffers fill, then the kernel's, then the node's.
            slow._response.connection.transport.pause_reading()
            await join(writer, "writer")
            most, n = 0.0, 0
            while not await metric(session, url, "chat_slow_consumers_total"):
                for _ in range(50):
                    n += 1
                    said = {"id": f"m{n}", "body": "x" * 8000}
                    answer = await reply_to(writer, "1", f"w{n}", ROOM, "new_msg", said)
                    assert answer["status"] == "ok"
                most = max(most, await metric(session, url, "chat_outgoing_bytes"))
                assert n < 5000
            assert 0 < most <= bound + 16 * 1024
            slow._response.connection.transport.resume_reading()
            async with asyncio.timeout(WAIT_S):
                while await metric(session, url, "chat_sockets") > 1:
                    await asyncio.sleep(0.02)
            assert (await reply_to(writer, "1", "h", ROOM, "typing", {"typing": True}))[
                "status"
            ] == "ok"

    asyncio.run(whole())


def test_silent_sockets_are_closed_after_the_heartbeats_time(tmp_path):
    async def whole():
        async with (
            node(tmp_path, heartbeat_s=0.5) as (url, _),
            aiohttp.ClientSession() as session,
            connect(session, url) as socket,
        ):
            await join(socket, "ada")
            assert await closed(socket) == 1001

    asyncio.run(whole())


def test_at_sigterm_sockets_are_told_to_come_back_and_nothing_is_left(tmp_path):
    async def whole():
        async with (
            node(tmp_path, token_s=0.2) as (url, process),
            aiohttp.ClientSession() as session,
            connect(session, url) as socket,
        ):
            await join(socket, "ada")
            await reply_to(socket, "1", "2", ROOM, "ask", {"id": "q", "prompt": "a node"})
            process.send_signal(signal.SIGTERM)
            events = []
            async with asyncio.timeout(WAIT_S):
                async for message in socket:
                    events.append(json.loads(message.data)[3:])
            reason = {"reason": "draining", "reconnect": True}
            assert ["phx_error", reason] in events and socket.close_code == 1012
            assert await asyncio.wait_for(process.wait(), WAIT_S) == 0

    asyncio.run(whole())
    assert '"event":"drained"' in (tmp_path / "log").read_text()
