"""A real cluster of Redis with Sentinel: who is the primary, what clients are told, a failover."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import Unavailable
from harness.cluster import Cluster
from targets.redis import Redis, RedisClient
from targets.redis.target import PORT, ask
from tests.support.live_cluster import Live, on_cluster, until

pytestmark = pytest.mark.live


async def role_of(cluster: Cluster, name: str) -> str:
    return str((await ask(cluster.node(name).address, PORT, "ROLE"))[0])


def test_a_primary_is_replaced_and_comes_back_as_a_replica(tmp_path: Path) -> None:
    target = Redis(min_replicas_to_write=1, down_after_ms=1500, publish_period_ms=200)

    async def work(live: Live) -> None:
        cluster = live.cluster
        users = {
            name: RedisClient(cluster.target, name, cluster.client_host(name))
            for name in cluster.names
        }
        try:
            for user in users.values():
                await user.open()
            await all_know_all(cluster)
            await only_the_primary_takes_adds(users)
            new = await another_takes_over(cluster)
            await the_old_one_follows(cluster, users, new)
            assert cluster.strays() == {}
            await a_server_that_ends_takes_its_machine_along(cluster)
        finally:
            for user in users.values():
                await user.close()

    on_cluster(tmp_path, work, target=target)


async def all_know_all(cluster: Cluster) -> None:
    """A cluster that has just started is ready for a failover."""
    assert await cluster.holders("primary") == ("node-1",)
    assert await cluster.holders("replica") == ("node-2", "node-3")
    assert [await role_of(cluster, name) for name in cluster.names] == ["master", "slave", "slave"]
    for name in cluster.names:
        assert len(cluster.processes(name)) == 3
        said = await ask(cluster.node(name).address, 26379, "SENTINEL", "CKQUORUM", "main")
        assert said.startswith("OK 3 usable Sentinels")
    assert cluster.strays() == {}


async def only_the_primary_takes_adds(users: dict[str, RedisClient]) -> None:
    await until(lambda: taken(users["node-1"], 1))
    with pytest.raises(Unavailable, match="read only replica"):
        await users["node-2"].add(2)
    for user in users.values():
        await until(lambda user=user: reads(user, [1]))


async def another_takes_over(cluster: Cluster) -> str:
    await cluster.kill("node-1", "test")
    assert await cluster.holders("primary") == ()

    async def primary() -> str | None:
        found = await cluster.holders("primary")
        return found[0] if found and found[0] != "node-1" else None

    return str(await until(primary))


async def the_old_one_follows(cluster: Cluster, users: dict[str, RedisClient], new: str) -> None:
    await until(lambda: taken(users[new], 3))
    await cluster.revive("node-1", "test")
    assert await cluster.wait_serving(10) == []
    returned = users["node-1"]
    await returned.close()
    await returned.open()
    # Before it is told, it believes to be the primary still, but has nobody to replicate to.
    with pytest.raises(Unavailable, match=r"NOREPLICAS|read only replica"):
        await returned.add(4)

    async def follows() -> bool:
        return await role_of(cluster, "node-1") == "slave"

    await until(follows)
    await until(lambda: reads(returned, [1, 3]))
    (primary,) = await cluster.holders("primary")
    files = [cluster.node("node-1").home / name for name in ("redis.conf", "sentinel.conf")]
    assert f"replicaof {primary} 6379" in files[0].read_text()
    assert f"sentinel monitor main {primary} 6379 2" in files[1].read_text()


async def a_server_that_ends_takes_its_machine_along(cluster: Cluster) -> None:
    _main, server, _sentinel = cluster.processes("node-3")
    assert await cluster.kill_process("node-3", server)
    await until(lambda: cluster.state("node-3") == "down")
    assert cluster.exit_status("node-3") == 1


async def taken(user: RedisClient, element: int) -> bool:
    """Whether an add is taken, by a primary that first has to hear of its replicas."""
    try:
        await user.add(element)
    except Unavailable:
        return False
    return True


async def reads(user: RedisClient, elements: list[int]) -> bool:
    return await user.read() == elements
