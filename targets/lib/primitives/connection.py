"""One TCP connection that carries frames both ways, with a bounded queue of what goes out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from .frames import MAX_FRAME, Decoder, FrameError, encode

HIGH_WATER = 64 * 1024
"""Bytes in the transport's own buffer from which on frames wait in the queue."""

LINGER_S = 1.0
"""How long a connection that is closed may take to send what waits."""

_BATCH = 64 * 1024


class FramedConnection(asyncio.Protocol):
    """Calls `on_frame` with every payload and `on_lost` once, with the reason, at the end.

    Frames that are sent while the loop goes round once leave together. `queue` bounds how many may
    wait; what is `urgent` (a heartbeat) goes before them and has room of its own.
    """

    def __init__(
        self,
        on_frame: Callable[[bytes], None],
        on_lost: Callable[[str], None],
        *,
        queue: int = 1000,
        max_frame: int = MAX_FRAME,
    ) -> None:
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._limit = queue
        self._decoder = Decoder(max_frame)
        self._waiting: deque[bytes] = deque()
        self._urgent: deque[bytes] = deque()
        self._paused = False
        self._flushing: asyncio.Handle | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._reason = ""
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.heard_at = asyncio.get_running_loop().time()
        """Loop time at which bytes last arrived."""
        self.frame_error: FrameError | None = None
        """If it ended because of what arrived."""

    @property
    def open(self) -> bool:
        """Whether it can be sent on."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def waiting(self) -> int:
        """Frames in the queue."""
        return len(self._waiting)

    def send(self, payload: bytes, *, urgent: bool = False) -> bool:
        """Put a frame into the queue. False if the connection is closed or the queue is full."""
        queue = self._urgent if urgent else self._waiting
        if not self.open or len(queue) >= self._limit:
            return False
        queue.append(encode(payload))
        if self._flushing is None and not self._paused:
            self._flushing = asyncio.get_running_loop().call_soon(self._flush)
        return True

    def pause(self) -> None:
        """Take no more frames: TCP tells the other side to wait."""
        if self.open:
            cast(asyncio.Transport, self._transport).pause_reading()

    def resume(self) -> None:
        if self.open:
            cast(asyncio.Transport, self._transport).resume_reading()

    def close(self, reason: str) -> None:
        """Send what waits, then end the connection; after `LINGER_S` in any case."""
        if self.open:
            self._reason = self._reason or reason
            self._flush(everything=True)
            cast(asyncio.Transport, self._transport).close()
            loop = asyncio.get_running_loop()
            self._lingering = loop.call_later(LINGER_S, self.abort, "not read to its end")

    def abort(self, reason: str) -> None:
        """End the connection at once. What waits is lost."""
        if self._transport is not None and not self.lost.done():
            self._reason = self._reason or reason
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        try:
            frames = self._decoder.feed(data)
        except FrameError as error:
            frames, self.frame_error = error.frames, error
        for frame in frames:
            if not self.open:
                return
            self._on_frame(frame)
        if self.frame_error is not None:
            # What came before it is answered still.
            self.close(str(self.frame_error))

    def eof_received(self) -> bool:
        self._reason = self._reason or "closed by peer"
        return False

    def connection_lost(self, error: Exception | None) -> None:
        for handle in (self._flushing, self._lingering):
            if handle is not None:
                handle.cancel()
        self._waiting.clear()
        self._urgent.clear()
        reason = self._reason or (type(error).__name__ if error else "closed")
        if not self.lost.done():
            self.lost.set_result(reason)
        self._on_lost(reason)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def _flush(self, everything: bool = False) -> None:
        self._flushing = None
        transport = self._transport
        while transport is not None and (self._urgent or self._waiting):
            if self._paused and not everything:
                return
            batch: list[bytes] = []
            size = 0
            while size < _BATCH and (self._urgent or self._waiting):
                batch.append((self._urgent or self._waiting).popleft())
                size += len(batch[-1])
            transport.write(b"".join(batch))
