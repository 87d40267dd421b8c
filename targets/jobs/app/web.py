"""The HTTP side of the service: what is asked, what is answered, and what both are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from aiohttp import web
from aiohttp.typedefs import Handler

from . import schema
from .accounts import Account, Accounts, Change
from .audit import MOST_ROWS, Audit, Entry, Who
from .database import Database, UnavailableError
from .http import (
    ACTOR,
    LONGEST_WAIT_S,
    NAME,
    WATCHING,
    BadRequestError,
    Server,
    answer,
    body_of,
    name_of,
    request_id,
    seconds_of,
    whole_of,
)
from .jobs import Job, Jobs, Order
from .schema import READY
from .settings import Settings
from .waiting import Waiting

LONGEST_NAME = 200
LONGEST_TEXT = 256
LONGEST_WORK_MS = 60_000
LATEST_RUN_S = 86_400.0
MOST_PRIORITY = 1000
AUDIT_PAGE = 1000
SMOKE = "smoke"

DEPLOYMENTS = frozenset({"switched", "rolled-back", "refused"})
TAMPERING: Mapping[str, str] = {
    "update": "UPDATE audit SET actor = 'nobody'",
    "delete": "DELETE FROM audit",
    "truncate": "TRUNCATE audit",
}


class Web:
    """Of one web node."""

    def __init__(
        self,
        settings: Settings,
        server: Server,
        database: Database,
        jobs: Jobs,
        accounts: Accounts,
        audit: Audit,
        waiting: Waiting,
    ) -> None:
        self.migrated = False
        self._settings = settings
        self._server = server
        self._database = database
        self._jobs = jobs
        self._accounts = accounts
        self._audit = audit
        self._waiting = waiting
        self._ordinary = 0

    def application(self) -> web.Application:
        application = self._server.application()
        application.middlewares.append(self._released)
        router = application.router
        router.add_get("/ready", self._ready)
        router.add_get("/smoke", self._smoke)
        router.add_post("/jobs", self._enqueue)
        router.add_get("/jobs/{key}", self._find)
        router.add_post("/jobs/{key}/cancel", self._cancel)
        router.add_post("/jobs/{key}/requeue", self._requeue)
        router.add_get("/queues", self._queues)
        router.add_get("/effects", self._effects)
        router.add_get("/cron", self._cron)
        router.add_get("/unfinished", self._unfinished)
        router.add_get("/stats", self._stats)
        router.add_get("/accounts", self._list)
        router.add_get("/accounts/search", self._search)
        router.add_get("/accounts/count", self._count)
        router.add_get("/accounts/{id}", self._get)
        router.add_post("/accounts/{id}", self._create)
        router.add_patch("/accounts/{id}", self._rename)
        router.add_delete("/accounts/{id}", self._delete)
        router.add_post("/accounts/{id}/restore", self._restore)
        router.add_get("/audit", self._audit_page)
        router.add_post("/audit/tamper", self._tamper)
        router.add_post("/deployments", self._deployment)
        return application

    @web.middleware
    async def _released(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """What is wrong with this release, if something is, and nothing before there is a
        schema."""
        if request.path in WATCHING:
            return await handler(request)
        if not self.migrated:
            raise UnavailableError("the schema is not there yet", certain=True)
        release = self._settings.release
        if request.path != "/smoke":
            self._ordinary += 1
        broken = release == "fails" or (
            release == "fails-later" and request.path != "/smoke" and self._ordinary % 3 == 0
        )
        if broken:
            return answer(500, {"error": "this release is broken", "effect": "no"})
        return await handler(request)

    async def _ready(self, _request: web.Request) -> web.Response:
        state = self._state()
        if state == READY:
            state = await schema.state(self._database)
        if state == READY:
            state = self._state()  # it may have been asked to end meanwhile
        return answer(200 if state == READY else 503, {"status": state})

    def _state(self) -> str:
        if self._server.draining:
            return "draining"
        waits = not self.migrated or self._settings.release == "never-ready"
        return "starting" if waits else READY

    async def _smoke(self, _request: web.Request) -> web.Response:
        """A write as any other, that is rolled back at the end."""
        async with (
            self._database.connection() as connection,
            connection.transaction(force_rollback=True),
        ):
            await connection.execute(
                "INSERT INTO accounts (id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [f"{SMOKE}.{self._settings.name}", SMOKE],
            )
        return answer(200, {"status": "smoke passed"})

    async def _enqueue(self, request: web.Request) -> web.Response:
        order = _order(await body_of(request), self._settings.queues)
        enqueued = await self._jobs.enqueue(order, _who(request))
        body = _job(enqueued.job)
        if enqueued.how == "duplicate":
            body["duplicate"] = True
        return answer(201 if enqueued.how == "new" else 200, body)

    async def _find(self, request: web.Request) -> web.Response:
        key = _key(request)
        wait_s = seconds_of(request.query.get("wait_s", "0"), "wait_s", LONGEST_WAIT_S)
        job = await self._jobs.find(key)
        if job is not None and not job.finished and wait_s > 0:
            await self._waiting.until_finished(key, wait_s)
            job = await self._jobs.find(key)
        if job is None:
            return answer(404, {"error": f"there is no job {key}", "effect": "no"})
        return answer(200, _job(job))

    async def _cancel(self, request: web.Request) -> web.Response:
        return answer(200, _job(await self._jobs.cancel(_key(request), _who(request))))

    async def _requeue(self, request: web.Request) -> web.Response:
        return answer(200, _job(await self._jobs.requeue(_key(request), _who(request))))

    async def _queues(self, _request: web.Request) -> web.Response:
        return answer(200, {"queues": await self._jobs.queues()})

    async def _effects(self, _request: web.Request) -> web.Response:
        return answer(200, await self._jobs.effects())

    async def _cron(self, _request: web.Request) -> web.Response:
        rows = await self._database.fetch_all(
            "SELECT job, time_window, worker, epoch, at_s FROM cron_runs ORDER BY at"
        )
        return answer(200, [list(row) for row in rows])

    async def _unfinished(self, _request: web.Request) -> web.Response:
        return answer(200, {"unfinished": await self._jobs.unfinished()})

    async def _stats(self, _request: web.Request) -> web.Response:
        row = await self._database.fetch_one(
            "SELECT (SELECT count(*) FROM procrastinate_jobs), (SELECT count(*) FROM job_keys), "
            "(SELECT count(*) FROM audit), (SELECT count(*) FROM effects), "
            "(SELECT count(*) FROM procrastinate_workers), (SELECT count(*) FROM live_accounts), "
            "(SELECT count(*) FROM accounts WHERE deleted_at IS NOT NULL)"
        )
        assert row is not None
        names = ("jobs", "keys", "audit", "effects", "workers", "accounts", "deleted")
        return answer(200, dict(zip(names, row, strict=True)))

    async def _list(self, request: web.Request) -> web.Response:
        return _listed(await self._accounts.page(request.query.get("prefix", "")))

    async def _search(self, request: web.Request) -> web.Response:
        return _listed(await self._accounts.search(request.query.get("name", "")))

    async def _count(self, request: web.Request) -> web.Response:
        return answer(200, {"count": await self._accounts.count(request.query.get("prefix", ""))})

    async def _get(self, request: web.Request) -> web.Response:
        id = _id(request)
        account = await self._accounts.get(id)
        if account is None:
            return answer(404, {"error": f"there is no account {id}", "effect": "no"})
        return answer(200, account.body())

    async def _create(self, request: web.Request) -> web.Response:
        name = _account_name(await body_of(request))
        change = await self._accounts.create(_id(request), name, _who(request))
        return _changed(change, 201)

    async def _rename(self, request: web.Request) -> web.Response:
        name = _account_name(await body_of(request))
        return _changed(await self._accounts.rename(_id(request), name, _who(request)))

    async def _delete(self, request: web.Request) -> web.Response:
        return _changed(await self._accounts.delete(_id(request), _who(request)))

    async def _restore(self, request: web.Request) -> web.Response:
        return _changed(await self._accounts.restore(_id(request), _who(request)))

    async def _audit_page(self, request: web.Request) -> web.Response:
        query = request.query
        after = whole_of(query.get("after", "0"), "after", 0, 2**62)
        limit = whole_of(query.get("limit", str(AUDIT_PAGE)), "limit", 1, MOST_ROWS)
        rows = await self._audit.page(self._database, after, limit, query.get("subject"))
        following = rows[-1]["id"] if len(rows) == limit else None
        return answer(200, {"rows": rows, "next": following})

    async def _tamper(self, request: web.Request) -> web.Response:
        """A drill: does what must be refused, in a transaction that is rolled back all the same."""
        how = str((await body_of(request)).get("how"))
        if how not in TAMPERING:
            raise BadRequestError(f"how: one of {', '.join(TAMPERING)}")
        try:
            async with (
                self._database.connection() as connection,
                connection.transaction(force_rollback=True),
            ):
                await connection.execute(TAMPERING[how].encode())
        except psycopg.errors.InsufficientPrivilege as error:
            return answer(403, {"error": str(error).splitlines()[0], "effect": "no"})
        return answer(200, {"how": how, "refused": False})

    async def _deployment(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        action, to = body.get("action"), name_of(body.get("to"), "to")
        if action not in DEPLOYMENTS:
            raise BadRequestError(f"action: one of {', '.join(sorted(DEPLOYMENTS))}")
        after = {"to": to, "reason": str(body.get("reason", ""))[:LONGEST_TEXT]}
        before = {"active": str(body.get("from", ""))[:LONGEST_TEXT]}
        entry = Entry(_who(request), f"deploy.{action}", to, before, after)
        try:
            async with self._database.transaction() as connection:
                await self._audit.record(connection, entry)
        except psycopg.errors.UniqueViolation:
            return answer(200, after)  # a repeated request
        return answer(201, after)


def _order(body: Mapping[str, Any], queues: Mapping[str, int]) -> Order:
    queue = body.get("queue")
    if not isinstance(queue, str) or queue not in queues:
        raise BadRequestError(f"queue: one of {', '.join(queues)}")
    args = body.get("args", {})
    if not isinstance(args, dict):
        raise BadRequestError("args: a JSON object")
    whole_of(args.get("work_ms", 0), "args.work_ms", 0, LONGEST_WORK_MS)
    whole_of(args.get("fails", 0), "args.fails", 0, LONGEST_WORK_MS)
    unique = body.get("unique")
    if unique is not None and not (isinstance(unique, str) and 0 < len(unique) <= LONGEST_TEXT):
        raise BadRequestError(f"unique: a text of 1 to {LONGEST_TEXT} characters")
    return Order(
        key=name_of(body.get("key"), "key"),
        queue=queue,
        args=args,
        priority=whole_of(body.get("priority", 0), "priority", -MOST_PRIORITY, MOST_PRIORITY),
        run_in_s=seconds_of(body.get("run_in_s", 0), "run_in_s", LATEST_RUN_S),
        unique=unique,
    )


def _who(request: web.Request) -> Who:
    actor = request.headers.get(ACTOR, "")
    return Who(actor if NAME.fullmatch(actor) else "anonymous", request_id())


def _key(request: web.Request) -> str:
    return name_of(request.match_info["key"], "key")


def _id(request: web.Request) -> str:
    return name_of(request.match_info["id"], "id")


def _account_name(body: Mapping[str, Any]) -> str:
    name = body.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or "\0" in name:
        raise BadRequestError(f"name: a text of 1 to {LONGEST_NAME} characters")
    return name


def _job(job: Job) -> dict[str, Any]:
    return {
        "key": job.key,
        "id": job.id,
        "queue": job.queue,
        "state": job.state,
        "attempt": job.attempt,
        "failures": job.failures,
        "takeovers": job.takeovers,
        "error": job.error,
    }


def _listed(accounts: list[Account]) -> web.Response:
    return answer(200, {"accounts": [account.body() for account in accounts]})


def _changed(change: Change, status: int = 200) -> web.Response:
    response = answer(status, change.account.body())
    if change.repeated:
        response.headers["X-Repeated"] = "1"
    return response
