"""restart: other processes on the same data, at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import faults
from tests.support.live_cluster import HEALED, Live, on_cluster

pytestmark = pytest.mark.live


def test_restarted_nodes_run_as_other_processes_on_the_same_data(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        await live.say("client", "node-1", f="write", key="k", value=7)
        before = {name: list(live.cluster.processes(name)) for name in live.cluster.names}
        site = await live.inject(faults.restart(who="all"))
        proof = live.proof()
        assert proof["before"] == before
        assert all(not set(proof["pids"][name]) & set(before[name]) for name in before)
        await live.nemesis.heal(site)
        # The first is the main process; beside it something may still set up its namespace.
        assert {name: pids[0] for name, pids in live.proof(step="healed")["pids"].items()} == {
            name: pids[0] for name, pids in proof["pids"].items()
        }
        await live.assert_sound()
        assert await live.say("client", "node-1", f="read", key="k") == {"value": 7}
        assert live.steps() == list(HEALED)

    on_cluster(tmp_path, work)
