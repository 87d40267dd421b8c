"""Jobs as their owners see them: enqueued under a key, looked at, cancelled, queued again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from procrastinate import jobs
from procrastinate.manager import JobManager

from .accounts import RefusedError
from .audit import Audit, Entry, Who
from .database import Connection, Database
from .settings import Settings

ATTEMPTS = 5
"""How often one looks again for whoever holds the key or the unique text, who may just finish."""

FINISHED = "jobs_finished"
"""The channel on which the key of each job that has finished is told."""

STATE = """
    CASE
        WHEN keys.final IS NOT NULL THEN keys.final
        WHEN job.status = 'doing' THEN 'executing'
        WHEN job.scheduled_at > now() AND keys.failures > 0 THEN 'retrying'
        WHEN job.scheduled_at > now() THEN 'scheduled'
        ELSE 'available'
    END
"""
"""What a job's state is called, of `job_keys AS keys LEFT JOIN procrastinate_jobs AS job`."""

STATES = (
    "available",
    "executing",
    "retrying",
    "scheduled",
    "dead",
    "done",
    "cancelled",
)


@dataclass(frozen=True)
class Order:
    """What is to be done. `unique`: a text that one unfinished job may hold at a time."""

    key: str
    queue: str
    args: Mapping[str, Any]
    priority: int = 0
    run_in_s: float = 0.0
    unique: str | None = None

    @property
    def fingerprint(self) -> str:
        """The same for the same order."""
        content = [self.queue, dict(self.args), self.priority, self.run_in_s, self.unique]
        text = json.dumps(content, sort_keys=True).encode()
        return hashlib.blake2b(text, digest_size=16).hexdigest()


@dataclass(frozen=True)
class Job:
    key: str
    id: int | None
    queue: str
    state: str
    attempt: int
    failures: int
    takeovers: int
    error: str | None

    @property
    def finished(self) -> bool:
        return self.state in ("done", "dead", "cancelled")


@dataclass(frozen=True)
class Enqueued:
    """`how`: "new"; "known", the key was there; "duplicate", `job` holds the unique text."""

    job: Job
    how: Literal["new", "known", "duplicate"]


