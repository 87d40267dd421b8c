"""What is finished is forgotten after a while, so that tables stay as large as the work at hand.

First the job itself, with procrastinate's events of it; later its idempotency key, when nobody will
repeat the request any more; and accounts that were deleted and that nobody wanted back. The ledger
and the audit log are kept. In small batches, each a transaction of its own.
"""

from __future__ import annotations

import asyncio
import random

from .accounts import Accounts
from .audit import Who
from .database import Database, UnavailableError
from .leader import Leader
from .logs import Log
from .settings import Settings

BATCH = 500
SHORTEST_S, LONGEST_S = 0.5, 30.0


class Pruning:
    """Of one worker; it works while that one leads, so that it is done once."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        leader: Leader,
        settings: Settings,
        random: random.Random,
        log: Log,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._leader = leader
        self._settings = settings
        self._random = random
        self._log = log

    async def run(self) -> None:
        """Until it is cancelled."""
        shortest_s = min(self._settings.retention_s, self._settings.purge_after_s) / 4
        pause_s = min(max(shortest_s, SHORTEST_S), LONGEST_S)
        while True:
            await asyncio.sleep(pause_s * self._random.uniform(0.8, 1.0))
            lease = self._leader.lease
            if lease is None:
                continue
            try:
                await self.prune(Who(f"worker {self._settings.name}", _request(self._random)))
            except UnavailableError as error:
                self._log.warning("pruning-unavailable", error=str(error))

    async def prune(self, who: Who) -> None:
        """Once, until nothing is left that is old enough."""
        settings = self._settings
        jobs = await self._batches(
            "DELETE FROM procrastinate_jobs WHERE id IN (SELECT job.id FROM procrastinate_jobs AS "
            "job JOIN job_keys ON job_keys.job_id = job.id WHERE finished_at < now() - "
            "make_interval(secs => %s) AND final <> 'dead' LIMIT %s FOR UPDATE OF job SKIP LOCKED)",
            settings.retention_s,
        )
        keys = await self._batches(
            "DELETE FROM job_keys WHERE key IN (SELECT key FROM job_keys WHERE finished_at < now() "
            "- make_interval(secs => %s) AND final <> 'dead' LIMIT %s FOR UPDATE SKIP LOCKED)",
            settings.retention_s + settings.key_retention_s,
        )
        accounts = await self._accounts.purge(settings.purge_after_s, who)
        if jobs or keys or accounts:
            self._log.info("pruned", jobs=jobs, keys=keys, accounts=accounts)

    async def _batches(self, statement: str, older_than_s: float) -> int:
        number = 0
        while True:
            async with self._database.transaction() as connection:
                cursor = await connection.execute(statement.encode(), [older_than_s, BATCH])
            number += cursor.rowcount
            if cursor.rowcount < BATCH:
                return number


def _request(random: random.Random) -> str:
    return f"prune-{random.getrandbits(64):016x}"
