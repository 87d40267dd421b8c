"""The process of a node of any role: how it begins, is asked to end, and drains."""

from __future__ import annotations

import asyncio
import os
import signal
from abc import ABC, abstractmethod

from . import metrics
from .background import Background
from .http import Server
from .logs import Log
from .settings import Settings


class Node(ABC):
    """One node. A second SIGTERM ends it at once."""

    def __init__(self, settings: Settings, server: Server, log: Log) -> None:
        self._settings = settings
        self._server = server
        self._log = log
        self._ending = asyncio.Event()
        self._background = Background(log)
        metrics.runs_here(settings.deployment, settings.role)

    async def serve(self) -> int:
        """Until SIGTERM or SIGINT. Returns the exit code: 1 if a part of it failed."""
        self._log.take_over_logging()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_end)
        try:
            await self._begin()
            ends = [
                asyncio.create_task(self._ending.wait()),
                asyncio.create_task(self._background.failed.wait()),
            ]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
            self._server.drain_begins()
            counts = await self._drain()
            self._log.info("drained", **counts)
        finally:
            await self._background.end()
            await self._server.close()
            await self._close()
        return int(self._background.failed.is_set())

    @abstractmethod
    async def _begin(self) -> None:
        """Start serving, and the tasks in the background."""

    @abstractmethod
    async def _drain(self) -> dict[str, int]:
        """Finish what was begun, within the bound. What `drained` says of it."""

    @abstractmethod
    async def _close(self) -> None:
        """Give back what is left."""

    def _asked_to_end(self) -> None:
        if self._ending.is_set() or self._settings.mutant == "drain-drops-work":
            os._exit(0)  # Mutant: in the middle of everything. Else: somebody insists.
        self._ending.set()
