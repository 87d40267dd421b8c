"""One run of a job, and what becomes of it: done, tried again, a dead letter, handed back.

Each end is one transaction that begins with the fence: the job's row is locked, and must still be
running in the same attempt as when it was fetched. `attempts` is the fencing token (Kleppmann, "How
to do distributed locking", 2016): procrastinate counts it up whenever a job goes back to its queue,
so that a worker that was paused, and whose job was given to another, finds a higher one and writes
nothing. What the job did, its row in the ledger, is written in that very transaction.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from procrastinate import jobs

from . import metrics
from .audit import Audit, Entry, Who
from .backoff import Backoff
from .database import Connection, Database, UnavailableError
from .jobs import finish
from .logs import Clock, Log
from .settings import Settings
from .work import JobError, Work, emails, fail_if_told

MOST_TAKEOVERS = 20
"""A job whose workers died so often is what kills them."""

GIVE_UP_S = 3.0
"""For so long a worker tries to write down how a run ended. Then it forgets the run, and must give
up its registration, so that the others find the job."""

AGAIN = Backoff(base_s=0.05, cap_s=0.5)


class FencedError(Exception):
    """The job is not this run's any more: it was taken over, or finished."""


@dataclass(frozen=True)
class Run:
    """A job as it was fetched. `token` is what the fence looks at."""

    id: int
    key: str
    queue: str
    args: Mapping[str, Any]
    token: int

    @classmethod
    def of(cls, job: jobs.Job) -> Run:
        assert job.id is not None
        kwargs: Mapping[str, Any] = job.task_kwargs
        return cls(job.id, str(kwargs["key"]), job.queue, kwargs["args"], job.attempts)


@dataclass(frozen=True)
class _Past:
    """Of the runs before: how many failed, and how long this one was to wait."""

    failures: int
    delay_s: float


