"""A cluster by hand: started, left alone until Ctrl-C, and taken down."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.cluster import Cluster
from harness.runtimes import create_runtime
from harness.target import Target


async def hold_up(target: Target, where: str, say: Callable[[str], None]) -> None:
    """Start `target` on the runtime `where`, say where everything is, and wait for SIGINT or
    SIGTERM."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    with tempfile.TemporaryDirectory(prefix="harness-up-") as folder:
        logs = Path(folder)
        runtime = await create_runtime(where, target, logs=logs, run_id="up", tell=say)
        try:
            starting = asyncio.create_task(Cluster.start(target, runtime))
            waiting = asyncio.create_task(ended.wait())
            await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
                return
            cluster = starting.result()
            published = runtime.published()
            for name in cluster.all_names:
                node = cluster.node(name)
                ports = ", ".join(
                    _port(port, number, published.get((cluster.client_host(name), number)))
                    for port, number in node.ports.items()
                )
                say(f"{name}  {node.address}  for clients {cluster.client_host(name)}  ({ports})")
            say(f"Logs: {logs}. Ctrl-C ends it.")
            await waiting
        finally:
            await runtime.close()


def _port(name: str, number: int, published: tuple[str, int] | None) -> str:
    return f"{name} {number}" + (f" at {published[0]}:{published[1]}" if published else "")
