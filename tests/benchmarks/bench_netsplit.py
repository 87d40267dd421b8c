"""A netsplit on a 5-node mesh: ours against the plain library, and against the budget of 20 ms.

Run it as `python -m tests.benchmarks.bench_netsplit`. Both put 48 drops (6 pairs of nodes that
halves cut, both directions, two ports, two streams) on the links of one server, and take them
away again. `busy` does it while the event loop carries 50 clients of an echo server.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import toxiproxy
from toxiproxy.api import APIConsumer

from harness.network import Link, Network, netsplit
from tests.support.toxiproxy import Server, running_toxiproxy, serving

ROUNDS = 30
LIBRARY_ROUNDS = 5
CLIENTS = 50
BUDGET_MS = 20.0
PORTS = {"peer": 7000, "client": 7001}


def main() -> None:
    """Measure, and print medians, worst cases and ratios."""
    with running_toxiproxy() as server:
        ours = asyncio.run(_ours(server, clients=0))
    with running_toxiproxy() as server:
        busy = asyncio.run(_ours(server, clients=CLIENTS))
    with running_toxiproxy() as server:
        library = _library(server)
    for step in ("apply", "heal"):
        fast, loaded, slow = ours[step], busy[step], library[step]
        print(
            f"{step}: {_text(fast)}; busy {_text(loaded)}; library {_text(slow)}; "
            f"library/ours {statistics.median(slow) / statistics.median(fast):.1f}x; "
            f"ours/budget {statistics.median(fast) / BUDGET_MS:.2f}x"
        )


async def _ours(server: Server, clients: int) -> dict[str, list[float]]:
    network = server.network(5, PORTS)
    await network.open()
    links = network.links()
    nodes = list(dict.fromkeys(link.node for link in links))
    effects = netsplit.effects(netsplit.halves(nodes), links)
    times: dict[str, list[float]] = {"apply": [], "heal": []}
    async with serving(links):
        free = [link for link in links if link.source == "client"]
        work = [asyncio.create_task(_talk(free[i % len(free)])) for i in range(clients)]
        for _ in range(ROUNDS):
            times["apply"].append(await _timed(lambda: network.hold("split", effects)))
            assert await _toxics(network) == 48
            times["heal"].append(await _timed(lambda: network.release("split")))
            assert await _toxics(network) == 0
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
    await network.close()
    return times


def _library(server: Server) -> dict[str, list[float]]:
    network = server.network(5, PORTS)
    asyncio.run(network.open())
    links = network.links()
    nodes = list(dict.fromkeys(link.node for link in links))
    cut = list(netsplit.effects(netsplit.halves(nodes), links))
    APIConsumer.host, APIConsumer.port = server.host, server.port
    proxies = toxiproxy.Toxiproxy().proxies()
    times: dict[str, list[float]] = {"apply": [], "heal": []}
    for _ in range(LIBRARY_ROUNDS):
        start = time.perf_counter()
        for link in cut:
            for stream in ("upstream", "downstream"):
                proxies[link.name].add_toxic(
                    type="timeout", stream=stream, attributes={"timeout": 0}
                )
        times["apply"].append((time.perf_counter() - start) * 1000)
        start = time.perf_counter()
        for link in cut:
            for stream in ("upstream", "downstream"):
                proxies[link.name].destroy_toxic(f"timeout_{stream}")
        times["heal"].append((time.perf_counter() - start) * 1000)
    asyncio.run(network.close())
    return times


async def _talk(link: Link) -> None:
    reader, writer = await asyncio.open_connection(*link.listen)
    try:
        while True:
            writer.write(b"x" * 100)
            await reader.readexactly(100)
    finally:
        writer.close()


async def _toxics(network: Network) -> int:
    return sum(len(state.toxics) for state in (await network.state()).values())


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    start = time.perf_counter()
    await work()
    return (time.perf_counter() - start) * 1000


def _text(times_ms: list[float]) -> str:
    return f"{statistics.median(times_ms):.1f} ms (worst {max(times_ms):.1f})"


if __name__ == "__main__":
    main()
