"""A real cluster: workers across a netsplit and a death, its journal on disk, limits, topics."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from harness import Refused, Unavailable, faults
from harness.cluster import Cluster as Started
from targets.cluster import Cluster, ClusterClient
from targets.cluster.app.node import JOURNAL
from targets.cluster.app.placement import best
from tests.support.live_cluster import Live, on_cluster, until

pytestmark = pytest.mark.live

Users: TypeAlias = dict[str, ClusterClient]

WORKERS = [f"worker-{number}" for number in range(1, 7)]
NODES = ("node-1", "node-2", "node-3")


def test_workers_limits_and_topics_survive_what_is_done_to_the_nodes(tmp_path: Path) -> None:
    target = Cluster(nodes=3, limit=30)

    async def work(live: Live) -> None:
        cluster = live.cluster
        users = {
            name: ClusterClient(target, name, cluster.client_host(name)) for name in cluster.names
        }
        try:
            for user in users.values():
                await user.open()
            await limits_are_kept(target, cluster, users)
            await workers_run_at_home(users)
            await a_netsplit_is_settled(live, users)
            await a_node_that_ends_hands_its_workers_over(cluster, users)
            assert cluster.strays() == {}
        finally:
            for user in users.values():
                await user.close()

    on_cluster(tmp_path, work, target=target)


async def limits_are_kept(target: Cluster, cluster: Started, users: Users) -> None:
    (leader,) = await target.holders("limiter-leader", [cluster.node(name) for name in NODES])
    assert leader in NODES
    for mode in ("strict", "approximate"):
        # A new leader waits before it admits anything, and so does a new node.
        await until(lambda mode=mode: admits(users["node-1"], mode))  # type: ignore[misc]
        outcomes = await asyncio.gather(
            *(outcome(user, mode) for user in users.values() for _request in range(25))
        )
        # (on a slow machine a second or more passes over it, and as much more is admitted)
        assert outcomes.count("ok") >= 15


async def outcome(user: ClusterClient, mode: str) -> str:
    try:
        await user.request(f"key-{mode}", mode)
    except Refused:
        return "limit"
    except Unavailable:
        return "unavailable"
    return "ok"


async def admits(user: ClusterClient, mode: str) -> bool:
    return await outcome(user, mode) == "ok"


async def workers_run_at_home(users: Users) -> None:
    for worker in WORKERS:
        assert await users["node-1"].ensure(worker) == best(worker, NODES)
    assert await users["node-3"].ensure("mine", "here") == "node-3"
    await until(lambda: agreed(users, {"mine": "node-3"}))
    await users["node-2"].publish("news", "before")


async def a_netsplit_is_settled(live: Live, users: Users) -> None:
    home = live.cluster.node("node-1").home
    cut = faults.netsplit("isolate", who="node-1", at=0, lasting=60)
    site = await live.inject(cut)
    await until(lambda: both_sides(users))
    await users["node-1"].publish("news", "one")
    await users["node-2"].publish("news", "two")
    await live.nemesis.heal(site)
    # It was started on node-3, and node-1 took it over.
    await until(lambda: agreed(users, {"mine": str(best("mine", ["node-1", "node-3"]))}))
    lines = [json.loads(line) for line in (home / JOURNAL).read_text().splitlines()]
    resolved = [line for line in lines if line["event"] == "resolved"]
    assert resolved
    for one in resolved:
        assert list(one["after"]) == [best(one["worker"], one["before"])]
    told = await users["node-1"].conflicts()
    assert (told["open"], len(told["resolved"])) == ([], len(resolved))
    for name, user in users.items():
        await until(lambda user=user, name=name: messages(user, name))  # type: ignore[misc]


async def both_sides(users: Users) -> bool:
    """Whether the node that is cut off runs everything by itself."""
    return set(await users["node-1"].running()) == {*WORKERS, "mine"}


async def messages(user: ClusterClient, name: str) -> bool:
    return sorted(await user.deliver("news", name)) == ["before", "one", "two"]


async def a_node_that_ends_hands_its_workers_over(cluster: Started, users: Users) -> None:
    status = await cluster.stop("node-3", "test")
    assert status == "exit status 0"
    log = [json.loads(line)["event"] for line in cluster.log_tail("node-3", 1000).splitlines()]
    assert log.count("worker-stopped") >= 1
    left = {name: user for name, user in users.items() if name != "node-3"}
    await until(lambda: agreed(left, None))
    await cluster.revive("node-3", "test")
    assert await cluster.wait_serving(20) == []


async def agreed(users: Users, more: dict[str, str] | None) -> bool:
    """Whether all name the same owners, and those are who truly runs the workers. `more`: those
    that are expected beside workers at home, None if any owner will do."""
    views: list[Any] = [await user.owners() for user in users.values()]
    running = {(worker, name) for name, user in users.items() for worker in await user.running()}
    if views[1:] != views[:-1] or running != set(views[0].items()):
        return False
    if more is None:
        return True
    expected = {worker: best(worker, NODES) for worker in WORKERS} | more
    return bool(expected.items() <= views[0].items())