class Execution:
    """Of one worker. `works` are the things to do, by queue; `abandoned` is called when the end of
    a run could not be written down."""

    def __init__(
        self,
        database: Database,
        audit: Audit,
        works: Mapping[str, Work],
        settings: Settings,
        clock: Clock,
        random: random.Random,
        log: Log,
        abandoned: Callable[[], None],
    ) -> None:
        self._database = database
        self._audit = audit
        self._works = works
        self._settings = settings
        self._clock = clock
        self._random = random
        self._log = log
        self._abandoned = abandoned
        self._backoff = Backoff(
            settings.backoff_base_s,
            settings.backoff_cap_s,
            jitter=settings.mutant != "retries-without-jitter",  # Mutant.
        )
        self._until = math.inf
        self._running: dict[tuple[int, int], Run] = {}
        self.finished = 0
        self.handed_back = 0
        self.lost = 0

    @property
    def running(self) -> list[str]:
        """The keys of the jobs that run here. One may be there twice: a worker that the others had
        given up may be given its own job."""
        return sorted(run.key for run in self._running.values())

    def hurry(self, until: float) -> None:
        """Nothing is tried again after `until` (loop time): the worker is about to end."""
        self._until = until

    async def run(self, run: Run) -> None:
        """Do the job and write down how it ended. If it is cancelled, the job is handed back."""
        self._running[run.id, run.token] = run
        outcome = "lost"
        try:
            outcome = await self._run(run)
        except asyncio.CancelledError:
            outcome = "handed back"
            raise
        except FencedError:
            outcome = "fenced"
            self._log.warning("fenced", key=run.key, attempt=run.token + 1)
        except UnavailableError as error:
            self.lost += 1
            self._log.warning("abandoned", key=run.key, error=str(error))
            self._abandoned()
        finally:
            metrics.ran(run.queue, outcome)
            del self._running[run.id, run.token]

    async def _run(self, run: Run) -> str:
        started = self._clock()
        try:
            past = await self._past(run)
            self._log.info("start", key=run.key, queue=run.queue, attempt=run.token + 1)
            self._log.info(
                "attempt",
                dependency="job",
                key=run.key,
                attempt=past.failures + 1,
                delay_s=round(past.delay_s, 6),
            )
            fail_if_told(run.args, past.failures)
            if self._settings.mutant == "effect-before-commit":  # Mutant: one transaction too many.
                await self._persistently(lambda: self._effect_alone(run, started))
            await self._works.get(run.queue, emails)(run.args)
        except asyncio.CancelledError:
            await self._persistently(lambda: self._hand_back(run))
            self.handed_back += 1
            raise
        except UnavailableError:
            # The job's own look at the database. That is nothing the job did wrong.
            await self._written(lambda: self._hand_back(run))
            return "handed back"
        except Exception as error:
            why = str(error) if isinstance(error, JobError) else repr(error)
            return str(await self._written(lambda: self._failed(run, why)))
        await self._written(lambda: self._done(run, started))
        self.finished += 1
        self._log.info("effect", key=run.key, queue=run.queue, attempt=run.token + 1)
        return "done"

    async def take_over(self, run: Run) -> None:
        """Give the job of a worker that is gone back to its queue. Raises `FencedError` if another
        did, or the worker had finished it after all."""
        async with self._database.transaction() as connection:
            await self._fence(connection, run)
            cursor = await connection.execute(
                "UPDATE job_keys SET takeovers = takeovers + 1 WHERE key = %s RETURNING takeovers",
                [run.key],
            )
            row = await cursor.fetchone()
            if row is not None and row[0] >= MOST_TAKEOVERS:
                await self._die(connection, run, f"{row[0]} workers died of it")
            else:
                await self._put_back(connection, run, 0.0)
        self._log.info("taken-over", key=run.key, attempt=run.token + 1)

    async def _done(self, run: Run, started: float) -> None:
        async with self._database.transaction() as connection:
            try:
                await self._fence(connection, run)
            except FencedError:
                if self._settings.mutant != "no-fencing":
                    raise
                # Mutant: it has done the work, so it says so.
                await self._effect(connection, run, started)
                return
            if self._settings.mutant != "effect-before-commit":
                await self._effect(connection, run, started)
            await self._complete(connection, run)

    async def _effect_alone(self, run: Run, started: float) -> None:
        async with self._database.transaction() as connection:
            await self._fence(connection, run)
            await self._effect(connection, run, started)

    async def _failed(self, run: Run, why: str) -> Literal["failed", "dead"]:
        endless = self._settings.mutant == "retries-without-limit"  # Mutant.
        async with self._database.transaction() as connection:
            await self._fence(connection, run)
            cursor = await connection.execute(
                "UPDATE job_keys SET failures = failures + 1, error = %s WHERE key = %s "
                "RETURNING failures",
                [why, run.key],
            )
            row = await cursor.fetchone()
            failures = 1 if row is None else int(row[0])
            if failures >= self._settings.max_attempts and not endless:
                await self._die(connection, run, why)
                dead, delay_s = True, 0.0
            else:
                delay_s = self._backoff.delay_s(failures, self._random)
                await connection.execute(
                    "UPDATE job_keys SET delay_s = %s WHERE key = %s", [delay_s, run.key]
                )
                await self._put_back(connection, run, delay_s)
                dead = False
        if dead:
            self._log.warning("dead", key=run.key, failures=failures, error=why)
            return "dead"
        self._log.info("retry", key=run.key, failures=failures, delay_s=round(delay_s, 6))
        return "failed"

    async def _hand_back(self, run: Run) -> None:
        async with self._database.transaction() as connection:
            await self._fence(connection, run)
            await self._put_back(connection, run, 0.0)
        self._log.info("handed-back", key=run.key, attempt=run.token + 1)

    async def _fence(self, connection: Connection, run: Run) -> None:
        cursor = await connection.execute(
            "SELECT FROM procrastinate_jobs WHERE id = %s AND status = 'doing' AND attempts = %s "
            "FOR UPDATE",
            [run.id, run.token],
        )
        if await cursor.fetchone() is None:
            raise FencedError(f"{run.key} is not run {run.token + 1}'s any more")

    async def _effect(self, connection: Connection, run: Run, started: float) -> None:
        await connection.execute(
            "INSERT INTO effects (key, queue, attempt, worker, started_s, at_s) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            [run.key, run.queue, run.token + 1, self._settings.name, started, self._clock()],
        )

    async def _complete(self, connection: Connection, run: Run) -> None:
        await connection.execute(
            "SELECT procrastinate_finish_job_v1(%s, 'succeeded', false)", [run.id]
        )
        if self._settings.mutant == "key-not-kept":  # Mutant: a late repetition is a new job.
            await connection.execute("DELETE FROM job_keys WHERE key = %s", [run.key])
            return
        await finish(connection, run.key, "done", None)
        await _place_is_free(connection, run.queue)

    async def _die(self, connection: Connection, run: Run, why: str) -> None:
        """A dead letter: kept, shown on the dashboard, and run again only if somebody says so."""
        await connection.execute(
            "SELECT procrastinate_finish_job_v1(%s, 'failed', false)", [run.id]
        )
        await finish(connection, run.key, "dead", why)
        await _place_is_free(connection, run.queue)
        who = Who(f"worker {self._settings.name}", f"run-{run.id}-{run.token}")
        before, after = {"state": "executing"}, {"state": "dead", "error": why}
        await self._audit.record(connection, Entry(who, "job.dead", run.key, before, after))

    async def _put_back(self, connection: Connection, run: Run, delay_s: float) -> None:
        await connection.execute(
            "SELECT procrastinate_retry_job_v2(%s, now() + make_interval(secs => %s), NULL, NULL, "
            "NULL)",
            [run.id, delay_s],
        )
        await _place_is_free(connection, run.queue)

    async def _past(self, run: Run) -> _Past:
        row = await self._persistently(
            lambda: self._database.fetch_one(
                "SELECT failures, delay_s FROM job_keys WHERE key = %s", run.key
            )
        )
        return _Past(0, 0.0) if row is None else _Past(int(row[0]), float(row[1]))

    async def _written(self, write: Callable[[], Any]) -> Any:
        """Whoever is cancelled when the work is done still writes that down, which has a bound."""
        writing = asyncio.ensure_future(self._persistently(write))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            await writing
            raise

    async def _persistently(self, write: Callable[[], Any]) -> Any:
        """Try until it is done, or for `GIVE_UP_S`. All that is tried may be repeated: behind the
        fence, the second time is refused if the first was committed and nobody heard."""
        until = min(self._clock() + GIVE_UP_S, self._until)
        attempt = 0
        while True:
            try:
                return await write()
            except UnavailableError:
                attempt += 1
                delay_s = AGAIN.delay_s(attempt, self._random)
                if self._clock() + delay_s > until:
                    raise
                await asyncio.sleep(delay_s)


async def _place_is_free(connection: Connection, queue: str) -> None:
    """Wake the workers up as procrastinate does for a new job: the queue was full perhaps."""
    await connection.execute(
        "SELECT pg_notify('procrastinate_queue_v1#' || %s, "
        """'{"type": "job_inserted", "job_id": 0}')""",
        [queue],
    )
