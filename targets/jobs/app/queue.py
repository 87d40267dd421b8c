"""procrastinate, on connections that do not hang, with limits per queue over all workers.

procrastinate brings its tables, their rules (who may fetch what, in which order), the workers' main
loop with its heartbeats, and the jobs of workers whose heart stopped. What becomes of a job that
has run is written by `execution`, in one transaction with what the job did. procrastinate would
write it afterwards, by the job's id alone, whoever may have taken the job over since; so its own
ways to write it do nothing here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import procrastinate
import psycopg
from procrastinate import exceptions, jobs
from procrastinate.connector import Notify
from procrastinate.manager import JobManager
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from .database import Connection, Database, UnavailableError
from .listener import Listener
from .logs import Log

FETCH = (
    "SELECT id, status, task_name, priority, lock, queueing_lock, args, scheduled_at, queue_name, "
    "attempts, worker_id FROM jobs_fetch(%(queues)s::varchar[], %(worker_id)s, %(own_only)s)"
)


BEAT = (
    "UPDATE procrastinate_workers SET last_heartbeat = now() WHERE id = %(worker_id)s RETURNING id"
)


class Connector(procrastinate.PsycopgConnector):
    """Lets procrastinate use our connections, each call within a time. Errors are its own."""

    def __init__(self, database: Database, listener: Listener | None = None) -> None:
        super().__init__()
        self._database = database
        self._listener = listener

    async def execute_query_async(self, query: str, **arguments: Any) -> None:
        async with self._cursor(query, arguments):
            return

    async def execute_query_one_async(self, query: str, **arguments: Any) -> dict[str, Any]:
        async with self._cursor(query, arguments) as cursor:
            row = await cursor.fetchone()
        if row is None:
            raise exceptions.NoResult
        return row

    async def execute_query_all_async(self, query: str, **arguments: Any) -> list[dict[str, Any]]:
        async with self._cursor(query, arguments) as cursor:
            return await cursor.fetchall()

    async def execute_query_one_async_with_connection(
        self, connection: Connection, query: str, **arguments: Any
    ) -> dict[str, Any]:
        rows = await self.execute_query_all_async_with_connection(connection, query, **arguments)
        if not rows:
            raise exceptions.NoResult
        return rows[0]

    async def execute_query_all_async_with_connection(
        self, connection: Connection, query: str, **arguments: Any
    ) -> list[dict[str, Any]]:
        """In a transaction of ours. What fails is ours as well: no `ConnectorException`."""
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), _values(arguments))
            return await cursor.fetchall()

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        """Until it is cancelled. A listener that lost its connection is not the end of a worker:
        it makes another one, and meanwhile the worker asks."""
        assert self._listener is not None
        async for channel, payload in self._listener.notifications(list(channels)):
            await on_notification(channel=channel, payload=payload)

    @asynccontextmanager
    async def _cursor(
        self, query: str, arguments: dict[str, Any]
    ) -> AsyncIterator[psycopg.AsyncCursor[dict[str, Any]]]:
        try:
            async with (
                self._database.connection() as connection,
                connection.cursor(row_factory=dict_row) as cursor,
            ):
                await cursor.execute(query.encode(), _values(arguments))
                yield cursor
        except (UnavailableError, psycopg.Error) as error:
            raise exceptions.ConnectorException(str(error)) from error


class Manager(JobManager):
    """What a worker asks of the database. `own_only`: see `jobs_fetch`. `struck_off` is called when
    the worker's registration is gone: the others have given up on it."""

    def __init__(
        self,
        connector: Connector,
        log: Log,
        *,
        own_only: bool = False,
        struck_off: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(connector)
        self._log = log
        self._own_only = own_only
        self._struck_off = struck_off

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> jobs.Job | None:
        row = await self.connector.execute_query_one_async(
            FETCH, queues=list(queues or ()), worker_id=worker_id, own_only=self._own_only
        )
        return None if row["id"] is None else jobs.Job.from_row(row)

    async def update_heartbeat(self, worker_id: int) -> None:
        """Never raises for want of a database: the next one is due soon."""
        try:
            rows = await self.connector.execute_query_all_async(BEAT, worker_id=worker_id)
        except exceptions.ConnectorException as error:
            self._log.warning("heartbeat-missed", error=str(error))
            return
        if not rows:
            self._struck_off()

    async def finish_job(self, job: jobs.Job, status: jobs.Status, delete_job: bool) -> None:
        """Nothing: `execution` has written it."""

    async def retry_job(self, job: jobs.Job, *args: Any, **kwargs: Any) -> None:
        """Nothing: `execution` has written it."""


def _values(arguments: dict[str, Any]) -> dict[str, Any]:
    """As psycopg wants them: objects are JSON, also those within jobs."""
    return {name: _value(value) for name, value in arguments.items()}


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return Jsonb(value)
    if isinstance(value, list):
        return [_value(one) for one in value]
    if isinstance(value, tuple):
        return tuple(_value(one) for one in value)
    return value
