"""What keeping idempotency keys costs: python -m targets.payments.bench_store [SECONDS]

Starts the store alone, without links, and lets 1 and then 32 callers begin and finish keys in a
loop. Prints the times of a begin and a finish together, and durable changes per second.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from harness import Node
from targets.payments.target import Payments

ADDRESS = "127.0.0.1"
START_S = 10.0


async def main(for_s: float = 3.0) -> None:
    with tempfile.TemporaryDirectory(prefix="payments-bench-") as folder:
        target, home = Payments(), Path(folder)
        node = Node("store", ADDRESS, home, target.ports_of("store"))
        for name, text in target.files(node, [node]).items():
            (home / name).write_text(text)
        environment = {**os.environ, **target.environment(node)}
        process = await asyncio.create_subprocess_exec(
            *target.command(node, [node]), cwd=home, env=environment, stdout=subprocess.DEVNULL
        )
        try:
            async with asyncio.timeout(START_S):
                while not await _ready(target, node):  # noqa: ASYNC110  of another process
                    await asyncio.sleep(0.02)
            for callers in (1, 32):
                print(await _measured(callers, for_s))  # noqa: T201
        finally:
            process.kill()
            await process.wait()


async def _ready(target: Payments, node: Node) -> bool:
    try:
        return await target.ready(node)
    except OSError:
        return False


async def _measured(callers: int, for_s: float) -> str:
    numbers, took_s = itertools.count(), list[float]()
    until = time.monotonic() + for_s
    port = Payments().ports_of("store")["store"]
    async with aiohttp.ClientSession(f"http://{ADDRESS}:{port}") as session:

        async def call() -> None:
            while (begun := time.monotonic()) < until:
                await _begin_and_finish(session, f"{callers}-{next(numbers)}")
                took_s.append(time.monotonic() - begun)

        await asyncio.gather(*(call() for _ in range(callers)))
    took_s.sort()
    p50, p99 = (took_s[int(len(took_s) * share)] * 1000 for share in (0.5, 0.99))
    rate = 2 * len(took_s) / for_s
    return (
        f"{callers} callers: begin + finish p50 {p50:.1f} ms, p99 {p99:.1f} ms; {rate:.0f} durable "
        "changes/s"
    )


async def _begin_and_finish(session: aiohttp.ClientSession, key: str) -> None:
    asked = {"key": key, "fingerprint": "f", "charge_id": f"ch-{key}"}
    async with session.post("/begin", json={**asked, "owner": "r"}) as response:
        assert (await response.json())["state"] == "mine"
    outcome = {"key": key, "charge_id": asked["charge_id"], "account": "a", "amount": 1}
    async with session.post("/finish", json={**asked, "outcome": outcome}) as response:
        assert (await response.json()) == outcome


if __name__ == "__main__":
    asyncio.run(main(*map(float, sys.argv[1:])))
