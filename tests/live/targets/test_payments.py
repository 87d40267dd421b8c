"""A real cluster of payments: replays, a killed worker, a node that drains, a dead store."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import pytest

from harness import Refused, Unavailable
from harness.cluster import Cluster
from targets.payments import Payments, PaymentsClient
from targets.payments.client import PaymentsError
from tests.support.live_cluster import Live, on_cluster, until

pytestmark = pytest.mark.live


Users: TypeAlias = dict[str, PaymentsClient]


def test_charges_survive_what_is_done_to_the_nodes(tmp_path: Path) -> None:
    target = Payments(nodes=2)

    async def work(live: Live) -> None:
        cluster = live.cluster
        users = {
            name: PaymentsClient(target, name, cluster.client_host(name))
            for name in cluster.all_names
        }
        try:
            for user in users.values():
                await user.open()
            await charges_and_replays(users)
            await a_killed_worker_comes_back(cluster)
            await a_node_drains(cluster, users)
            await a_store_comes_back_with_its_keys(cluster, users)
            assert cluster.strays() == {}
            await workers_end_with_their_supervisor(cluster)
        finally:
            for user in users.values():
                await user.close()

    on_cluster(tmp_path, work, target=target)


async def charges_and_replays(users: Users) -> None:
    one, other = users["node-1"], users["node-2"]
    assert await one.status("k1") is None
    assert await one.charge("k1", "a", 5) == 5
    assert await other.charge("k1", "a", 5) == await other.status("k1") == 5
    with pytest.raises(Refused):
        await other.charge("k1", "a", 6)
    for n in range(1, 6):
        assert await one.charge(f"l{n}", "a", n) == n
    assert [row[0] for row in await users["provider"].effects()].count("k1") == 1
    assert await until(lambda: quiet(users["store"].undelivered)) == "ok"
    assert len(await users["notifications"].notified()) == 6 == await users["store"].keys()


async def a_killed_worker_comes_back(cluster: Cluster) -> None:
    main, first, second = cluster.processes("node-1")
    assert await cluster.kill_process("node-1", first)
    await until(lambda: len(cluster.processes("node-1")) == 3)
    assert cluster.processes("node-1")[0] == main
    assert second in cluster.processes("node-1")
    exits = [data for name, data in events(cluster, "node-1") if name == "worker-exited"]
    assert [data["instance"] for data in exits] == [first]
    host = cluster.client_host("node-1")
    async with aiohttp.ClientSession() as session:
        answer = await until(lambda: metrics_of(session, host))
    assert 'payments_breakers{dependency="provider",state="closed"} 2.0' in answer


async def a_node_drains(cluster: Cluster, users: Users) -> None:
    user = users["node-2"]
    stopping = asyncio.create_task(cluster.stop("node-2", "test"))
    # Charges go on until the node refuses one: never is one cut off, which would be another error.
    for n in range(1, 10_000):
        try:
            assert await user.charge(f"m{n}", "a", n) == n
        except Unavailable as error:
            if "not ready" in str(error):
                break
        except PaymentsError:
            pass  # (a provider that is slow today)
    assert await stopping == "exit status 0"
    assert [name for name, _ in events(cluster, "node-2")][-1] == "drained"
    await cluster.revive("node-2", "test")
    assert await cluster.wait_serving(20) == []


async def a_store_comes_back_with_its_keys(cluster: Cluster, users: Users) -> None:
    await cluster.kill("store", "test")
    with pytest.raises(Unavailable, match="store"):
        await users["node-1"].charge("n1", "a", 1)
    await cluster.revive("store", "test")
    assert await cluster.wait_serving(20) == []
    assert await until(lambda: quiet(users["node-1"].charge, "n1", "a", 1)) == "ok"
    assert await until(lambda: quiet(users["node-1"].charge, "k1", "a", 5)) == "ok"
    effects = [row[0] for row in await users["provider"].effects()]
    assert effects.count("k1") == effects.count("n1") == 1


async def workers_end_with_their_supervisor(cluster: Cluster) -> None:
    main = cluster.processes("node-1")[0]
    assert await cluster.kill_process("node-1", main)
    await until(lambda: not cluster.processes("node-1"))


async def quiet(call: Any, *values: Any) -> str:
    """`ok`, or nothing if it was not available."""
    try:
        await call(*values)
    except Unavailable:
        return ""
    return "ok"


async def metrics_of(session: aiohttp.ClientSession, host: str) -> str:
    """Nothing before the new worker has told of itself."""
    async with session.get(f"http://{host}:8080/metrics") as response:
        text = await response.text()
    return text if 'dependency="provider",state="closed"} 2.0' in text else ""


def events(cluster: Cluster, node: str) -> list[tuple[str, Any]]:
    lines = cluster.log_tail(node, 1000).splitlines()
    found = [cluster.target.event(line) for line in lines]
    assert all(json.loads(line)["node"] == node for line in lines)
    return [(event[1], event[2]) for event in found if event is not None]
