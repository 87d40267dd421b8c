"""Analytics hears of charges when it can, and nobody ever waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

from . import metrics
from .guard import UnavailableError
from .logs import Clock
from .services import Service

QUEUE = 100
BATCH = 50
PATIENCE_S = 1.0


class Analytics:
    """A bounded queue in front of the dependency: what does not fit is dropped and counted."""

    def __init__(self, service: Service, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self._queue: deque[Mapping[str, Any]] = deque()
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()

    def offer(self, event: Mapping[str, Any]) -> bool:
        """Whether the event was taken."""
        if len(self._queue) >= QUEUE or self._service.guard.refuses:
            metrics.analytics_dropped()
            return False
        self._queue.append(event)
        self._filled.set()
        self._emptied.clear()
        return True

    async def run(self) -> None:
        """Send what is offered, until cancelled."""
        while True:
            await self._filled.wait()
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            try:
                await self._service.ask("/events", batch, deadline=self._clock() + PATIENCE_S)
            except UnavailableError:
                metrics.analytics_dropped(len(batch))
            if not self._queue:
                self._filled.clear()
                self._emptied.set()

    async def flush(self, within_s: float) -> bool:
        """Wait until the queue is empty; whether it became so in time."""
        try:
            async with asyncio.timeout(within_s):
                await self._emptied.wait()
        except TimeoutError:
            return False
        return True

    async def insist(self, event: Mapping[str, Any]) -> None:
        """Only the mutant `waits-for-analytics` does this: no queue, no time-out, no breaker."""
        await self._service.send("/events", [event])
