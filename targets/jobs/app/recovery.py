"""Jobs of workers that are gone are found, and given back to their queues.

A worker is gone when its heartbeat is older than `stalled_after_s`, by the clock of the database,
or when its registration is. It may only have been paused, or cut off; then it comes back, and the
fence (`execution`) keeps it from writing anything about jobs that are not its own any more. Every
worker looks for them: of two that find the same job, the fence lets one."""

from __future__ import annotations

import asyncio
import random

from procrastinate import exceptions
from procrastinate.manager import JobManager

from .database import UnavailableError
from .execution import Execution, FencedError, Run
from .logs import Log
from .settings import Settings

LOOKS = 3
"""How often one looks within `stalled_after_s`."""

FORGOTTEN_AFTER = 40
"""After so many times `stalled_after_s` a worker that gives no sign is struck off the list."""


class Recovery:
    """One worker's part in it. A job is run again at most `stalled_after_s` × (1 + 1/`LOOKS`) after
    the last heartbeat of its worker, if the database answers and there is a place."""

    def __init__(
        self,
        manager: JobManager,
        execution: Execution,
        settings: Settings,
        random: random.Random,
        log: Log,
    ) -> None:
        self._manager = manager
        self._execution = execution
        self._settings = settings
        self._random = random
        self._log = log

    async def run(self) -> None:
        """Until it is cancelled."""
        pause_s = self._settings.stalled_after_s / LOOKS
        while True:
            await asyncio.sleep(pause_s * self._random.uniform(0.7, 1.0))
            if self._settings.mutant == "no-stalled-recovery":  # Mutant.
                continue
            try:
                await self.look()
            except (UnavailableError, exceptions.ConnectorException) as error:
                self._log.warning("recovery-unavailable", error=str(error))

    async def look(self) -> None:
        """Once. Raises when the database is not there."""
        after_s = self._settings.stalled_after_s
        for job in await self._manager.get_stalled_jobs(seconds_since_heartbeat=after_s):
            try:
                await self._execution.take_over(Run.of(job))
            except FencedError:
                continue  # somebody was faster
        await self._manager.prune_stalled_workers(after_s * FORGOTTEN_AFTER)
