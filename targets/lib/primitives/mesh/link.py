"""The side that dials: one peer, connected to again and again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from ..connection import FramedConnection
from ..names import address_of
from ..tasks import Tasks
from ..telemetry import Meter, emit
from .contract import Refusal, Timing, Unreachable
from .wire import PING, Is, dump, load


class Link:
    """What goes to one peer. `hello` makes the greeting of the n-th attempt to connect; `on_change`
    hears when the link comes up and goes down."""

    def __init__(
        self,
        peer: str,
        host: str,
        port: int,
        *,
        hello: Callable[[int], bytes],
        on_change: Callable[[bool], None],
        meter: Meter,
        random: random.Random,
        timing: Timing,
        queue: int,
        max_frame: int,
    ) -> None:
        self._peer = peer
        self._host = host
        self._port = port
        self._hello = hello
        self._on_change = on_change
        self._meter = meter
        self._random = random
        self._timing = timing
        self._queue = queue
        self._max_frame = max_frame
        self._dials = 0
        self._session: _Session | None = None  # only while the link is up
        self._tasks = Tasks()

    @property
    def waiting(self) -> int:
        """Frames in the queue."""
        return 0 if self._session is None else self._session.connection.waiting

    def start(self) -> None:
        self._tasks.run(self._keep())

    async def close(self) -> None:
        """Send what is queued, as far as it goes in `close_s`."""
        if self._session is not None:
            connection = self._session.connection
            connection.close("closed")
            await asyncio.wait([connection.lost], timeout=self._timing.close_s)
        await self._tasks.close()

    def moved(self, host: str, port: int) -> None:
        """Dial there from now on."""
        if (host, port) != (self._host, self._port):
            self._host, self._port = host, port
            if self._session is not None:
                self._session.connection.abort("moved")

    def send(self, payload: bytes) -> Refusal | None:
        """Why it was not sent, or None. Raises `ValueError` if it is too long for a frame."""
        if len(payload) > self._max_frame:
            raise ValueError(
                f"a message of {len(payload)} bytes to {self._peer} is longer than a frame may be "
                f"({self._max_frame}): send it in pieces"
            )
        if self._session is None or not self._session.connection.open:
            return "not connected"
        return None if self._session.connection.send(payload) else "queue full"

    async def request(self, kind: str, body: Any, timeout_s: float) -> Any:
        """What the peer answers. Raises `Unreachable`."""
        session = self._session
        if session is None:
            raise Unreachable(self._peer, "not connected")
        number, answer = session.expect()
        try:
            refused = self.send(dump(Is.REQUEST, number, kind, body))
            if refused is not None:
                raise Unreachable(self._peer, refused)
            async with asyncio.timeout(timeout_s):
                failed, result = await answer
        except TimeoutError:
            raise Unreachable(self._peer, "timeout", f"none in {timeout_s:g} s") from None
        except ConnectionError as error:
            raise Unreachable(self._peer, "link lost", f"link lost ({error})") from None
        finally:
            session.forget(number)
        if failed is not None:
            raise Unreachable(self._peer, "failed", str(failed))
        return result

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        timing = self._timing
        in_vain = 0
        while True:
            begun = loop.time()
            try:
                await self._dial_and_serve()
            except (OSError, TimeoutError) as error:
                self._meter.count("dial", "failed")
                if in_vain == 0:
                    emit("dial-failed", peer=self._peer, error=str(error) or "nobody answers")
            # A link that lasted was in order; one that breaks at once is not worth more haste.
            in_vain = 0 if loop.time() - begun > 2 * timing.dead_s else min(in_vain + 1, 20)
            most_s = min(timing.backoff_most_s, timing.backoff_s * 2**in_vain)
            await asyncio.sleep(self._random.uniform(0, most_s))

    async def _dial_and_serve(self) -> None:
        """Returns when the link, once up, is lost. Raises `OSError` or `TimeoutError` if it did not
        come up."""
        loop = asyncio.get_running_loop()
        self._dials += 1
        session = _Session(self._peer, self._meter, self._queue, self._max_frame)
        connection = session.connection
        try:
            async with asyncio.timeout(self._timing.dial_s):
                await loop.create_connection(lambda: connection, address_of(self._host), self._port)
                connection.send(self._hello(self._dials), urgent=True)
                await session.welcome
            self._session = session
            self._meter.count("dial", "ok")
            self._on_change(True)
            reason = await self._heartbeat(connection)
            emit("link-lost", peer=self._peer, reason=reason)
        finally:
            session.end("closed")
            if self._session is session:
                self._session = None
                self._meter.count("link", "lost")
                self._on_change(False)

    async def _heartbeat(self, connection: FramedConnection) -> str:
        """Why the connection ended."""
        loop = asyncio.get_running_loop()
        ping_s, dead_s = self._timing.ping_s, self._timing.dead_s
        resumed_at = loop.time()
        while True:
            due = loop.time() + ping_s
            connection.send(PING, urgent=True)
            done, _ = await asyncio.wait([connection.lost], timeout=ping_s)
            now = loop.time()
            if done:
                return connection.lost.result()
            if now > due + ping_s:
                # This node stood still: it was paused, or had no processor. That it heard nothing
                # meanwhile is no fault of the peer.
                resumed_at = now
            elif now - max(connection.heard_at, resumed_at) > dead_s:
                return "silent"


class _Session:
    """One connection, from the greeting to its loss, and the answers that are awaited on it."""

    def __init__(self, peer: str, meter: Meter, queue: int, max_frame: int) -> None:
        self._peer = peer
        self._meter = meter
        self._asked = 0
        self._answers: dict[int, asyncio.Future[tuple[Any, Any]]] = {}
        self.welcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.connection = FramedConnection(
            self._arrived, self.end, queue=queue, max_frame=max_frame
        )

    def expect(self) -> tuple[int, asyncio.Future[tuple[Any, Any]]]:
        """The number of a new request, and what will have its answer, or a `ConnectionError`."""
        self._asked += 1
        answer = self._answers[self._asked] = asyncio.get_running_loop().create_future()
        return self._asked, answer

    def forget(self, number: int) -> None:
        """An answer to this comes too late from now on."""
        self._answers.pop(number).cancel()

    def end(self, reason: str) -> None:
        """Nothing more is answered."""
        self.connection.abort(reason)
        everything: list[asyncio.Future[Any]] = [self.welcome, *self._answers.values()]
        for awaited in everything:
            if not awaited.done():
                awaited.set_exception(ConnectionError(reason))
                awaited.exception()  # nobody may be waiting any more, and that is in order

    def _arrived(self, frame: bytes) -> None:
        match load(frame):
            case [Is.PONG]:
                pass
            case [Is.WELCOME]:
                if not self.welcome.done():
                    self.welcome.set_result(None)
            case [Is.ANSWER, int(number), failed, result]:
                answer = self._answers.get(number)
                if answer is not None and not answer.done():
                    answer.set_result((failed, result))
            case other:
                self._meter.count("frame", "not understood")
                emit("frame-not-understood", peer=self._peer, frame=str(other)[:100])
                self.connection.abort("frame not understood")
