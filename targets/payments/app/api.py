"""The HTTP side of the service: what is asked, what is answered, and what both are called."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from . import metrics
from .charges import Answer, Charges
from .feed import Feed
from .logs import Clock, Log
from .settings import Settings

MOST_AMOUNT = 10**9
KEY = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9_:.-]{0,127}")
LONGEST_ACCOUNT = 64
LARGEST_BODY = 16 * 1024
SHARED_SLOTS = 2

_WATCHING = frozenset({"/health", "/ready", "/metrics"})


class Api:
    """Of one worker. `inside` counts the requests that were accepted and not answered."""

    def __init__(
        self, settings: Settings, charges: Charges, feed: Feed, clock: Clock, log: Log
    ) -> None:
        self.draining = False
        self.inside = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._charges = charges
        self._feed = feed
        self._clock = clock
        self._log = log
        self._pool: asyncio.Semaphore | None = None
        if settings.mutant == "no-bulkhead":  # Mutant: one pool for all (and see `guard`).
            self._pool = asyncio.Semaphore(SHARED_SLOTS)

    def application(self) -> web.Application:
        application = web.Application(
            middlewares=[self._measured, self._pooled], client_max_size=LARGEST_BODY
        )
        router = application.router
        router.add_post("/charges", self._charge)
        router.add_get("/charges/{key}", self._find)
        router.add_get("/feed", self._page)
        router.add_get("/health", self._health)
        router.add_get("/ready", self._ready)
        router.add_get("/metrics", self._metrics)
        return application

    @web.middleware
    async def _measured(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = self._clock()
        self.inside += 1
        self.idle.clear()
        response: web.StreamResponse
        try:
            response = await handler(request)
        except web.HTTPException as answer:
            response = _json(answer.status, {"error": answer.reason, "charged": "no"})
        except Exception as error:
            # A bug. Nobody knows what was done; the client may repeat the request.
            self._log.warning("failed", error=repr(error))
            response = _json(
                503, {"error": "internal", "degraded": "service", "charged": "unknown"}
            )
            response.headers["Retry-After"] = "1"
        finally:
            self.inside -= 1
            if not self.inside:
                self.idle.set()
        resource = request.match_info.route.resource
        route = metrics.OTHER if resource is None else resource.canonical
        metrics.requested(route, request.method, response.status, self._clock() - begun)
        if self.draining:
            response.force_close()
            response.headers["Connection"] = "close"
        return response

    @web.middleware
    async def _pooled(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        shared = None if request.path in _WATCHING else self._pool
        async with shared or contextlib.nullcontext():
            return await handler(request)

    async def _charge(self, request: web.Request) -> web.Response:
        key = request.headers.get("Idempotency-Key", "")
        if not KEY.fullmatch(key):
            return _bad(
                "Idempotency-Key: 1 to 128 letters, digits and _ : . -, not with a dot first"
            )
        try:
            body = await request.json()
            account, amount = body["account"], body["amount"]
        except (ValueError, KeyError, TypeError):
            return _bad("the body is not a JSON object with account and amount")
        if not isinstance(account, str) or not 1 <= len(account) <= LONGEST_ACCOUNT:
            return _bad(f"account: a text of 1 to {LONGEST_ACCOUNT} characters")
        if type(amount) is not int or not 1 <= amount <= MOST_AMOUNT:
            return _bad(f"amount: a whole number from 1 to {MOST_AMOUNT}")
        begun = self._clock()
        answer = await self._charges.charge(key, account, amount)
        self._log.info(
            "charge",
            key=key,
            status=answer.status,
            charged=answer.body["charged"],
            took_s=round(self._clock() - begun, 4),
        )
        return _of(answer)

    async def _find(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        if not KEY.fullmatch(key):
            return _bad("no such key can be")
        return _of(await self._charges.find(key))

    async def _page(self, request: web.Request) -> web.Response:
        page = request.query.get("page", "0")
        if not (page.isascii() and page.isdigit() and int(page) < self._feed.pages):
            return _bad(f"page: a number from 0 to {self._feed.pages - 1}")
        offers = [dataclasses.asdict(offer) for offer in self._feed.page(int(page))]
        return _json(200, {"page": int(page), "offers": offers})

    async def _health(self, _request: web.Request) -> web.Response:
        return _json(200, {"status": "alive"})

    async def _ready(self, _request: web.Request) -> web.Response:
        # Nothing about dependencies: a node that is taken out because one is down helps nobody,
        # and takes the feed with it.
        if self.draining:
            return _json(503, {"status": "draining"})
        return _json(200, {"status": "ready"})

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": metrics.CONTENT_TYPE})


def _of(answer: Answer) -> web.Response:
    response = _json(answer.status, answer.body)
    response.headers.update(answer.headers)
    return response


def _bad(error: str) -> web.Response:
    return _json(400, {"error": error, "charged": "no"})


def _json(status: int, body: Mapping[str, Any]) -> web.Response:
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type="application/json"
    )
