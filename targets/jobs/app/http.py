"""What all our HTTP servers have in common: requests are counted, named, measured and drained."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import psycopg
from aiohttp import web
from aiohttp.typedefs import Handler

from . import metrics
from .accounts import RefusedError
from .database import UnavailableError
from .logs import Clock, Log
from .settings import Settings

REQUEST_ID = "X-Request-Id"
ACTOR = "X-Actor"
DEPLOYMENT = "X-Deployment"
NAME = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9_:.-]{0,127}")
"""What keys, ids, actors and the ids of requests are made of."""

LONGEST_WAIT_S = 5.0
"""The longest that a request may ask to be kept waiting."""

LARGEST_BODY = 64 * 1024
KEEPALIVE_S = 75.0
SHUTDOWN_S = 0.2
LINGER_S = 0.3
"""For so long after SIGTERM new requests are still taken: whoever has just seen this node ready may
send the request that it asked for."""

WATCHING = frozenset({"/health", "/ready", "/metrics", "/role"})
"""Paths that are about the node. Nobody waits for them when it drains."""

_UNTOLD = WATCHING | {"/smoke"}
"""Paths that are asked so often, and for nobody, that they are not logged."""

_REQUEST_ID: ContextVar[str] = ContextVar("request_id")


def request_id() -> str:
    """The id of the request that is being answered."""
    return _REQUEST_ID.get()


class BadRequestError(Exception):
    """What was asked is not a request. Nothing was done."""


class Server:
    """One server. `inside` counts the requests that were accepted and not answered; `answered`
    those that were since the drain began."""

    def __init__(self, settings: Settings, clock: Clock, random: random.Random, log: Log) -> None:
        self.draining = False
        self.inside = 0
        self.answered = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._settings = settings
        self._clock = clock
        self._random = random
        self._log = log
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None

    def application(self) -> web.Application:
        """An empty application; add routes to it and hand it to `start`."""
        application = web.Application(middlewares=[self._around], client_max_size=LARGEST_BODY)
        application.router.add_get("/health", self._health)
        application.router.add_get("/metrics", self._metrics)
        return application

    async def start(self, application: web.Application) -> None:
        self._runner = web.AppRunner(
            application,
            handle_signals=False,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=SHUTDOWN_S,
        )
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, self._settings.address, self._settings.port)
        await self._site.start()
        self._log.info("started", port=self._settings.port)

    def drain_begins(self) -> None:
        """From now on this node is not ready."""
        self.draining = True
        self.answered = 0

    async def drain(self, within_s: float) -> int:
        """Take no more connections and wait for the requests inside. How many were not answered in
        time, and are lost."""
        assert self._site is not None
        await asyncio.sleep(LINGER_S)
        await self._site.stop()
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            self._log.warning("drain-timeout", http=self.inside)
        return self.inside

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        watching = request.path in WATCHING
        begun = self._clock()
        own_id = request.headers.get(REQUEST_ID, "")
        if not NAME.fullmatch(own_id):
            own_id = f"{self._random.getrandbits(128):032x}"
        _REQUEST_ID.set(own_id)
        if not watching:
            self._enter()
        try:
            response = await self._answer(request, handler)
        finally:
            if not watching:
                self._leave()
        resource = request.match_info.route.resource
        route = metrics.OTHER if resource is None else resource.canonical
        took_s = self._clock() - begun
        metrics.requested(route, request.method, response.status, took_s)
        if request.path not in _UNTOLD:
            self._log.info(
                "request",
                request_id=own_id,
                method=request.method,
                route=route,
                status=response.status,
                took_s=round(took_s, 4),
            )
        if not response.prepared:
            response.headers[REQUEST_ID] = own_id
            response.headers.setdefault(DEPLOYMENT, self._settings.deployment)
            if self.draining:
                response.force_close()
                response.headers["Connection"] = "close"
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except BadRequestError as error:
            return answer(400, {"error": str(error), "effect": "no"})
        except RefusedError as error:
            return answer(error.status, {"error": str(error), "effect": "no"})
        except UnavailableError as error:
            effect = "no" if error.certain else "unknown"
            self._log.warning(
                "unavailable", request_id=request_id(), effect=effect, error=str(error)
            )
            response = answer(503, {"error": str(error), "effect": effect})
            response.headers["Retry-After"] = "1"
            return response
        except psycopg.DataError as error:
            # A text that PostgreSQL cannot hold (a NUL in it); the transaction is undone.
            return answer(400, {"error": str(error).splitlines()[0], "effect": "no"})
        except web.HTTPException as error:
            return answer(error.status, {"error": error.reason, "effect": "no"})
        except Exception as error:
            # A bug. Nobody knows what was done; the request may be repeated.
            self._log.warning("failed", request_id=request_id(), error=repr(error))
            return answer(500, {"error": "internal", "effect": "unknown"})

    def _enter(self) -> None:
        self.inside += 1
        self._idle.clear()
        metrics.in_flight(self.inside)

    def _leave(self) -> None:
        self.inside -= 1
        self.answered += 1
        if not self.inside:
            self._idle.set()
        metrics.in_flight(self.inside)

    async def _health(self, _request: web.Request) -> web.Response:
        return answer(200, {"status": "alive"})

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": metrics.CONTENT_TYPE})


def answer(status: int, body: Any) -> web.Response:
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type="application/json"
    )


async def body_of(request: web.Request) -> Mapping[str, Any]:
    """The JSON object that was sent. Raises `BadRequestError`."""
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise BadRequestError("the body is not a JSON object")
    return body


def name_of(value: Any, what: str) -> str:
    """A name as it may be. Raises `BadRequestError`."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise BadRequestError(f"{what}: 1 to 128 letters, digits and _ : . -, not with a dot first")
    return value


def whole_of(value: Any, what: str, least: int, most: int) -> int:
    """A whole number, or a text that is one, within the bounds. Raises `BadRequestError`."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        value = int(value)
    if type(value) is not int or not least <= value <= most:
        raise BadRequestError(f"{what}: a whole number from {least} to {most}")
    return value


def seconds_of(value: Any, what: str, most: float) -> float:
    """A number of seconds from 0, or a text that is one. Raises `BadRequestError`."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise BadRequestError(f"{what}: seconds from 0 to {most:g}")
    return float(value)
