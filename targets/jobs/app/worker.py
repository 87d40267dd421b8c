"""A worker: runs jobs, looks for those of workers that are gone, and may lead the cron jobs."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import procrastinate
from aiohttp import web
from procrastinate import worker as library
from procrastinate.job_context import JobContext

from . import schema
from .accounts import Accounts
from .audit import Audit
from .backoff import Backoff
from .cron import Cron
from .database import Database, UnavailableError, as_owner, as_user
from .execution import Execution, Run
from .http import Server, answer
from .leader import Leader
from .listener import Listener
from .logs import Log
from .node import Node
from .pruning import Pruning
from .queue import Connector, Manager
from .recovery import Recovery
from .schema import READY, migrate_when_possible
from .settings import Settings
from .work import works

CONNECTIONS = 8
POLL_S = 0.1
"""How often a worker asks for jobs that nobody told it of: those whose time has come."""

NEVER_S = 1e6
"""procrastinate would strike workers off its list when one starts; `Recovery` does that here."""

FINISH_SHARE = 0.6
"""The share of the time for draining in which running jobs may finish. Then they are handed
back."""

AGAIN = Backoff(base_s=0.1, cap_s=1.0)
CRON = "cron"


class WorkerNode(Node):
    """`host` is the address of the database."""

    def __init__(self, settings: Settings, host: str, random: random.Random) -> None:
        clock = asyncio.get_running_loop().time
        log = Log(settings.name, settings.deployment, clock)
        server = Server(settings, clock, random, log)
        super().__init__(settings, server, log)
        self._clock = clock
        self._random = random
        self._owner = as_owner(settings, host)
        user = as_user(settings, host)
        self._database = Database(user, CONNECTIONS)
        # Connections of its own: heartbeats and the lease do not wait for jobs.
        self._vital = Database(user, 4)
        self._audit = Audit(settings)
        accounts = Accounts(self._database, self._audit, settings)
        connector = Connector(self._vital, Listener(user, random))
        manager = Manager(
            connector,
            log,
            own_only=settings.mutant == "limit-per-worker",  # Mutant.
            struck_off=self._register_anew,
        )
        self._execution = Execution(
            self._database,
            self._audit,
            works(accounts),
            settings,
            clock,
            random,
            log,
            self._register_anew,
        )
        self._manager = manager
        self._app = _app(connector, manager, settings, self._execution)
        self._leader = Leader(
            CRON,
            f"{settings.name}.{random.getrandbits(64):016x}",
            settings,
            self._vital,
            clock,
            random,
            log,
        )
        self._cron = Cron(self._vital, self._leader, settings, clock, log)
        self._recovery = Recovery(manager, self._execution, settings, random, log)
        self._pruning = Pruning(self._database, accounts, self._leader, settings, random, log)
        self._worker: library.Worker | None = None
        self._working: asyncio.Task[None] | None = None

    async def _begin(self) -> None:
        application = self._server.application()
        application.router.add_get("/ready", self._ready)
        application.router.add_get("/role", self._role)
        await self._server.start(application)
        self._working = self._background.begin("work", self._work())

    async def _work(self) -> None:
        """Registered as a worker, again and again: whenever the connection is lost, procrastinate's
        worker ends, and what it ran is finished or handed back first."""
        await migrate_when_possible(self._owner, self._settings, self._log, self._random)
        self._background.begin("leader", self._leader.run())
        self._background.begin("heart", self._beat())
        self._background.begin("cron", self._cron.run())
        self._background.begin("recovery", self._recovery.run())
        self._background.begin("pruning", self._pruning.run())
        if self._settings.mutant == "audit-outside-transaction":  # Mutant.
            self._background.begin("audit", self._audit.write_later(self._database))
        failures = 0
        while not self._server.draining:
            begun = self._clock()
            try:
                self._worker = self._new_worker()
                await self._worker.run()  # type: ignore[no-untyped-call]
            except (procrastinate.exceptions.ConnectorException, UnavailableError) as error:
                self._log.warning("worker-cut-off", error=str(error))
            finally:
                self._worker = None
            failures = 0 if self._clock() - begun > AGAIN.cap_s else failures + 1
            if failures and not self._server.draining:
                await asyncio.sleep(AGAIN.delay_s(failures, self._random))

    async def _beat(self) -> None:
        """The heartbeats of whatever worker is registered, until it is not any more.
        procrastinate's own stop before a worker that is to end has waited for its jobs, which the
        others would take for a dead one's; and if one of them fails nobody notices, as it watches
        its side tasks only until the first has ended, which is at once if there are no periodic
        tasks."""
        known: int | None = None
        while True:
            worker_id = None if self._worker is None else self._worker.worker_id
            if worker_id is not None and worker_id != known:
                self._log.info("registered", worker=worker_id)
                known = worker_id
            if worker_id is not None:
                await self._manager.update_heartbeat(worker_id)
            await asyncio.sleep(self._settings.heartbeat_s)

    def _new_worker(self) -> library.Worker:
        settings = self._settings
        return library.Worker(
            self._app,
            queues=list(settings.queues),
            name=settings.name,
            concurrency=settings.concurrency,
            fetch_job_polling_interval=POLL_S,
            abort_job_polling_interval=NEVER_S,
            shutdown_graceful_timeout=settings.drain_s * FINISH_SHARE,
            install_signal_handlers=False,
            update_heartbeat_interval=NEVER_S,
            stalled_worker_timeout=NEVER_S,
        )

    def _register_anew(self) -> None:
        """Under the old registration there is a job that nobody runs, or it is not there any
        more."""
        if self._worker is not None:
            self._worker.stop()  # type: ignore[no-untyped-call]

    async def _drain(self) -> dict[str, int]:
        execution, drain_s = self._execution, self._settings.drain_s
        running = len(execution.running)
        self._log.info("draining", http=0, jobs=running)
        finished, handed_back, lost = execution.finished, execution.handed_back, execution.lost
        execution.hurry(self._clock() + drain_s)
        if self._worker is not None:
            self._worker.stop()  # type: ignore[no-untyped-call]
        left = 0
        if self._working is not None:
            await asyncio.wait([self._working], timeout=drain_s + 1)
            left = len(execution.running)
        await self._server.drain(drain_s)
        return {
            "http": 0,
            "jobs": execution.finished - finished,
            "handed_back": execution.handed_back - handed_back,
            "lost": execution.lost - lost + left,
        }

    async def _close(self) -> None:
        await self._database.close()
        await self._vital.close()

    async def _ready(self, _request: web.Request) -> web.Response:
        state = self._state()
        if state == READY:
            state = await schema.state(self._vital)
        if state == READY:
            state = self._state()  # it may have been asked to end meanwhile
        return answer(200 if state == READY else 503, {"status": state})

    def _state(self) -> str:
        if self._server.draining:
            return "draining"
        registered = self._worker is not None and self._worker.worker_id is not None
        return READY if registered else "not registered"

    async def _role(self, _request: web.Request) -> web.Response:
        """From memory alone: it is answered without a database as well."""
        lease = self._leader.lease
        body: dict[str, Any] = {
            "role": "follower" if lease is None else "leader",
            "leader": lease is not None,
            "epoch": None if lease is None else lease.epoch,
            "running": self._execution.running,
            "worker": None if self._worker is None else self._worker.worker_id,
        }
        return answer(200, body)


def _app(
    connector: Connector, manager: Manager, settings: Settings, execution: Execution
) -> procrastinate.App:
    """One task per queue, all of them runs of `execution`."""
    app = procrastinate.App(connector=connector)
    app.job_manager = manager

    async def run(context: JobContext, /, **_arguments: Any) -> None:
        await execution.run(Run.of(context.job))

    for queue in settings.queues:
        app.task(name=queue, queue=queue, pass_context=True)(run)
    return app
