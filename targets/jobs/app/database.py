"""PostgreSQL behind a link that may be slow, cut or half dead: connections, deadlines,
transactions.

Nothing in here waits without a bound. A query that is not answered in time is ended by shutting the
connection's socket down: psycopg then sees an ordinary lost connection. (Cancelling the task
instead would have psycopg ask the server to cancel, on a new connection through the same dead link,
and wait for that.) The server ends what it can see as well: `OPTIONS`.

The pool is our own, because psycopg_pool's tries again with a growing pause after the server was
away, which may be seconds after it is back. This one has no background tasks at all: a connection
is made when somebody needs one, and one that broke is not put back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from .settings import POSTGRES_PORT, Settings

Connection: TypeAlias = psycopg.AsyncConnection[TupleRow]

CONNECT_S = 1.0
WAIT_S = 1.0
"""How long one waits for a free connection, beside what it takes to make one."""

CALL_S = 2.0
"""How long a transaction may take, all its queries together, if nothing else is said."""

CHECK_S = 0.3
STALE_S = 0.5
"""A connection that was idle for longer is asked whether it is alive before it is used."""

OPTIONS = (
    "-c statement_timeout=2000 -c lock_timeout=1500 "
    # A client that was paused or cut off in a transaction must not hold its locks for ever.
    "-c idle_in_transaction_session_timeout=1000 "
    "-c tcp_user_timeout=3000 -c tcp_keepalives_idle=2 -c tcp_keepalives_interval=1 "
    "-c tcp_keepalives_count=3"
)

_LOST = (psycopg.OperationalError, psycopg.InterfaceError, OSError, TimeoutError)


class UnavailableError(Exception):
    """The database did not do it, as far as anybody knows. `certain`: it certainly did not."""

    def __init__(self, why: str, *, certain: bool) -> None:
        super().__init__(why)
        self.certain = certain


@dataclass(frozen=True)
class Address:
    """Where the database is, and who one is there."""

    host: str
    database: str
    user: str
    password: str = field(repr=False)
    port: int = POSTGRES_PORT

    async def connect(self) -> Connection:
        """A connection that commits every statement by itself. Raises `UnavailableError`."""
        try:
            async with asyncio.timeout(CONNECT_S):
                return await psycopg.AsyncConnection.connect(
                    host=self.host,
                    port=self.port,
                    dbname=self.database,
                    user=self.user,
                    password=self.password,
                    options=OPTIONS,
                    sslmode="disable",
                    gssencmode="disable",
                    tcp_user_timeout=3000,
                    keepalives_idle=2,
                    keepalives_interval=1,
                    keepalives_count=3,
                    application_name="jobs",
                    autocommit=True,
                )
        except _LOST as error:
            raise UnavailableError(f"no connection: {_brief(error)}", certain=True) from error


def as_user(settings: Settings, host: str) -> Address:
    """The user that serves: owns nothing, and may do what the schema grants."""
    return Address(host, settings.database, settings.user, settings.password)


def as_owner(settings: Settings, host: str) -> Address:
    """The owner of the database: migrations only."""
    return Address(host, settings.database, settings.owner, settings.owner_password)


def resolve(settings: Settings) -> str:
    """The address of the database. Looked up once, before there is a loop: names do not change
    while a node runs, and asyncio would need a thread."""
    return socket.gethostbyname(settings.host)


@contextlib.contextmanager
def deadline(connection: Connection, seconds: float) -> Iterator[None]:
    """What is going on at `connection` when the time is over fails with an `OperationalError`."""
    timer = asyncio.get_running_loop().call_later(seconds, _shut, connection)
    try:
        yield
    finally:
        timer.cancel()


class Database:
    """At most `size` connections, made when they are needed. Whoever finds none waits for `WAIT_S`.

    All errors of the connection and the server's time-outs are raised as `UnavailableError`; those
    of the queries themselves (a constraint, a syntax error) as they are.
    """

    def __init__(self, address: Address, size: int) -> None:
        self._address = address
        self._free = asyncio.Semaphore(size)
        self._idle: deque[tuple[Connection, float]] = deque()
        self._clock = asyncio.get_running_loop().time
        self._closed = False

    @contextlib.asynccontextmanager
    async def transaction(self, within_s: float = CALL_S) -> AsyncIterator[Connection]:
        """Everything done in it is committed at its end, or nothing is.

        Statements are sent together up to the next one whose rows are looked at (libpq's pipeline
        mode); one that fails may so be told later, but always before the COMMIT is sent.
        `UnavailableError.certain` is False if the answer to that was lost: nobody knows.
        """
        committing = False
        try:
            async with self.connection(within_s) as connection, connection.pipeline() as pipeline:
                async with connection.transaction():
                    yield connection
                    await pipeline.sync()
                    committing = True
                await pipeline.sync()
                if connection.pgconn.transaction_status != TransactionStatus.IDLE:
                    # psycopg leaves a transaction of a connection that was lost without a word.
                    raise psycopg.OperationalError("the connection was lost at the COMMIT")
        except UnavailableError as error:
            error.certain = not committing
            raise

    @contextlib.asynccontextmanager
    async def connection(self, within_s: float = CALL_S) -> AsyncIterator[Connection]:
        """A connection that commits every statement by itself. Of a statement that failed here
        nobody knows whether it was done, unless there was no connection at all."""
        try:
            async with asyncio.timeout(WAIT_S):
                await self._free.acquire()
        except TimeoutError:
            raise UnavailableError("all connections are in use", certain=True) from None
        connection: Connection | None = None
        try:
            connection = await self._take()
            with deadline(connection, within_s):
                yield connection
        except _LOST as error:
            raise UnavailableError(_brief(error), certain=False) from error
        finally:
            if connection is not None:
                await self._give_back(connection)
            self._free.release()

    async def fetch_all(self, query: str, *values: Any) -> list[TupleRow]:
        """The rows of one statement that only reads."""
        async with self.connection() as connection:
            cursor = await connection.execute(query.encode(), values)
            return await cursor.fetchall()

    async def fetch_one(self, query: str, *values: Any) -> TupleRow | None:
        """The first row of one statement that only reads."""
        async with self.connection() as connection:
            cursor = await connection.execute(query.encode(), values)
            return await cursor.fetchone()

    async def close(self) -> None:
        """Connections that are in use are closed when they are given back."""
        self._closed = True
        await self._forget()

    async def _take(self) -> Connection:
        while self._idle:
            connection, since = self._idle.pop()
            if connection.closed:
                continue
            if self._clock() - since < STALE_S or await _alive(connection):
                return connection
            await connection.close()
            await self._forget()  # what happened to one has happened to all
        return await self._address.connect()

    async def _forget(self) -> None:
        while self._idle:
            connection, _ = self._idle.pop()
            await connection.close()

    async def _give_back(self, connection: Connection) -> None:
        idle = connection.pgconn.transaction_status == TransactionStatus.IDLE
        if connection.closed or self._closed or not idle:
            await connection.close()
        else:
            self._idle.append((connection, self._clock()))


async def _alive(connection: Connection) -> bool:
    try:
        with deadline(connection, CHECK_S):
            await connection.execute(b"")
    except _LOST:
        return False
    return True


def _shut(connection: Connection) -> None:
    if connection.closed:
        return
    # A copy of the descriptor: libpq goes on owning the socket.
    with (
        contextlib.suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as copy,
    ):
        copy.shutdown(socket.SHUT_RDWR)


def _brief(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
