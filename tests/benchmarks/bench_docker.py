"""What the docker runtime adds: five nodes against the same containers by `docker run`, a netsplit
on five nodes, and taking it all down.

    PYTHONPATH=. python tests/benchmarks/bench_docker.py
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fixtures.registers import PORT, Registers
from harness.cluster import Cluster
from harness.errors import MissingPartError
from harness.network.netsplit import effects, groups
from harness.runtime.docker import images
from harness.runtime.docker.engine import connect
from harness.runtimes import create_runtime

TIMES = 5
NODES = 5
PREFIX = "harness-bench"


async def ours() -> tuple[float, list[float], list[float], float]:
    """Seconds until ready, of netsplits, of their healings, and of the end."""
    target = Registers(nodes=NODES)
    with tempfile.TemporaryDirectory() as logs:
        start = time.perf_counter()
        runtime = await create_runtime("docker", target, logs=Path(logs), run_id="bench")
        cluster = await Cluster.start(target, runtime)
        ready_s = time.perf_counter() - start
        cut, healed = [], []
        links = cluster.network.links()
        pairs = groups([["node-1", "node-2"], ["node-3", "node-4", "node-5"]], cluster.names)
        for number in range(20):
            start = time.perf_counter()
            await cluster.network.hold(f"f{number}", effects(pairs, links, "drop"))
            cut.append(time.perf_counter() - start)
            start = time.perf_counter()
            await cluster.network.release(f"f{number}")
            healed.append(time.perf_counter() - start)
        start = time.perf_counter()
        await cluster.close()
        return ready_s, cut, healed, time.perf_counter() - start


def by_hand(toxiproxy: str, server: str) -> float:
    """Seconds until the same containers, started by hand at the same time, all answer."""
    subnet = "10.251.0"
    names = [f"{PREFIX}-{number}" for number in range(NODES + 1)]
    try:
        start = time.perf_counter()
        docker("network", "create", "--subnet", f"{subnet}.0/24", PREFIX)
        begun = []
        for number, name in enumerate(names):
            address = f"{subnet}.{number + 10}"
            run = ["docker", "run", "--detach", "--name", name, "--network", PREFIX, "--init"]
            run += ["--ip", address, "--volume", f"{name}:/data"]
            if number:
                hosts = [f"--add-host=node-{other}:{subnet}.{other + 10}" for other in range(1, 6)]
                run += [*hosts, server, "python3", "-S", "-E", "/srv/server.py"]
                run += [f"node-{number}", address, str(PORT)]
            else:
                run += ["--publish", f"127.0.0.1::20000-{20000 + NODES - 1}"]
                run += ["--cap-add", "NET_ADMIN", "--env", f"LINKS={subnet}.128/25", toxiproxy]
            begun.append(subprocess.Popen(run, stdout=subprocess.DEVNULL))
        for one in begun:
            assert one.wait(60) == 0, "docker run failed"
        for number in range(NODES + 1):
            port = PORT if number else 8474
            until_it_listens((f"{subnet}.{number + 10}", port))
        return time.perf_counter() - start
    finally:
        subprocess.run(["docker", "rm", "-f", *names], capture_output=True, check=False)
        subprocess.run(["docker", "volume", "rm", *names], capture_output=True, check=False)
        subprocess.run(["docker", "network", "rm", PREFIX], capture_output=True, check=False)


def docker(*words: str) -> None:
    subprocess.run(["docker", *words], check=True, stdout=subprocess.DEVNULL)


def until_it_listens(address: tuple[str, int]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(address, 1).close()
            return
        except OSError:
            time.sleep(0.005)
    raise SystemExit(f"{address} does not listen.")


def main() -> int:
    try:
        engine = connect()
    except MissingPartError as error:
        print(error)
        return 0
    toxiproxy = images.toxiproxy_image(engine, print)
    server = images.ensure(engine, Registers.image, print)  # type: ignore[arg-type]
    starts, plain, cuts, heals, ends = [], [], [], [], []
    for _ in range(TIMES):
        plain.append(by_hand(toxiproxy, server))
        ready_s, cut, healed, end_s = asyncio.run(ours())
        starts.append(ready_s)
        cuts += cut
        heals += healed
        ends.append(end_s)
    ratio = statistics.median(starts) / statistics.median(plain)
    print(
        f"five nodes and Toxiproxy until ready: {statistics.median(starts):.2f} s; by docker run "
        f"{statistics.median(plain):.2f} s; ratio {ratio:.2f} (budget 1.3)"
    )
    print(
        f"netsplit of five nodes: {1000 * statistics.median(cuts):.1f} ms, at most "
        f"{1000 * max(cuts):.1f}; healing {1000 * statistics.median(heals):.1f} ms, at most "
        f"{1000 * max(heals):.1f} (budget 50)"
    )
    print(
        f"everything removed: {statistics.median(ends):.2f} s, at most {max(ends):.2f} (budget 3)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
