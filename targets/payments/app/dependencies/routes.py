"""The HTTP side of each dependency: which requests it answers, and from what."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from aiohttp import web

from ..logs import Clock
from ..settings import Settings
from .database import GroupCommit, open_database
from .keys import Keys
from .ledger import Ledger

SWEEP_INTERVAL_S = 0.25
SWEEP_LIMIT = 500
CLAIM_LIMIT = 20
FORGOTTEN_EARLY_S = 0.3

DATABASE = "data.sqlite"

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.Response]]


def routes_of(settings: Settings, home: Path, clock: Clock) -> web.Application:
    """The application of the dependency that `settings` names, with its data in `home`."""
    application = web.Application()
    application.router.add_get("/health", _health)
    match settings.name:
        case "provider" | "notifications":
            _ledger(application, home)
        case "analytics":
            _counter(application)
        case "store":
            _store(application, home, clock, settings)
        case name:
            raise ValueError(f"There is no dependency {name}.")
    return application


def lifetime_s(settings: Settings) -> float:
    """How long the store keeps a key, in seconds of its own clock."""
    match settings.mutant:
        case "key-forgotten-early":  # Mutant: most retries come later.
            return FORGOTTEN_EARLY_S
        case "keys-never-expire":  # Mutant: the table grows for ever.
            return math.inf
    return settings.key_lifetime_s / settings.clock_speed


def _ledger(application: web.Application, home: Path) -> None:
    connection = open_database(home / DATABASE)
    ledger, commit = Ledger(connection), GroupCommit(connection)

    async def add(request: web.Request) -> web.Response:
        body = await request.json()
        id, key, amount = str(body["id"]), str(body["key"]), int(body["amount"])
        added = await commit.run(lambda: ledger.add(id, key, amount))
        return _answer({"id": id, "added": added})

    async def entries(_request: web.Request) -> web.Response:
        return _answer(ledger.entries())

    application.router.add_post("/entries", add)
    application.router.add_get("/ledger", entries)


def _counter(application: web.Application) -> None:
    counts = {"charges": 0, "amount": 0}

    async def add(request: web.Request) -> web.Response:
        for event in await request.json():
            counts["charges"] += 1
            counts["amount"] += int(event["amount"])
        return _answer(counts)

    async def total(_request: web.Request) -> web.Response:
        return _answer(counts)

    application.router.add_post("/events", add)
    application.router.add_get("/counts", total)


def _store(application: web.Application, home: Path, clock: Clock, settings: Settings) -> None:
    connection = open_database(home / DATABASE)
    keys, commit = Keys(connection, clock, lifetime_s(settings)), GroupCommit(connection)
    if settings.mutant == "keys-not-durable":  # Mutant: as if they were held in memory.
        keys.forget()

    def changing(work: Callable[[Mapping[str, Any]], Any]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            body = await request.json()
            return _answer(await commit.run(lambda: work(body)))

        return handle

    async def find(request: web.Request) -> web.Response:
        return _answer(keys.find(request.match_info["key"]))

    async def claim(_request: web.Request) -> web.Response:
        # Relays ask often, and mostly there is nothing: that must not cost a commit.
        if not keys.due():
            return _answer([])
        return _answer(await commit.run(lambda: keys.claim(CLAIM_LIMIT)))

    async def stats(_request: web.Request) -> web.Response:
        return _answer(keys.counts())

    async def sweeping(_application: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(_sweep(keys, commit))
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    router = application.router
    router.add_post("/begin", changing(lambda body: keys.begin(**body)))
    router.add_post("/finish", changing(lambda body: keys.finish(**body)))
    router.add_post("/release", changing(lambda body: keys.release(**body)))
    router.add_post("/delivered", changing(lambda body: keys.delivered(**body)))
    router.add_post("/claim", claim)
    router.add_get("/keys/{key}", find)
    router.add_get("/stats", stats)
    application.cleanup_ctx.append(sweeping)


async def _sweep(keys: Keys, commit: GroupCommit) -> None:
    """Delete what expired, in batches small enough that nobody waits for them."""
    while True:
        await asyncio.sleep(SWEEP_INTERVAL_S)
        while keys.expired():
            await commit.run(lambda: keys.sweep(SWEEP_LIMIT))


async def _health(_request: web.Request) -> web.Response:
    return _answer({"status": "alive"})


def _answer(value: Any) -> web.Response:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return web.Response(body=json.dumps(value).encode(), content_type="application/json")
