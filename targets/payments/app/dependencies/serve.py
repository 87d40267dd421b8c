"""The process of one dependency."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from aiohttp import web

from ..logs import Log
from ..settings import Settings
from .routes import routes_of

KEEPALIVE_S = 75.0
SHUTDOWN_S = 0.2


async def serve(settings: Settings, home: Path) -> None:
    """Answer until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    log = Log(settings.name, loop.time)
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    runner = web.AppRunner(
        routes_of(settings, home, loop.time),
        handle_signals=False,
        access_log=None,
        keepalive_timeout=KEEPALIVE_S,
        shutdown_timeout=SHUTDOWN_S,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.address, settings.port).start()
        log.info("started", port=settings.port)
        await ending.wait()
    finally:
        await runner.cleanup()
    log.info("ended")
