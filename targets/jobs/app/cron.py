"""Cron: each job runs once in each window, whoever leads.

Windows are numbered: window n of a job begins at n × period by the clock of the database, which is
the only clock that all workers have in common. The leader runs what is due in transactions that
contain the look at its lease, the step of the job's last window, and what the run does. So a window
is run by the commit, or it is not; a leader that dies before it leaves the window to the next one.

What passed without a leader is caught up, oldest first, if it began within the horizon. What is
older is given up, and told.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from .database import Database, UnavailableError
from .leader import Leader, Lease, LostLeaseError
from .logs import Clock, Log
from .settings import Settings

JOBS = ("digest", "rollup")
"""The cron jobs of this service."""

MOST_AT_ONCE = 50
"""Windows that are caught up before the lease is looked after again."""

LOOK_S = 0.25
"""The longest that a leader sleeps before it looks again whether it still leads."""

AGAIN_S = 0.05


@dataclass(frozen=True)
class Due:
    """The windows of a job from `first` to `last` are to be run; those from `skipped` to
    `first - 1` are given up (none if they are equal)."""

    skipped: int
    first: int
    last: int


def due(last_run: int, now: int, horizon: int) -> Due:
    """What is due in window `now`, when `last_run` was the last that was run or given up and
    windows up to `horizon` back are caught up."""
    first = max(last_run + 1, now - horizon)
    return Due(last_run + 1, min(first, now + 1), now)


class Cron:
    """One worker's part in cron: it runs what is due while it leads."""

    def __init__(
        self, database: Database, leader: Leader, settings: Settings, clock: Clock, log: Log
    ) -> None:
        self._database = database
        self._leader = leader
        self._worker = settings.name
        self._clock = clock
        self._log = log
        self._every_s = settings.cron_every_s
        self._horizon = max(0, int(settings.cron_horizon_s / settings.cron_every_s))
        if settings.mutant == "cron-never-caught-up":  # Mutant.
            self._horizon = 0
        # Mutants: nobody looks at the lease, nor at what others ran, only at his own memory.
        self._unlocked = settings.mutant == "cron-without-lock"
        self._unfenced = settings.mutant == "cron-without-fence" or self._unlocked
        self._own: dict[str, int] = {}

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            lease = self._lease()
            if lease is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._leader.elected.wait()
                if self._leader.lease is None:
                    await asyncio.sleep(AGAIN_S)
                continue
            pause_s = AGAIN_S
            try:
                pause_s = min(await self._fire(lease), LOOK_S)
            except LostLeaseError as error:
                self._log.info("cron-fenced", epoch=lease.epoch, error=str(error))
            except UnavailableError as error:
                self._log.warning("cron-unavailable", error=str(error))
            await asyncio.sleep(pause_s)

    def _lease(self) -> Lease | None:
        if self._unlocked:
            return Lease(0, self._clock())
        return self._leader.last if self._unfenced else self._leader.lease

    async def _fire(self, lease: Lease) -> float:
        """Run what is due. Returns the seconds until there is more."""
        row = await self._database.fetch_one(
            "SELECT extract(epoch FROM clock_timestamp())::float8, "
            "(SELECT json_object_agg(job, last_window) FROM cron_state)"
        )
        assert row is not None
        now_s, last = float(row[0]), row[1] or {}
        window = int(now_s // self._every_s)
        for job in JOBS:
            if job not in last:
                await self._introduce(job, window - 1)
            before = int(last.get(job, window - 1))
            await self._catch_up(job, before, window, lease)
        return (window + 1) * self._every_s - now_s

    async def _introduce(self, job: str, last: int) -> None:
        """A job that never ran begins with the window after `last`."""
        async with self._database.connection() as connection:
            await connection.execute(
                "INSERT INTO cron_state (job, last_window) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [job, last],
            )

    async def _catch_up(self, job: str, last: int, now: int, lease: Lease) -> None:
        if self._unfenced:
            last = self._own.get(job, last)
        what = due(last, now, self._horizon)
        if what.skipped < what.first:
            await self._commit(job, what.first - 1, lease, ran=False)
            self._log.warning("cron-skipped", key=job, first=what.skipped, last=what.first - 1)
        for window in range(what.first, min(what.last, what.first + MOST_AT_ONCE - 1) + 1):
            if await self._commit(job, window, lease, ran=True):
                self._log.info("fire", key=job, window=window, epoch=lease.epoch)

    async def _commit(self, job: str, window: int, lease: Lease, *, ran: bool) -> bool:
        """The run of a window (`ran`), or that it is given up. Whether it was: not if somebody has
        done it. Raises `LostLeaseError` if we do not lead."""
        async with self._database.transaction() as connection:
            if not self._unfenced:
                await self._leader.fence(connection, lease)
            cursor = await connection.execute(
                "UPDATE cron_state SET last_window = %s WHERE job = %s AND last_window < %s "
                "RETURNING last_window",
                [window, job, window],
            )
            ours = await cursor.fetchone() is not None or self._unfenced
            if ours and ran:
                await connection.execute(
                    "INSERT INTO cron_runs (job, time_window, worker, epoch, at_s) "
                    "VALUES (%s, %s, %s, %s, %s)",
                    [job, window, self._worker, lease.epoch, self._clock()],
                )
        self._own[job] = window
        return ours and ran
