"""The HTTP side of a node: what is asked, what is answered, and what both are called."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from primitives.limiter import Limiter
from primitives.telemetry import CONTENT_TYPE, Metrics
from prometheus_client import Histogram

from .conflicts import Journal
from .ownership import Ownership
from .runner import Runner
from .topics import TooManyTopicsError, Topics

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Of workers, topics and keys of the limiter."""

LARGEST_BODY = 16 * 1024
UNAVAILABLE = 503
TOO_MANY = 429
FULL = 507

MOST_WORKERS = 1_000

OTHER = "other"


class Api:
    """Of one node. `limiters` are those of both modes by name; `members` and `ready` are asked when
    users ask."""

    def __init__(
        self,
        *,
        ownership: Ownership,
        runner: Runner,
        journal: Journal,
        topics: Topics,
        limiters: Mapping[str, Limiter],
        members: Callable[[], Mapping[str, Any]],
        ready: Callable[[], list[str]],
        metrics: Metrics,
        tell: Callable[..., None],
    ) -> None:
        self._ownership = ownership
        self._runner = runner
        self._journal = journal
        self._topics = topics
        self._limiters = limiters
        self._members_now = members
        self._not_ready = ready
        self._metrics = metrics
        self._tell = tell
        self._requests = Histogram(
            "cluster_request_seconds",
            "Requests by route, method and class of status.",
            ("route", "method", "status"),
            buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
            registry=metrics.registry,
        )

    def application(self) -> web.Application:
        """All routes."""
        application = web.Application(middlewares=[self._measured], client_max_size=LARGEST_BODY)
        router = application.router
        router.add_get("/workers", self._workers)
        router.add_get("/workers/{name}", self._named(self._worker))
        router.add_put("/workers/{name}", self._named(self._ensure))
        router.add_delete("/workers/{name}", self._named(self._drop))
        router.add_get("/running", self._running)
        router.add_get("/conflicts", self._conflicts)
        router.add_post("/limit/{name}", self._named(self._acquire))
        router.add_get("/topics", self._heads)
        router.add_post("/topics/{name}", self._named(self._publish))
        router.add_get("/topics/{name}", self._named(self._read))
        router.add_get("/members", self._members)
        router.add_get("/health", self._health)
        router.add_get("/ready", self._ready)
        router.add_get("/metrics", self._text)
        return application

    @web.middleware
    async def _measured(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        now = asyncio.get_running_loop().time
        begun = now()
        try:
            response = await handler(request)
        except web.HTTPException as answer:
            response = _json({"error": answer.reason}, answer.status)
        except Exception as error:
            # A bug: it is told, and what was done is not known.
            self._tell("failed", path=request.path, error=repr(error))
            response = _json({"error": "internal"}, 500)
        resource = request.match_info.route.resource
        route = OTHER if resource is None else resource.canonical
        method = request.method if resource is not None else OTHER
        status = f"{response.status // 100}xx"
        self._requests.labels(route, method, status).observe(now() - begun)
        return response

    def _named(
        self, handler: Callable[[web.Request, str], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """A route about something with a name, which is looked at first."""

        async def handle(request: web.Request) -> web.Response:
            name = request.match_info["name"]
            if not NAME.fullmatch(name):
                return _json({"error": "a name has 1 to 64 letters, digits, _ and -"}, 400)
            return await handler(request, name)

        return handle

    # Workers

    async def _workers(self, _request: web.Request) -> web.Response:
        return _json(self._ownership.owners())

    async def _worker(self, _request: web.Request, name: str) -> web.Response:
        owners = self._ownership.owners()
        if name not in owners:
            return _json({"error": "nobody wants this worker"}, 404)
        told: dict[str, Any] = {"owner": owners[name]}
        worker = self._runner.running.get(name)
        if worker is not None:
            told |= {"instance": worker.instance, "ticks": worker.ticks}
        return _json(told)

    async def _ensure(self, request: web.Request, name: str) -> web.Response:
        here = request.query.get("at", "placement")
        if here not in ("placement", "here"):
            return _json({"error": "at: placement or here"}, 400)
        owners = self._ownership.owners()
        if name not in owners and len(owners) >= MOST_WORKERS:
            return _json({"error": f"there are {MOST_WORKERS} workers already"}, FULL)
        owner, started = await self._ownership.ensure(name, here=here == "here")
        return _json({"owner": owner, "started": started}, 201 if started else 200)

    async def _drop(self, _request: web.Request, name: str) -> web.Response:
        return _json({"wanted": self._ownership.drop(name)})

    async def _running(self, _request: web.Request) -> web.Response:
        running = self._runner.running
        return _json({name: running[name].instance for name in sorted(running)})

    async def _conflicts(self, _request: web.Request) -> web.Response:
        journal = self._journal
        told = {"open": journal.open, "resolved": journal.resolved}
        return _json({kind: [dataclasses.asdict(one) for one in all] for kind, all in told.items()})

    # The limiter

    async def _acquire(self, request: web.Request, name: str) -> web.Response:
        limiter = self._limiters.get(request.query.get("mode", "strict"))
        if limiter is None:
            return _json({"error": f"mode: {' or '.join(self._limiters)}"}, 400)
        decision = await limiter.acquire(name)
        if decision.admitted:
            return _json({"admitted": True})
        status = UNAVAILABLE if decision.reason == "unavailable" else TOO_MANY
        response = _json({"admitted": False, "reason": decision.reason}, status)
        response.headers["Retry-After"] = f"{max(1, round(decision.retry_after_s))}"
        return response

    # Topics

    async def _publish(self, request: web.Request, name: str) -> web.Response:
        try:
            body = await request.json()
        except ValueError:
            return _json({"error": "the body is not JSON"}, 400)
        try:
            await self._topics.publish(name, body)
        except TooManyTopicsError as error:
            return _json({"error": str(error)}, FULL)
        return _json({"published": True}, 201)

    async def _read(self, request: web.Request, name: str) -> web.Response:
        since = request.query.get("since", "0")
        if not (since.isascii() and since.isdigit()):
            return _json({"error": "since: how many messages are known already"}, 400)
        messages, after = self._topics.read(name, int(since))
        return _json({"messages": messages, "next": after})

    async def _heads(self, _request: web.Request) -> web.Response:
        return _json(self._topics.heads())

    # The node

    async def _members(self, _request: web.Request) -> web.Response:
        return _json(self._members_now())

    async def _health(self, _request: web.Request) -> web.Response:
        return _json({"status": "alive"})

    async def _ready(self, _request: web.Request) -> web.Response:
        lacking = self._not_ready()
        if lacking:
            return _json({"status": "not ready", "lacking": lacking}, UNAVAILABLE)
        return _json({"status": "ready"})

    async def _text(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type="application/json"
    )
