"""A cluster by hand: started, left alone until Ctrl-C, and taken down."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.cluster import Cluster
from harness.runtime.process import ProcessRuntime
from harness.target import Target


async def hold_up(target: Target, say: Callable[[str], None]) -> None:
    """Start `target`, say where everything is, and wait for SIGINT or SIGTERM."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    with tempfile.TemporaryDirectory(prefix="harness-up-") as folder:
        logs = Path(folder)
        runtime = await ProcessRuntime.create(target.all_names, logs=logs, run_id="up")
        try:
            starting = asyncio.create_task(Cluster.start(target, runtime))
            waiting = asyncio.create_task(ended.wait())
            await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
                return
            cluster = starting.result()
            for name in cluster.all_names:
                node = cluster.node(name)
                ports = ", ".join(f"{port} {number}" for port, number in node.ports.items())
                say(f"{name}  {node.address}  for clients {cluster.client_host(name)}  ({ports})")
            say(f"Logs: {logs}. Ctrl-C ends it.")
            await waiting
        finally:
            await runtime.close()
