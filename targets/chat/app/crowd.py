"""All sockets of this node: who is silent, who does not read, and the end of all of them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from primitives.telemetry import emit

from .metrics import ChatMetrics
from .settings import Settings
from .sockets import GOING_AWAY, SLOW, Socket

LOOK_S: Final = 0.25
"""One look costs about a microsecond per socket; a timer for each would cost memory instead."""

LATE: Final = 4

DRAIN_S: Final = 2.0


class Crowd:
    def __init__(self, settings: Settings, metrics: ChatMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._sockets: set[Socket] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._sockets)

    @property
    def outgoing_bytes(self) -> int:
        return sum(socket.queued for socket in self._sockets)

    def enter(self, socket: Socket) -> None:
        self._sockets.add(socket)

    def leave(self, socket: Socket) -> None:
        self._sockets.discard(socket)

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def close(self, code: int, reason: str) -> None:
        """Close all sockets and wait for their ends, but not for long."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for socket in tuple(self._sockets):
            self._close(socket, code, reason)
        if self._closing:
            _, late = await asyncio.wait(self._closing, timeout=DRAIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def slow(self, socket: Socket) -> None:
        """End a socket whose reader does not keep up."""
        if socket.closing:
            return
        self._metrics.slow.inc()
        users = sorted({channel.user for channel in socket.channels.values()})
        emit("slow-consumer", users=users[:5], queued=socket.queued, dropped=socket.dropped)
        self._close(socket, SLOW, "slow consumer")

    def _close(self, socket: Socket, code: int, reason: str) -> None:
        if socket.closing:
            return
        socket.closing = True
        task = asyncio.create_task(socket.close(code, reason))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _watch(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            slept_at = clock()
            await asyncio.sleep(LOOK_S)
            # A process that was stopped for long has heard nobody, and finds out first what is
            # waiting for it.
            if clock() - slept_at < LATE * LOOK_S:
                self._look(clock())

    def _look(self, now: float) -> None:
        settings = self._settings
        for socket in tuple(self._sockets):
            if socket.stuck(now, settings.write_timeout_s):
                self.slow(socket)
            elif now - socket.heard_at > settings.heartbeat_s and not socket.closing:
                self._metrics.silent.inc()
                self._close(socket, GOING_AWAY, "heartbeat timeout")
        self._shed()

    def _shed(self) -> None:
        """Keep all queues together below their bound: whoever waits for most goes first."""
        bound = self._settings.all_queues_bytes
        # What waits for those who are being closed is as good as gone.
        waiting = [(socket.queued, socket) for socket in self._sockets if not socket.closing]
        total = sum(queued for queued, _ in waiting)
        if total <= bound or self._settings.mutant == "unbounded-queue":
            return
        for queued, socket in sorted(waiting, key=lambda one: one[0], reverse=True):
            if total <= bound:
                return
            total -= queued
            self.slow(socket)
