"""One leader, by a lease in the database.

A lease is a row that says who holds it, until when by the clock of the database, and in which
epoch. The epoch is the fencing token: it grows with every change of the holder, and whatever a
leader commits, it commits together with a look at the row (`fence`), locked so that nobody can take
the lease over before that commit (Gray and Cheriton, "Leases", SOSP 1989; Chubby's sequencers,
Burrows, OSDI 2006, section 2.4). Not an advisory lock: that belongs to a session, and the session
of a worker that is paused or cut off lives on at the server for as long as the network in between
says nothing."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from . import metrics
from .database import Connection, Database, UnavailableError
from .logs import Clock, Log
from .settings import Settings

RENEWALS = 4
"""How often a lease is renewed while it lasts."""


class LostLeaseError(Exception):
    """Somebody else is the leader now, or nobody."""


@dataclass(frozen=True)
class Lease:
    """Held by us in `epoch`. `until` is when it ends by our clock, at the latest."""

    epoch: int
    until: float


class Leader:
    """One worker's part in who leads. `holder` is unique to this start of this worker."""

    def __init__(
        self,
        name: str,
        holder: str,
        settings: Settings,
        database: Database,
        clock: Clock,
        random: random.Random,
        log: Log,
    ) -> None:
        self._name = name
        self._holder = holder
        self._lease_s = settings.lease_s
        self._forever = settings.mutant == "lease-never-expires"  # Mutant.
        self._database = database
        self._clock = clock
        self._random = random
        self._log = log
        self.last: Lease | None = None
        self.elected = asyncio.Event()

    @property
    def lease(self) -> Lease | None:
        """The lease if it is certainly still ours: our clock began before the database's did."""
        last = self.last
        return last if last is not None and self._clock() < last.until else None

    async def run(self) -> None:
        """Want to lead, until cancelled; then let the next one in at once. `last` is what came of
        it most recently, and `elected` is set while that is a lease."""
        try:
            while True:
                pause_s = self._lease_s / RENEWALS
                try:
                    self._becomes(await self._campaign())
                except UnavailableError as error:
                    self._log.warning("cron-unavailable", error=str(error))
                if self.last is None:
                    # Spread, so that those who wait for a lease to run out do not come together.
                    pause_s *= self._random.uniform(0.7, 1.0)
                await asyncio.sleep(pause_s)
        finally:
            if self.last is not None:
                await asyncio.shield(self._resign())

    async def fence(self, connection: Connection, lease: Lease) -> None:
        """From here to the end of the transaction nobody else can become the leader. Raises
        `LostLeaseError` if somebody did, or could have."""
        cursor = await connection.execute(
            "SELECT FROM leases WHERE name = %s AND holder = %s AND epoch = %s "
            "AND expires_at > clock_timestamp() FOR SHARE",
            [self._name, self._holder, lease.epoch],
        )
        if await cursor.fetchone() is None:
            raise LostLeaseError(f"the lease {self._name} in epoch {lease.epoch} is not ours")

    async def _campaign(self) -> Lease | None:
        """Renew the lease, or take one that ran out. None if another one has it."""
        asked = self._clock()
        expired = "false" if self._forever else "leases.expires_at < clock_timestamp()"
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "INSERT INTO leases AS leases (name, holder, epoch, expires_at) "
                "VALUES (%s, %s, 1, clock_timestamp() + make_interval(secs => %s)) "
                "ON CONFLICT (name) DO UPDATE SET "
                # One that ran out is a new epoch for its own holder, too.
                "epoch = leases.epoch + (leases.holder <> excluded.holder "
                "OR leases.expires_at < clock_timestamp())::int, "
                "holder = excluded.holder, "
                "expires_at = clock_timestamp() + make_interval(secs => %s) "
                f"WHERE leases.holder = excluded.holder OR {expired} "
                "RETURNING epoch".encode(),
                [self._name, self._holder, self._lease_s, self._lease_s],
            )
            row = await cursor.fetchone()
        return None if row is None else Lease(int(row[0]), asked + self._lease_s)

    def _becomes(self, lease: Lease | None) -> None:
        before, self.last = self.last, lease
        metrics.leads(lease is not None)
        if lease is None:
            self.elected.clear()
            if before is not None:
                self._log.info("cron-follower", epoch=before.epoch)
            return
        self.elected.set()
        if before is None or before.epoch != lease.epoch:
            self._log.info("cron-leader", epoch=lease.epoch)

    async def _resign(self) -> None:
        self._becomes(None)
        try:
            async with self._database.connection() as connection:
                await connection.execute(
                    "UPDATE leases SET expires_at = clock_timestamp() "
                    "WHERE name = %s AND holder = %s AND expires_at > clock_timestamp()",
                    [self._name, self._holder],
                )
        except UnavailableError as error:
            self._log.warning("cron-unavailable", error=str(error))
