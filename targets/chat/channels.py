"""A client of the Phoenix Channels v2 protocol on one WebSocket.

A frame is `[join_ref, ref, topic, event, payload]`. What is pushed is answered by a `phx_reply` of
the same `ref`; what comes without one was broadcast. Everything is handled in the order in which
the server sent it: what a reply holds is handed over before what came after it.
Nothing is tried twice here: whoever repeats a push must know that it does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

PORT = 4000
PATH = "/socket/websocket?vsn=2.0.0"

MAX_FRAME_BYTES = 8 * 1024 * 1024
"""A page of history: 500 messages of 8 KiB each, and what JSON adds."""

SERVICE_RESTART = 1012
"""The code (RFC 6455, registry of close codes) with which a server ends that will be back."""

CLOSE_TIMEOUT_S = 0.5
"""How long the closing handshake may take: a node that is cut off never answers."""

Payload: TypeAlias = Mapping[str, Any]
Handler: TypeAlias = Callable[[str, Payload], None]
"""Is given the name and the payload of each event of a channel. It must not block."""


class ChannelsError(Exception):
    """A push that was not answered with ok."""


class Disconnected(ChannelsError):  # noqa: N818  a state, as the protocol calls it
    """The connection ended before the answer: nobody knows whether the server has acted. Unless
    `restarting`: then it has not, for it answers what it took before it closes to restart."""

    def __init__(self, why: str, *, restarting: bool = False) -> None:
        self.restarting = restarting
        super().__init__(why)


class Refusal(ChannelsError):  # noqa: N818  an answer, not a failure
    """The server answered with an error; `reason` is what it gave."""

    def __init__(self, response: Payload) -> None:
        self.reason = str(response.get("reason", response))
        super().__init__(self.reason)


@dataclass
class _Channel:
    join_ref: str
    handler: Handler


@dataclass
class _Waiting:
    answer: asyncio.Future[Payload]
    then: Callable[[Payload], None] | None


class Socket:
    """One connection, made with `open`. `ended` is set when it is over, whoever ended it; `why`
    then says what was given as the reason."""

    def __init__(self, connection: ClientConnection, heartbeat_s: float) -> None:
        self._connection = connection
        self._heartbeat_s = heartbeat_s
        self._channels: dict[str, _Channel] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._refs = 0
        self.ended = asyncio.Event()
        self.why = ""
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._beat())]

    @classmethod
    async def open(
        cls, host: str, port: int = PORT, *, timeout_s: float = 5.0, heartbeat_s: float = 15.0
    ) -> Self:
        """Connect within `timeout_s`. Raises `Disconnected` if that fails.

        A heartbeat is sent every `heartbeat_s`; one that is not answered until the next is due
        ends the connection.
        """
        try:
            connection = await connect(
                f"ws://{host}:{port}{PATH}",
                compression=None,
                proxy=None,
                ping_interval=None,  # the protocol has a heartbeat of its own
                open_timeout=timeout_s,
                close_timeout=CLOSE_TIMEOUT_S,
                max_size=MAX_FRAME_BYTES,
                user_agent_header=None,
            )
        except (OSError, WebSocketException, TimeoutError, EOFError) as error:
            raise Disconnected(f"no connection to {host}:{port}: {error!r}") from error
        return cls(connection, heartbeat_s)

    @property
    def close_code(self) -> int | None:
        """The code that the connection was closed with; None while it is open."""
        return self._connection.close_code

    async def join(
        self,
        topic: str,
        payload: Payload,
        handler: Handler,
        then: Callable[[Payload], None] | None = None,
    ) -> Payload:
        """Join `topic` and return the server's answer. From then on `handler` is given its events,
        `phx_error` and `phx_close` included. Raises `Refusal`, `Disconnected`."""
        ref = self._next_ref()
        self._channels[topic] = _Channel(ref, handler)
        return await self._ask(ref, ref, topic, "phx_join", payload, then)

    async def push(
        self,
        topic: str,
        event: str,
        payload: Payload,
        then: Callable[[Payload], None] | None = None,
    ) -> Payload:
        """Push to a joined topic and return the answer. `then` is given it first, before anything
        that arrived later is handled. Raises `Refusal`, `Disconnected`."""
        join_ref = self._channels[topic].join_ref
        return await self._ask(join_ref, self._next_ref(), topic, event, payload, then)

    async def leave(self, topic: str) -> None:
        """Leave a topic. Raises `Refusal`, `Disconnected`."""
        await self.push(topic, "phx_leave", {})
        self._channels.pop(topic, None)

    async def heartbeat(self) -> None:
        """Ask for a sign of life. Whatever the server sent before its answer has been handled when
        this returns. Raises `Disconnected`."""
        await self._ask(None, self._next_ref(), "phoenix", "heartbeat", {})

    async def close(self) -> None:
        """End the connection; returns when it is over. May be called again."""
        for task in self._tasks[1:]:
            task.cancel()
        with contextlib.suppress(Exception):
            await self._connection.close()
        self._tasks[0].cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def abort(self) -> None:
        """End the connection at once, without the closing handshake."""
        self._connection.transport.abort()

    def _next_ref(self) -> str:
        self._refs += 1
        return str(self._refs)

    async def _ask(
        self,
        join_ref: str | None,
        ref: str,
        topic: str,
        event: str,
        payload: Payload,
        then: Callable[[Payload], None] | None = None,
    ) -> Payload:
        if self.ended.is_set():
            raise self._disconnected()
        waiting = _Waiting(asyncio.get_running_loop().create_future(), then)
        self._waiting[ref] = waiting  # until the answer comes, even if nobody waits any more
        frame = orjson.dumps([join_ref, ref, topic, event, payload]).decode()
        try:
            await self._connection.send(frame)
        except ConnectionClosed as closed:
            await self.ended.wait()
            raise self._disconnected() from closed
        return await waiting.answer

    async def _read(self) -> None:
        try:
            async for frame in self._connection:
                self._handle(*orjson.loads(frame))
        except ConnectionClosed:
            pass
        finally:
            self._end()

    def _end(self) -> None:
        connection = self._connection
        self.why = f"closed with {connection.close_code} {connection.close_reason or ''}".strip()
        self.ended.set()
        for waiting in self._waiting.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(self._disconnected())
                waiting.answer.exception()  # seen, also where nobody waits for it any more

    def _disconnected(self) -> Disconnected:
        return Disconnected(self.why, restarting=self.close_code == SERVICE_RESTART)

    def _handle(
        self, join_ref: str | None, ref: str | None, topic: str, event: str, payload: Payload
    ) -> None:
        if event == "phx_reply" and ref is not None:
            self._replied(ref, payload)
            return
        channel = self._channels.get(topic)
        # What was meant for an earlier join of the topic is not for this one.
        if channel is not None and join_ref in (None, channel.join_ref):
            channel.handler(event, payload)

    def _replied(self, ref: str, payload: Payload) -> None:
        waiting = self._waiting.pop(ref, None)
        if waiting is None:
            return
        response, sound = payload["response"], payload["status"] == "ok"
        if sound and waiting.then is not None:
            # Also if nobody waits any more: what follows relies on it.
            waiting.then(response)
        if waiting.answer.done():
            return
        if sound:
            waiting.answer.set_result(response)
        else:
            waiting.answer.set_exception(Refusal(response))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    await self.heartbeat()
            except (TimeoutError, ChannelsError):
                self.abort()
                return
