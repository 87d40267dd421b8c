"""Waiting for jobs to finish: one listening connection for all who wait at this node."""

from __future__ import annotations

import asyncio
import contextlib

from .database import UnavailableError
from .jobs import FINISHED, Jobs
from .listener import Listener
from .logs import Log

MOST = 1000
"""So many may wait at a node; those who come later are told at once how it stands."""

LOOK_S = 0.5
"""Notifications get lost with the connection; so often the waiting are looked after without."""


class Waiting:
    """`run` must run for anybody to be woken up."""

    def __init__(self, jobs: Jobs, listener: Listener, log: Log) -> None:
        self._jobs = jobs
        self._listener = listener
        self._log = log
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._number = 0
        self._hurry = False

    async def until_finished(self, key: str, within_s: float) -> None:
        """Until the job of that key has perhaps finished, or the time is over."""
        if self._hurry or self._number >= MOST:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        self._number += 1
        try:
            # It may have finished since it was looked at, and before anybody waited here.
            if not await self._jobs.finished([key]):
                await asyncio.wait([future], timeout=within_s)
        finally:
            self._number -= 1
            left = self._waiting.get(key)
            if left is not None:
                left.remove(future)
                if not left:
                    del self._waiting[key]

    def hurry(self) -> None:
        """This node is about to end: everybody is told how it stands now."""
        self._hurry = True
        for key in list(self._waiting):
            self._wake(key)

    async def run(self) -> None:
        """Until it is cancelled."""
        looking = asyncio.create_task(self._look())
        try:
            async with contextlib.aclosing(self._listener.notifications([FINISHED])) as told:
                async for _, key in told:
                    self._wake(key)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if not self._waiting:
                continue
            try:
                for key in await self._jobs.finished(list(self._waiting)):
                    self._wake(key)
            except UnavailableError as error:
                self._log.warning("waiting-unavailable", error=str(error))

    def _wake(self, key: str) -> None:
        for future in self._waiting.get(key, ()):
            if not future.done():
                future.set_result(None)
