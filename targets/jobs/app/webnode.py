"""A web node: the API, and what it needs."""

from __future__ import annotations

import asyncio
import random

from .accounts import Accounts
from .audit import Audit
from .database import Database, as_owner, as_user
from .http import Server
from .jobs import Jobs
from .listener import Listener
from .logs import Log
from .node import Node
from .queue import Connector, Manager
from .schema import migrate_when_possible
from .settings import Settings
from .waiting import Waiting
from .web import Web

CONNECTIONS = 8
HURRY_SHARE = 0.5
"""After this share of the time for draining, those who wait for jobs are answered all the same."""


class WebNode(Node):
    """`host` is the address of the database."""

    def __init__(self, settings: Settings, host: str, random: random.Random) -> None:
        clock = asyncio.get_running_loop().time
        log = Log(settings.name, settings.deployment, clock)
        server = Server(settings, clock, random, log)
        super().__init__(settings, server, log)
        self._owner = as_owner(settings, host)
        self._random = random
        user = as_user(settings, host)
        self._database = Database(user, CONNECTIONS)
        self._audit = Audit(settings)
        manager = Manager(Connector(self._database), log)
        jobs = Jobs(self._database, manager, self._audit, settings)
        self._waiting = Waiting(jobs, Listener(user, random), log)
        accounts = Accounts(self._database, self._audit, settings)
        self._web = Web(
            settings, server, self._database, jobs, accounts, self._audit, self._waiting
        )

    async def _begin(self) -> None:
        await self._server.start(self._web.application())
        self._background.begin("migrations", self._migrate())
        self._background.begin("waiting", self._waiting.run())
        if self._settings.mutant == "audit-outside-transaction":  # Mutant.
            self._background.begin("audit", self._audit.write_later(self._database))

    async def _migrate(self) -> None:
        await migrate_when_possible(self._owner, self._settings, self._log, self._random)
        self._web.migrated = True

    async def _drain(self) -> dict[str, int]:
        self._log.info("draining", http=self._server.inside, jobs=0)
        loop, drain_s = asyncio.get_running_loop(), self._settings.drain_s
        loop.call_later(drain_s * HURRY_SHARE, self._waiting.hurry)
        lost = await self._server.drain(drain_s)
        return {"http": self._server.answered, "jobs": 0, "lost": lost}

    async def _close(self) -> None:
        await self._database.close()
