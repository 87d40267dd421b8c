"""The gate: a router in front of two colours, of which one is active.

Requests go to the active colour, and to the other one while the active one is not healthy and the
other is. What fails on the way, or is answered with a 5xx, is sent once more, to the other colour
if that is healthy. That is safe for everything this service does: reads change nothing, jobs have
keys, and changes of accounts have the id of their request, which the gate gives to those who have
none. A switch (`rollout`) concerns new requests; those under way end where they are.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from .colours import Colours, NoReplyError, Reply
from .http import (
    ACTOR,
    LONGEST_WAIT_S,
    REQUEST_ID,
    BadRequestError,
    Server,
    answer,
    body_of,
    name_of,
    request_id,
    seconds_of,
)
from .logs import Log
from .node import Node
from .rollout import Outcome, Rollout
from .settings import Settings

ACTIVE_FILE = "active.json"
COLOUR = "X-Colour"

_SENT = frozenset({"content-type", "accept", REQUEST_ID.lower(), ACTOR.lower()})
_KEPT = frozenset({"content-type", "retry-after", "x-request-id", "x-deployment", "x-repeated"})


def resolve_colours(settings: Settings) -> dict[str, str]:
    """The address of each colour's node, by colour."""
    return {colour: socket.gethostbyname(host) for colour, host in settings.colours.items()}


class GateNode(Node):
    """`addresses` maps the colours to where they are reached."""

    def __init__(
        self, settings: Settings, addresses: Mapping[str, str], random: random.Random
    ) -> None:
        clock = asyncio.get_running_loop().time
        log = Log(settings.name, settings.deployment, clock)
        super().__init__(settings, Server(settings, clock, random, log), log)
        self._colours = Colours(addresses, settings.name, random, log)
        self._rollout = Rollout(
            tuple(addresses),
            self._colours,
            Path(ACTIVE_FILE),
            settings.watch_s,
            clock,
            log,
            careless=settings.mutant == "gate-without-health-check",  # Mutant.
        )
        self._colours.rollout = self._rollout
        self._probed = tuple(addresses)

    async def _begin(self) -> None:
        application = self._server.application()
        router = application.router
        router.add_get("/ready", self._ready)
        router.add_get("/gate/active", self._active)
        router.add_post("/gate/switch", self._switch)
        router.add_route("*", "/{path:.*}", self._forward)
        for colour in self._probed:
            self._background.begin(f"probe {colour}", self._colours.probe(colour))
        await self._server.start(application)

    async def _drain(self) -> dict[str, int]:
        self._log.info("draining", http=self._server.inside, jobs=0)
        lost = await self._server.drain(self._settings.drain_s)
        return {"http": self._server.answered, "jobs": 0, "lost": lost}

    async def _close(self) -> None:
        await self._colours.close()

    async def _ready(self, _request: web.Request) -> web.Response:
        draining = self._server.draining
        return answer(503 if draining else 200, {"status": "draining" if draining else "ready"})

    async def _active(self, _request: web.Request) -> web.Response:
        rollout = self._rollout
        healthy = {colour: self._colours.good(colour) for colour in self._probed}
        body = {"active": rollout.active, "switching": rollout.switching, "healthy": healthy}
        return answer(200, body)

    async def _switch(self, request: web.Request) -> web.Response:
        to = name_of((await body_of(request)).get("to"), "to")
        outcome = await self._rollout.switch(to)
        return answer(200 if outcome.switched else 409, self._told(outcome))

    async def _forward(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() in _SENT}
        headers[REQUEST_ID] = request_id()
        first = self._rollout.active
        other = self._rollout.other(first)
        if not self._colours.good(first) and self._colours.good(other):
            first, other = other, first
        second = other if self._colours.good(other) else first
        reply: Reply | None = None
        colour, certain = first, True
        for colour in (first, second):
            try:
                reply = await self._colours.send(
                    colour, request.method, request.path_qs, headers, body, _wait_s(request)
                )
            except NoReplyError as error:
                self._log.warning("no-reply", request_id=request_id(), error=str(error))
                reply = None
                certain = certain and error.certain
            else:
                if reply.good:
                    break
                certain = certain and reply.certain
        if reply is None:
            response = answer(502, {"error": "no colour answered"})
        else:
            kept = {name: value for name, value in reply.headers.items() if name.lower() in _KEPT}
            response = web.Response(status=reply.status, body=reply.body, headers=kept)
        if reply is None or not reply.good:
            # Of both tries together: what one of them may have done, nobody knows it was not.
            response.body = json.dumps(
                {"error": f"{colour}: {response.status}", "effect": "no" if certain else "unknown"}
            ).encode()
        response.headers[COLOUR] = colour
        return response

    def _told(self, outcome: Outcome) -> dict[str, Any]:
        return {
            "switched": outcome.switched,
            "rolled_back": outcome.rolled_back,
            "reason": outcome.reason,
            "active": self._rollout.active,
            "requests": outcome.requests,
            "errors": outcome.errors,
        }


def _wait_s(request: web.Request) -> float:
    """How long the request itself says that it may take."""
    try:
        return seconds_of(request.query.get("wait_s", "0"), "wait_s", LONGEST_WAIT_S)
    except BadRequestError:
        return 0.0  # the node will say so
