"""One user of jobs: jobs, accounts, and what the database holds at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import aiohttp
import psycopg
from psycopg.errors import InsufficientPrivilege

from harness import Client, Unavailable
from targets.jobs.app.settings import GATE_PORT, POSTGRES_HOST, POSTGRES_PORT, WEB_PORT
from targets.jobs.target import DATABASE, GATE, OWNER, USER

ACTOR = "workload"
"""Whom the audit log names for what these clients do; the load is somebody else."""

NOT_SO = ""
"""What a change of an account is answered with that cannot be made."""

SQL_TIMEOUT_S = 3

_TAMPERING = {
    "update": "UPDATE audit SET actor = 'nobody'",
    "delete": "DELETE FROM audit",
    "truncate": "TRUNCATE audit",
}

_Body = Mapping[str, Any]


class JobsClient(Client):
    """One connection to a web node or the gate; or, for the final reads, to the database itself,
    past the service that is tested.

    That an account cannot be changed so (it is deleted, it is there already) is an answer like any
    other: `NOT_SO`. `request` is the key under which the service does a change once; it is also the
    new name, where there is one.
    """

    reads: ClassVar[frozenset[str]] = frozenset(
        {
            "state",
            "get",
            "listed",
            "found",
            "counted",
            "unfinished",
            "effects",
            "runs",
            "letters",
            "audit",
            "tamper",
        }
    )

    _http: aiohttp.ClientSession | None = None
    _sql: psycopg.AsyncConnection[Any] | None = None

    async def open(self) -> None:
        if self.node == POSTGRES_HOST:
            self._sql = await self._connect(OWNER)
            return
        port = GATE_PORT if self.node == GATE else WEB_PORT
        # The harness's deadline bounds every call.
        self._http = aiohttp.ClientSession(
            f"http://{self.host}:{port}",
            connector=aiohttp.TCPConnector(limit=1),
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"X-Actor": ACTOR},
        )

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
        if self._sql is not None:
            await self._sql.close()

    # Jobs

    async def enqueue(self, key: str, queue: str, args: _Body, run_in_s: float = 0.0) -> str:
        """A job that is done in the end. The key of the job."""
        return await self._enqueue(key, {"queue": queue, "args": args, "run_in_s": run_in_s})

    async def doom(self, key: str, queue: str, args: _Body) -> str:
        """A job that fails whenever it is tried: it ends as a dead letter. The key of the job."""
        return await self._enqueue(key, {"queue": queue, "args": args})

    async def claim(
        self, key: str, queue: str, unique: str, args: _Body, run_in_s: float = 0.0
    ) -> str:
        """A job of which only one with the same `unique` may be unfinished. The key of the job: of
        another one that was there before, if there was."""
        body = {"queue": queue, "args": args, "unique": unique, "run_in_s": run_in_s}
        return await self._enqueue(key, body)

    async def state(self, key: str) -> str | None:
        """How far the job is; None if there is none."""
        status, body = await self._ask("GET", f"/jobs/{key}")
        return None if status == 404 else str(_expect(status, body)["state"])

    async def wait(self, key: str, wait_s: float) -> str:
        """How far the job is when it is finished, or after that time. No read for the history: that
        a request which waits is answered is itself what is promised."""
        await self._require_there()
        status, body = await self._ask("GET", f"/jobs/{key}", params={"wait_s": str(wait_s)})
        return str(_expect(status, body)["state"])

    async def _enqueue(self, key: str, body: _Body) -> str:
        answer = await self._change("POST", "/jobs", key, {"key": key, **body})
        assert answer is not None
        return str(answer["key"])

    # Accounts

    async def create(self, account: str, request: str) -> str:
        """The account's name. Not so if the id is taken, by a deleted one perhaps."""
        return await self._account("POST", account, request, {"name": request}, refused=(409,))

    async def rename(self, account: str, request: str) -> str:
        """The new name. Not so if there is no such account."""
        return await self._account("PATCH", account, request, {"name": request}, refused=(404,))

    async def delete(self, account: str, request: str) -> str:
        """The name that it had. Not so if there is no such account."""
        return await self._account("DELETE", account, request, None, refused=(404,))

    async def restore(self, account: str, request: str) -> str:
        """The name that it has again. Not so if it is not deleted."""
        path = f"{account}/restore"
        return await self._account("POST", path, request, {}, refused=(404, 409))

    async def get(self, account: str) -> str | None:
        """The account's name; None if there is no such account. So are the next three."""
        status, body = await self._ask("GET", f"/accounts/{account}")
        return None if status == 404 else str(_expect(status, body)["name"])

    async def listed(self, account: str) -> str | None:
        """From the list of all whose ids begin so."""
        body = _expect(*await self._ask("GET", "/accounts", params={"prefix": account}))
        return _named(body["accounts"], account)

    async def found(self, account: str, name: str | None) -> str | None:
        """From the search for a name: that which this client knows last, of whatever became of the
        account meanwhile."""
        body = _expect(*await self._ask("GET", "/accounts/search", params={"name": name or "?"}))
        return _named([one for one in body["accounts"] if one["name"] == name], account)

    async def counted(self, account: str) -> int:
        """How many accounts have ids that begin so: this one, or none."""
        body = _expect(*await self._ask("GET", "/accounts/count", params={"prefix": account}))
        return int(body["count"])

    async def _account(
        self, method: str, path: str, request: str, body: _Body | None, refused: Sequence[int]
    ) -> str:
        answer = await self._change(method, f"/accounts/{path}", request, body, refused)
        return NOT_SO if answer is None else str(answer["name"])

    # The database

    async def unfinished(self) -> int:
        """0, once every job is done or dead. Until then the ledgers are not final, and not told."""
        ((waiting,),) = await self._rows("SELECT count(*) FROM job_keys WHERE final IS NULL")
        if waiting:
            raise Unavailable(f"{waiting} jobs are still to be done")
        return int(waiting)

    async def effects(self) -> list[list[Any]]:
        """The ledger: key, queue, worker, attempt, and from when to when, in seconds of the
        worker's loop."""
        await self.unfinished()
        return await self._rows(
            "SELECT key, queue, worker, attempt, started_s, at_s FROM effects ORDER BY at"
        )

    async def runs(self) -> list[Any]:
        """What time it is, and what cron did: job, window, worker, epoch and time. Times are
        seconds since the epoch of Unix, by the clock of the database."""
        ((now_s,),) = await self._rows("SELECT extract(epoch FROM clock_timestamp())::float8")
        rows = await self._rows(
            "SELECT job, time_window, worker, epoch, extract(epoch FROM at)::float8 "
            "FROM cron_runs ORDER BY at"
        )
        return [now_s, rows]

    async def letters(self) -> list[list[Any]]:
        """Of every job its key, how it ended, and how often it failed."""
        await self.unfinished()
        return await self._rows("SELECT key, final, failures FROM job_keys ORDER BY key")

    async def audit(self) -> list[list[Any]]:
        """Of all rows the action, the subject, the actor and the request."""
        return await self._rows("SELECT action, subject, actor, request_id FROM audit ORDER BY id")

    async def tamper(self) -> list[list[str]]:
        """Try to change the audit log in three ways, as who serves and as who owns the tables, and
        take it back: who, how, and `refused` or `done`."""
        told = []
        for user in (USER, OWNER):
            async with await self._connect(user) as connection:
                for how, statement in _TAMPERING.items():
                    try:
                        await connection.execute(statement.encode())
                        told.append([user, how, "done"])
                    except InsufficientPrivilege:
                        told.append([user, how, "refused"])
                    await connection.rollback()
        return told

    async def _rows(self, query: str) -> list[list[Any]]:
        assert self._sql is not None
        async with self._sql.transaction(), self._sql.cursor() as cursor:
            await cursor.execute(query.encode())
            return [list(row) for row in await cursor.fetchall()]

    async def _connect(self, user: str) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(
            host=self.host,
            port=POSTGRES_PORT,
            dbname=DATABASE,
            user=user,
            password=user,
            connect_timeout=SQL_TIMEOUT_S,
        )

    # Asking

    @property
    def _session(self) -> aiohttp.ClientSession:
        assert self._http is not None
        return self._http

    async def _change(
        self,
        method: str,
        path: str,
        request: str,
        body: _Body | None,
        refused: Sequence[int] = (),
    ) -> _Body | None:
        """The answer to a change, None for one of the statuses that say that it cannot be made."""
        await self._require_there()
        status, answer = await self._ask(method, path, body, headers={"X-Request-Id": request})
        if status in refused:
            return None
        if status in (200, 201):
            return answer
        if answer.get("effect") == "no":
            raise Unavailable(f"{status} {answer.get('error')}")
        raise JobsError(f"{status} {answer.get('error')}")

    async def _require_there(self) -> None:
        """The node is asked first whether it is there: behind a link a connection is accepted even
        if nobody is. One that drains says that it will end the connection. What fails here had no
        effect for certain."""
        try:
            async with self._session.get("/health") as response:
                await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"not there: {error!r}") from error
        if response.status != 200 or response.headers.get("Connection") == "close":
            raise Unavailable("about to end")

    async def _ask(
        self,
        method: str,
        path: str,
        body: _Body | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, _Body]:
        async with self._session.request(
            method, path, json=body, headers=headers, params=params
        ) as response:
            return response.status, await response.json(content_type=None)


class JobsError(Exception):
    """An answer that does not say whether the change was made."""


def _expect(status: int, body: _Body) -> _Body:
    if status != 200:
        raise Unavailable(f"{status} {body.get('error') if isinstance(body, dict) else body}")
    return body


def _named(accounts: Sequence[_Body], account: str) -> str | None:
    return next((str(one["name"]) for one in accounts if one["id"] == account), None)