class Jobs:
    """The web nodes' side of the jobs. Each change is one transaction with its audit row."""

    def __init__(
        self, database: Database, manager: JobManager, audit: Audit, settings: Settings
    ) -> None:
        self._database = database
        self._manager = manager
        self._audit = audit
        self._settings = settings

    async def enqueue(self, order: Order, who: Who) -> Enqueued:
        """Raises `RefusedError` if the key stands for another order."""
        for _ in range(ATTEMPTS):
            async with self._database.transaction() as connection:
                if await self._claim(connection, order):
                    id = await self._defer(connection, order, who)
                    return Enqueued(_new(order, id), "new")
                known = await self._fingerprint(connection, order.key)
                if known is not None:
                    if known != order.fingerprint:
                        raise RefusedError(422, f"the key {order.key} stands for another job")
                    job = await _find(connection, "keys.key = %s", order.key)
                    how: Literal["known", "duplicate"] = "known"
                else:
                    job = await _find(
                        connection,
                        "keys.unique_key = %s AND keys.finished_at IS NULL",
                        self._unique(order),
                    )
                    how = "duplicate"
                if job is not None:
                    return Enqueued(job, how)
        raise RefusedError(409, f"the unique text of {order.key} changes hands too fast")

    async def find(self, key: str) -> Job | None:
        async with self._database.connection() as connection:
            return await _find(connection, "keys.key = %s", key)

    async def finished(self, keys: list[str]) -> list[str]:
        """Those of `keys` whose jobs have finished."""
        rows = await self._database.fetch_all(
            "SELECT key FROM job_keys WHERE key = ANY (%s) AND finished_at IS NOT NULL", keys
        )
        return [str(key) for (key,) in rows]

    async def cancel(self, key: str, who: Who) -> Job:
        """A job that waits. Raises `RefusedError` for others."""
        async with self._database.transaction() as connection:
            job = await self._known(connection, key)
            cancelled = job.id is not None and await self._manager.cancel_job_by_id_async(
                job.id, connection=connection
            )
            if not cancelled:
                raise RefusedError(409, f"the job {key} is {job.state}")
            await finish(connection, key, "cancelled", None)
            after = await self._known(connection, key)
            await self._record(connection, who, "job.cancelled", job, after)
        return after

    async def requeue(self, key: str, who: Who) -> Job:
        """A dead letter gets all its attempts again. Raises `RefusedError` for other jobs."""
        async with self._database.transaction() as connection:
            job = await self._known(connection, key)
            if job.state != "dead" or job.id is None:
                raise RefusedError(409, f"the job {key} is {job.state}")
            await connection.execute(
                "UPDATE job_keys SET final = NULL, finished_at = NULL, failures = 0, "
                "takeovers = 0, delay_s = 0 WHERE key = %s",
                [key],
            )
            await connection.execute(
                "SELECT procrastinate_retry_job_v2(%s, now(), NULL, NULL, NULL)", [job.id]
            )
            after = await self._known(connection, key)
            await self._record(connection, who, "job.requeued", job, after)
        return after

    async def queues(self) -> dict[str, dict[str, int]]:
        """How many jobs of each queue are in which state, and the queue's limit."""
        limits = await self._database.fetch_all("SELECT name, most FROM queues ORDER BY name")
        rows = await self._database.fetch_all(
            f"SELECT keys.queue, {STATE} AS state, count(*) FROM job_keys AS keys "
            "LEFT JOIN procrastinate_jobs AS job ON job.id = keys.job_id GROUP BY 1, 2"
        )
        board = {name: {"limit": int(most), **dict.fromkeys(STATES, 0)} for name, most in limits}
        for queue, state, number in rows:
            board[queue][state] += number
        return board

    async def unfinished(self) -> int:
        row = await self._database.fetch_one(
            "SELECT count(*) FROM job_keys WHERE finished_at IS NULL"
        )
        return 0 if row is None else int(row[0])

    async def effects(self) -> list[list[Any]]:
        """The whole ledger, in the order in which it was written."""
        rows = await self._database.fetch_all(
            "SELECT key, attempt, worker, queue, started_s, at_s FROM effects ORDER BY at"
        )
        return [list(row) for row in rows]

    async def _claim(self, connection: Connection, order: Order) -> bool:
        """Whether the key and the unique text are this order's now. Waits for transactions that
        may have them."""
        cursor = await connection.execute(
            "INSERT INTO job_keys (key, queue, fingerprint, unique_key) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT DO NOTHING RETURNING key",
            [order.key, order.queue, order.fingerprint, self._unique(order)],
        )
        return await cursor.fetchone() is not None

    async def _defer(self, connection: Connection, order: Order, who: Who) -> int:
        at = None
        if order.run_in_s > 0:
            # By the clock of the database, as everything about times of jobs.
            cursor = await connection.execute(
                "SELECT now() + make_interval(secs => %s)", [order.run_in_s]
            )
            row = await cursor.fetchone()
            assert row is not None
            at = row[0]
        job = await self._manager.defer_job_async(
            jobs.Job(
                queue=order.queue,
                task_name=order.queue,
                priority=order.priority,
                lock=None,
                queueing_lock=None,
                task_kwargs={"key": order.key, "args": dict(order.args)},
                scheduled_at=at,
            ),
            connection=connection,
        )
        await connection.execute(
            "UPDATE job_keys SET job_id = %s WHERE key = %s", [job.id, order.key]
        )
        after = {"queue": order.queue, "job": job.id, "unique": order.unique}
        await self._audit.record(connection, Entry(who, "job.enqueued", order.key, None, after))
        assert job.id is not None
        return job.id

    def _unique(self, order: Order) -> str | None:
        if self._settings.mutant == "unique-not-unique" and order.unique is not None:
            return f"{order.unique} {order.key}"  # Mutant: each has one of its own.
        return order.unique

    async def _known(self, connection: Connection, key: str) -> Job:
        """The job, of which nothing can change before the transaction is over. Locked in the same
        order as the workers do it."""
        await connection.execute(
            "SELECT FROM procrastinate_jobs WHERE id = (SELECT job_id FROM job_keys "
            "WHERE key = %s) FOR UPDATE",
            [key],
        )
        await connection.execute("SELECT FROM job_keys WHERE key = %s FOR UPDATE", [key])
        job = await _find(connection, "keys.key = %s", key)
        if job is None:
            raise RefusedError(404, f"there is no job {key}")
        return job

    async def _fingerprint(self, connection: Connection, key: str) -> str | None:
        cursor = await connection.execute("SELECT fingerprint FROM job_keys WHERE key = %s", [key])
        row = await cursor.fetchone()
        return None if row is None else str(row[0])

    async def _record(
        self, connection: Connection, who: Who, action: str, before: Job, after: Job
    ) -> None:
        old, new = {"state": before.state}, {"state": after.state}
        await self._audit.record(connection, Entry(who, action, before.key, old, new))


async def finish(
    connection: Connection, key: str, final: Literal["done", "dead", "cancelled"], error: str | None
) -> None:
    """Write down that the job is finished, and tell those who wait for it once that is
    committed."""
    await connection.execute(
        "UPDATE job_keys SET final = %s, finished_at = clock_timestamp(), "
        "error = coalesce(%s, error) WHERE key = %s",
        [final, error, key],
    )
    await connection.execute("SELECT pg_notify(%s, %s)", [FINISHED, key])


async def _find(connection: Connection, where: str, value: str | None) -> Job | None:
    cursor = await connection.execute(
        f"SELECT keys.key, keys.job_id, keys.queue, {STATE}, coalesce(job.attempts, 0), "
        "keys.failures, keys.takeovers, keys.error FROM job_keys AS keys "
        f"LEFT JOIN procrastinate_jobs AS job ON job.id = keys.job_id WHERE {where}".encode(),
        [value],
    )
    row = await cursor.fetchone()
    return None if row is None else Job(*row)


def _new(order: Order, id: int) -> Job:
    state = "scheduled" if order.run_in_s > 0 else "available"
    return Job(order.key, id, order.queue, state, 0, 0, 0, None)
