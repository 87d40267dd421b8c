"""Tasks that go on behind the scenes, until whoever began them is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from .telemetry import emit


class Tasks:
    """Keeps them from being forgotten: by the garbage collector, when they fail, and at the end."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin. If it fails, that is logged: nobody waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Cancel all, and wait until they have ended."""
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            coroutine = task.get_coro()
            emit("task-failed", task=getattr(coroutine, "__qualname__", "?"), error=repr(error))
