"""python -m app SETTINGS: one node, in the foreground, with its data in the working directory."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import sys
import time
from pathlib import Path

from .settings import DEPENDENCY_PORTS, Settings

BACKLOG = 128


def main(path: str) -> None:
    settings = Settings.read(Path(path))
    if settings.name in DEPENDENCY_PORTS:
        _dependency(settings)
    else:
        _member(settings)


def _dependency(settings: Settings) -> None:
    from .dependencies.serve import serve

    asyncio.run(serve(settings, Path.cwd()))


def _member(settings: Settings) -> None:
    # Metrics of workers long gone say nothing about this start.
    metrics = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir()

    from .logs import Log
    from .supervisor import Supervisor
    from .worker import Worker

    # Looked up once: names do not change while a node runs, and asyncio would need a thread.
    addresses = {
        name: f"http://{socket.gethostbyname(name)}:{port}"
        for name, port in DEPENDENCY_PORTS.items()
    }
    listener = socket.create_server((settings.address, settings.port), backlog=BACKLOG)

    def work(alive: int) -> None:
        async def serve() -> None:
            # Each worker its own: charges are told apart by what is drawn here.
            await Worker(settings, addresses, random.Random()).serve(listener, alive)

        asyncio.run(serve())

    # The clock of the workers' loops, read where there is no loop.
    Supervisor(
        listener, settings.workers, work, Log(settings.name, time.monotonic), time.monotonic
    ).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
