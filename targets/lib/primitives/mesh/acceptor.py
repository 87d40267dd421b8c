"""The side that listens: greets who dials, has what they send handled, and answers."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import Any

from ..connection import FramedConnection
from ..tasks import Tasks
from ..telemetry import Meter, emit
from .contract import Handler, Timing
from .inbox import Inbox
from .wire import PONG, Is, dump, load


class Acceptor:
    """All connections that others have made to this node, and the handlers of what they send."""

    def __init__(
        self, name: str, *, meter: Meter, timing: Timing, queue: int, max_frame: int
    ) -> None:
        self.meter = meter
        self.timing = timing
        self.queue = queue
        self.max_frame = max_frame
        self._name = name
        self._handlers: dict[str, Handler] = {}
        self._latest: dict[str, _Accepted] = {}
        self._inboxes: dict[str, Inbox] = {}
        self._open: set[_Accepted] = set()
        self._tasks = Tasks()
        self._server: asyncio.Server | None = None

    def handle(self, kind: str, handler: Handler) -> None:
        """Raises `ValueError` if there is one for this kind."""
        if kind in self._handlers:
            raise ValueError(f"{kind} has a handler already: two parts use the same kind")
        self._handlers[kind] = handler

    async def listen(self, address: str, port: int) -> int:
        """The port. Raises `OSError` if it is taken."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Accepted(self).connection, address, port
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """End all connections, and whatever handlers still do."""
        if self._server is None:
            return
        self._server.close()
        for accepted in tuple(self._open):
            accepted.connection.abort("closed")
        for inbox in self._inboxes.values():
            inbox.clear()
        await self._tasks.close()
        await self._server.wait_closed()

    def opened(self, accepted: _Accepted) -> None:
        self._open.add(accepted)

    def ended(self, accepted: _Accepted) -> None:
        self._open.discard(accepted)

    def greeted(self, accepted: _Accepted, to: str) -> bool:
        """Whether this connection is taken, in place of any that there was from that node. One that
        was dialled before the one that there is comes too late."""
        before = self._latest.get(accepted.peer)
        late = (
            before is not None
            and before.incarnation == accepted.incarnation
            and before.dial > accepted.dial
        )
        if to != self._name or late:
            self.meter.count("accept", "refused")
            emit("not-welcome", peer=accepted.peer, meant=to, late=late)
            return False
        if before is not None:
            before.connection.abort("replaced")
        self._latest[accepted.peer] = accepted
        self._inboxes.setdefault(accepted.peer, Inbox(self.queue))
        self.meter.count("accept", "ok")
        return True

    def message(self, accepted: _Accepted, kind: str, body: Any) -> None:
        """Have it handled after those that came before it."""
        inbox = self._inboxes[accepted.peer]
        if inbox.put(kind, body, accepted.connection):
            self._tasks.run(self._handle_all(accepted.peer, inbox))

    def request(self, accepted: _Accepted, number: int, kind: str, body: Any) -> None:
        """Have it handled now, beside others."""
        if accepted.asking >= self.queue:
            accepted.answer(number, f"{self.queue} requests are being handled already", None)
            return
        accepted.asking += 1
        self._tasks.run(self._answer(accepted, number, kind, body))

    async def _handle_all(self, peer: str, inbox: Inbox) -> None:
        while (item := inbox.next()) is not None:
            with contextlib.suppress(_HandlerError):
                await self._handle(peer, *item)

    async def _answer(self, accepted: _Accepted, number: int, kind: str, body: Any) -> None:
        try:
            answer = await self._handle(accepted.peer, kind, body)
        except _HandlerError as error:
            accepted.answer(number, str(error), None)
        else:
            accepted.answer(number, None, answer)
        finally:
            accepted.asking -= 1

    async def _handle(self, peer: str, kind: str, body: Any) -> Any:
        handler = self._handlers.get(kind)
        if handler is None:
            self.meter.count("receive", "unknown kind")
            raise _HandlerError(f"nobody handles {kind}")
        try:
            result = handler(peer, body)
            if inspect.isawaitable(result):
                result = await result
        except Exception as error:
            # A bug in one handler must not take the link down, with everything else on it.
            self.meter.count("receive", "failed")
            emit("handler-failed", kind=kind, peer=peer, error=repr(error))
            raise _HandlerError(f"{kind}: {error!r}") from error
        self.meter.count("receive", "ok")
        return result


class _HandlerError(Exception):
    """There is no result; the text says why."""


class _Accepted:
    """A connection that some node has made."""

    def __init__(self, acceptor: Acceptor) -> None:
        self.peer = ""  # until it has greeted
        self.incarnation = 0
        self.dial = 0
        self.asking = 0
        self._acceptor = acceptor
        self.connection = FramedConnection(
            self._arrived, self._lost, queue=acceptor.queue, max_frame=acceptor.max_frame
        )
        # Who does not greet is none of us, and who does not even ping is gone.
        self._check = asyncio.get_running_loop().call_later(
            acceptor.timing.dead_s, self._still_there
        )
        acceptor.opened(self)

    def answer(self, number: int, failed: str | None, result: Any) -> None:
        """Answer a request, if whoever asked is still there."""
        try:
            payload = dump(Is.ANSWER, number, failed, result)
        except TypeError as error:
            payload = dump(Is.ANSWER, number, f"the answer is not JSON: {error}", None)
        if len(payload) > self._acceptor.max_frame:
            payload = dump(Is.ANSWER, number, "the answer is too long for a frame", None)
        if not self.connection.send(payload):
            self.connection.abort("answers are not read")

    def _arrived(self, frame: bytes) -> None:
        match load(frame):
            case [Is.PING]:
                self.connection.send(PONG, urgent=True)
            case [Is.HELLO, str(peer), str(to), int(incarnation), int(dial)] if not self.peer:
                self.peer, self.incarnation, self.dial = peer, incarnation, dial
                if self._acceptor.greeted(self, to):
                    self.connection.send(dump(Is.WELCOME), urgent=True)
                else:
                    self.connection.abort("not welcome")
            case [Is.MESSAGE, str(kind), body] if self.peer:
                self._acceptor.message(self, kind, body)
            case [Is.REQUEST, int(number), str(kind), body] if self.peer:
                self._acceptor.request(self, number, kind, body)
            case other:
                self._acceptor.meter.count("frame", "not understood")
                emit("frame-not-understood", peer=self.peer, frame=str(other)[:100])
                self.connection.abort("frame not understood")

    def _still_there(self) -> None:
        loop = asyncio.get_running_loop()
        left_s = self.connection.heard_at + 2 * self._acceptor.timing.dead_s - loop.time()
        if left_s <= 0 or not self.peer:
            self.connection.abort("silent")
        else:
            self._check = loop.call_later(left_s, self._still_there)

    def _lost(self, _reason: str) -> None:
        self._check.cancel()
        error = self.connection.frame_error
        if error is not None:
            self._acceptor.meter.count("frame", error.kind)
            emit("frame-error", peer=self.peer, kind=error.kind, error=str(error))
        self._acceptor.ended(self)
