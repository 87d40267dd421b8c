"""One worker of a member: serves the shared socket until it is told to drain."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from collections.abc import Mapping

from aiohttp import web

from .analytics import Analytics
from .api import Api
from .background import Background
from .charges import Charges
from .feed import Feed
from .logs import Log
from .outbox import Outbox
from .services import Services
from .settings import Settings

FEED_SEED = 7
KEEPALIVE_S = 75.0
LINGER_S = 0.3
DRAIN_S = 3.0
FLUSH_S = 0.3
SHUTDOWN_S = 0.2
BACKLOG = 128


class Worker:
    """`addresses` maps the dependencies to their base URLs."""

    def __init__(
        self, settings: Settings, addresses: Mapping[str, str], random: random.Random
    ) -> None:
        clock = asyncio.get_running_loop().time
        self._settings = settings
        self._log = Log(settings.name, clock)
        self._services = Services(settings, addresses, clock, random, self._log)
        self._background = Background()
        self._outbox = Outbox(self._services, self._background, clock, random)
        self._analytics = Analytics(self._services.analytics, clock)
        charges = Charges(
            settings,
            self._services,
            self._outbox,
            self._analytics,
            self._background,
            clock,
            random,
        )
        self._api = Api(settings, charges, Feed(_feed_random()), clock, self._log)
        self._ending = asyncio.Event()

    async def serve(self, listener: socket.socket, alive: int) -> None:
        """Serve until SIGTERM, then drain. A second SIGTERM ends it at once, and so does the end
        of the supervisor, which holds the other end of the pipe `alive`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_end)
        loop.add_reader(alive, os._exit, 1)
        runner = web.AppRunner(
            self._api.application(),
            handle_signals=False,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=SHUTDOWN_S,
        )
        await runner.setup()
        # One connection per turn, so that one worker does not take all that are waiting. asyncio
        # tells the kernel the same number, which is far too few for its queue.
        site = web.SockSite(runner, listener, backlog=1)
        await site.start()
        listener.listen(BACKLOG)
        relay = asyncio.create_task(self._outbox.relay())
        analytics = asyncio.create_task(self._analytics.run())
        self._log.info("worker-started")
        await self._ending.wait()
        relay.cancel()  # others go on with it
        await self._drain(site)
        analytics.cancel()
        await asyncio.gather(relay, analytics, return_exceptions=True)
        await runner.cleanup()
        await self._services.close()
        self._log.info("drained")

    def _asked_to_end(self) -> None:
        if self._ending.is_set():
            os._exit(1)
        if self._settings.mutant == "drain-drops-work":  # Mutant: what was accepted is cut off.
            os._exit(0)
        self._api.draining = True
        self._ending.set()

    async def _drain(self, site: web.SockSite) -> None:
        self._log.info("draining", inside=self._api.inside)
        # Whoever has just seen this node ready may still send the request it asked for.
        await asyncio.sleep(LINGER_S)
        await site.stop()
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._api.idle.wait()
        except TimeoutError:
            self._log.warning("drain-timeout", inside=self._api.inside)
        await self._background.finish(FLUSH_S)
        await self._analytics.flush(FLUSH_S)


def _feed_random() -> random.Random:
    return random.Random(FEED_SEED)
