"""kill: the processes are gone, the data stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import faults
from harness.runtime import proc
from tests.support.live_cluster import HEALED, Live, on_cluster, until

pytestmark = pytest.mark.live


def test_a_killed_node_is_gone_and_comes_back_with_its_data(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        await live.say("client", "node-1", f="write", key="k", value=7)
        before = live.cluster.processes("node-1")
        site = await live.inject(faults.kill(who="node-1"))
        assert live.proof() == {"gone": {"node-1": list(before)}}
        assert all(proc.status(pid) is None for pid in before)
        assert await live.is_gone("node-1")
        assert await live.say("client", "node-1") == "ended"
        assert await live.answers("client", "node-2")

        await live.nemesis.heal(site)
        now = live.proof(step="healed")["pids"]["node-1"]
        assert now and not set(now) & set(before)
        await live.assert_sound()
        assert await live.say("client", "node-1", f="read", key="k") == {"value": 7}
        assert live.steps() == list(HEALED)

    on_cluster(tmp_path, work)


def test_all_holders_of_a_role_are_killed_and_named(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        site = await live.inject(faults.kill(who="follower"))
        assert site.nodes == ("node-2", "node-3")
        injected = live.told("f1", "injected")
        assert (injected["nodes"], injected["role"]) == (["node-2", "node-3"], "follower")
        assert live.kernel_states("node-2") == live.kernel_states("node-3") == ""
        assert await live.answers("client", "node-1")
        await live.nemesis.heal(site)
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_a_node_that_dies_of_its_data_is_not_a_fault_that_was_not_healed(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        await live.write_home("node-1", "log.jsonl", "what is this\n")
        settle = live.cluster.settle

        async def settle_late(name: str) -> None:
            # Whether it is seen to run or to have ended is a race; here it has ended.
            await settle(name)
            await until(lambda: live.cluster.exit_status(name) is not None)

        live.cluster.settle = settle_late  # type: ignore[method-assign]
        for id in ("f1", "f2"):  # the second one meets a node that is down already
            await live.nemesis.heal(await live.inject(faults.kill(who="node-1"), id))
            assert live.proof(id, "healed") == {"pids": {}, "ended": {"node-1": 1}}
        assert await live.cluster.wait_serving(0.1) == ["node-1"]

    on_cluster(tmp_path, work)
