"""One client's connection: what is queued for it, and what becomes of readers that do not read.

A frame is given to the transport at once; the transport's own buffer is the queue. It is bounded:
what may be dropped is dropped when a quarter of it is full, and who lets all of it fill, or takes
nothing for `write_timeout_s`, is told off (1013) and may come back with its cursor. So no reader
costs more memory than the bound, and nobody waits for one that is slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from aiohttp import WebSocketError, web

from . import protocol
from .settings import Settings

if TYPE_CHECKING:
    from .channels import Channel

SLOW: Final = 1013
GOING_AWAY: Final = 1001
RESTARTING: Final = 1012
UNSUPPORTED: Final = 1003

DROPPABLE_SHARE: Final = 0.25
LAST_WORDS: Final = 4096
"""Bytes beyond the bound in which a slow reader is told why."""

CLOSE_S: Final = 1.0
KERNEL_BUFFER: Final = 64 * 1024
"""What the kernel may keep of it besides; left alone it keeps megabytes, outside of any bound."""


class Socket:
    """`tell_slow` is called if the reader is too slow. Whoever decides to `close` it sets `closing`
    first, and nothing more is queued from then on."""

    __slots__ = (
        "_left",
        "_limit",
        "_moved_at",
        "_tell_slow",
        "_transport",
        "_unbounded",
        "_websocket",
        "_written",
        "channels",
        "closing",
        "dropped",
        "heard_at",
    )

    def __init__(
        self,
        websocket: web.WebSocketResponse,
        transport: asyncio.Transport,
        settings: Settings,
        now: float,
        tell_slow: Callable[[Socket], None],
    ) -> None:
        self._websocket = websocket
        self._transport = transport
        self._limit = settings.queue_bytes
        self._unbounded = settings.mutant == "unbounded-queue"
        self._tell_slow = tell_slow
        self._written = 0
        self._left = 0
        self._moved_at = now
        self.heard_at = now
        self.closing = False
        self.dropped = 0
        self.channels: dict[str, Channel] = {}
        kernel: socket.socket | None = transport.get_extra_info("socket")
        if kernel is not None:
            kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)

    @property
    def queued(self) -> int:
        """Bytes."""
        return self._transport.get_write_buffer_size()

    def send(self, frames: bytes, *, droppable: bool = False) -> bool:
        """Queue whole frames; False if they were not, because they were dropped or it is closed."""
        if self.closing or self._transport.is_closing():
            return False
        queued = self.queued
        # Mutant `unbounded-queue`: whatever is said.
        if not self._unbounded:
            if droppable and queued + len(frames) > self._limit * DROPPABLE_SHARE:
                self.dropped += 1
                return False
            # A page of history alone may be larger than the bound, and is what was asked for.
            if queued and queued + len(frames) > self._limit:
                self._tell_slow(self)
                return False
        self._written += len(frames)
        self._transport.write(frames)
        return True

    def stuck(self, now: float, timeout_s: float) -> bool:
        """Whether it has taken nothing for so long, though something was there for it."""
        queued = self.queued
        left = self._written - queued
        if not queued or left != self._left:
            self._left, self._moved_at = left, now
        return not self._unbounded and now - self._moved_at > timeout_s

    async def close(self, code: int, reason: str) -> None:
        """Say so on every channel and on the socket, and end it, whether the other side answers or
        not."""
        room = self._limit + LAST_WORDS - self.queued
        payload = {"reason": reason, "reconnect": True}
        for channel in list(self.channels.values()):
            frame = protocol.event(channel.topic, protocol.ERROR, payload, channel.join_ref)
            room -= len(frame)
            if room < 0 or self._transport.is_closing():
                break
            self._transport.write(frame)
        try:
            async with asyncio.timeout(CLOSE_S):
                with contextlib.suppress(ConnectionError, RuntimeError, WebSocketError):
                    await self._websocket.close(code=code, message=reason.encode())
        except TimeoutError:
            pass
        finally:
            self._transport.abort()
