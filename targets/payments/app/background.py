"""Work that goes on after an answer was given."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from .guard import UnavailableError

MOST = 1000


class Background:
    """A bounded set of tasks whose failures are somebody else's to repair: a lease runs out, a
    relay delivers again. More than `MOST` at a time are not begun."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, work: Coroutine[Any, Any, object]) -> None:
        if len(self._tasks) >= MOST:
            work.close()
            return
        task = asyncio.create_task(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, within_s: float) -> None:
        """Wait for all of it; what is not done in time is cancelled."""
        tasks = set(self._tasks)
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=within_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def _quietly(work: Coroutine[Any, Any, object]) -> None:
    try:
        await work
    except UnavailableError:
        return
