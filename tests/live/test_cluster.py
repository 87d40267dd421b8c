"""The cluster: who serves, who holds whom down or paused, and what a cancelled call leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fixtures.registers import Registers
from harness import Node
from harness.cluster import Cluster
from harness.errors import BrokenError, UsageError
from harness.runtime.process import ProcessRuntime
from tests.support.live_cluster import Live, on_cluster, started, until

pytestmark = pytest.mark.live


def test_a_started_cluster_serves_on_every_link(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        cluster = live.cluster
        assert cluster.names == ("node-1", "node-2", "node-3")
        assert [cluster.state(name) for name in cluster.names] == ["running"] * 3
        assert all(cluster.serving(name) for name in cluster.names)
        assert len(cluster.network.links()) == 9
        assert cluster.client_host("node-2") == live.link("client", "node-2").listen[0]
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_a_node_is_started_again_when_the_last_lets_go(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        cluster = live.cluster
        await cluster.kill("node-1", "a")
        await cluster.kill("node-1", "b")
        await cluster.revive("node-1", "nobody")
        await cluster.revive("node-1", "a")
        assert (cluster.state("node-1"), cluster.held_down("node-1")) == ("down", True)
        assert await cluster.wait_serving(0.05) == ["node-1"]
        await cluster.revive("node-1", "b")
        assert not cluster.held_down("node-1")
        pids = cluster.processes("node-1")
        assert pids
        await cluster.revive("node-1", "b")
        assert cluster.processes("node-1")[0] == pids[0]
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_a_node_that_was_started_again_serves_only_once_it_is_ready(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        cluster = live.cluster
        await cluster.kill("node-2", "a")
        # As if a watcher had seen its last answer after it was killed.
        cluster._serving.add("node-2")
        await cluster.revive("node-2", "a")
        assert not cluster.serving("node-2")
        assert await cluster.wait_serving(20) == []
        assert await live.answers("", "node-2")

    on_cluster(tmp_path, work)


def test_a_paused_node_does_not_serve_and_its_role_is_held_by_nobody(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        cluster = live.cluster
        assert await cluster.holders("leader") == ("node-1",)
        await cluster.pause("node-1", "a")
        assert (cluster.state("node-1"), cluster.serving("node-1")) == ("paused", False)
        assert await cluster.holders("leader") == ()
        assert await cluster.holders("follower") == ("node-2", "node-3")
        assert {link.node for link in cluster.reachable(cluster.network.links())} == {
            "node-2",
            "node-3",
        }
        await cluster.resume("node-1", "a")
        await live.assert_sound()

    on_cluster(tmp_path, work)


Call = Callable[[Cluster], Awaitable[Any]]

CALLS: Sequence[tuple[str, Call]] = (
    ("kill", lambda cluster: cluster.kill("node-1", "a")),
    ("stop", lambda cluster: cluster.stop("node-1", "a")),
    ("pause", lambda cluster: cluster.pause("node-1", "a")),
)


def test_a_cancelled_call_is_finished_before_the_next_one_begins(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        cluster = live.cluster
        for name, call in CALLS:
            for turns in (0, 1, 3, 10):
                task = asyncio.ensure_future(call(cluster))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                undo = asyncio.ensure_future(undone(cluster))
                await asyncio.sleep(0)
                undo.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await undo
                await undone(cluster)
                await cluster.settle("node-1")
                assert cluster.state("node-1") == "running", (name, turns)
                assert await cluster.wait_serving(20) == [], (name, turns)
        await live.assert_sound()

    on_cluster(tmp_path, work)


async def undone(cluster: Cluster) -> None:
    await cluster.revive("node-1", "a")
    await cluster.resume("node-1", "a")


def test_a_start_that_fails_can_be_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(live: Live) -> None:
        cluster = live.cluster
        await cluster.kill("node-3", "a")

        async def fail(spec: object) -> None:
            raise BrokenError("There is no room.")

        with monkeypatch.context() as patch:
            patch.setattr(cluster.runtime, "spawn", fail)
            with pytest.raises(BrokenError, match="no room"):
                await cluster.revive("node-3", "a")
        assert cluster.held_down("node-3")
        await cluster.revive("node-3", "a")
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_a_node_that_ends_while_it_is_paused_or_thawed_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(live: Live) -> None:
        cluster = live.cluster
        runtime = cluster.runtime

        async def too_late(name: str) -> None:
            runtime.end_now(name)
            raise BrokenError(f"{name} is down.")

        with monkeypatch.context() as patch:
            patch.setattr(runtime, "pause", too_late)
            await cluster.pause("node-1", "a")
        assert cluster.state("node-1") == "down"
        await cluster.resume("node-1", "a")
        await cluster.kill("node-1", "b")
        await cluster.revive("node-1", "b")
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_a_node_can_be_paused_at_every_moment_of_its_start(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        cluster = live.cluster
        for _ in range(20):
            await cluster.kill("node-1", "a")
            await cluster.pause("node-1", "b")
            await cluster.revive("node-1", "a")
            assert set(live.kernel_states("node-1")) == {"T"}
            await cluster.resume("node-1", "b")
        await live.assert_sound()

    on_cluster(tmp_path, work, nodes=1)


def test_closing_a_disturbed_cluster_ends_everything_and_twice_is_fine(tmp_path: Path) -> None:
    async def work() -> None:
        async with started(tmp_path, Registers()) as live:
            cluster = live.cluster
            await cluster.pause("node-1", "a")
            await cluster.kill("node-2", "a")
            pending = asyncio.ensure_future(cluster.stop("node-3", "a"))
            await asyncio.sleep(0)
            pending.cancel()
            await cluster.close()
            await cluster.close()
            with pytest.raises(asyncio.CancelledError):
                await pending

    asyncio.run(work())


class Mute(Registers):
    """A target that does not say who leads, or says it wrongly."""

    async def holders(self, role: str, nodes: Sequence[Node]) -> Sequence[str]:
        if role == "leader":
            raise ConnectionRefusedError
        if role == "slow":
            await asyncio.Event().wait()
        raise KeyError(role)


def test_a_target_that_cannot_say_who_holds_a_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.cluster.HOLDERS_TIMEOUT_S", 0.1)

    async def work() -> None:
        target = Mute(nodes=1)
        async with await ProcessRuntime.create(
            target.node_names, logs=tmp_path, run_id="mute"
        ) as runtime:
            cluster = await Cluster.start(target, runtime)
            assert await cluster.holders("leader") == ()
            assert await cluster.holders("slow") == ()
            with pytest.raises(UsageError, match="failed in holders"):
                await cluster.holders("unknown")
            await until(lambda: cluster.serving("node-1"))
            await cluster.close()

    asyncio.run(work())
