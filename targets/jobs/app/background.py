"""Tasks that run for as long as their node does."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from .logs import Log


class Background:
    """A task that ends by itself, or fails, is a bug; it is told, and ends the node: one that
    serves with a part of it missing would be harder to find than one that is not there."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()
        self.failed = asyncio.Event()

    def begin(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._watched(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def end(self) -> None:
        """Cancel all of it, and wait."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watched(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self._log.warning("task-failed", task=name, error=repr(error))
            self.failed.set()
