"""pause: stopped as the kernel has it, and thawed."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import faults
from tests.support.live_cluster import HEALED, Live, on_cluster

pytestmark = pytest.mark.live


def test_a_paused_node_stands_still_and_goes_on(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        before = list(live.cluster.processes("node-1"))
        site = await live.inject(faults.pause(who="leader"))
        assert live.proof() == {"stopped": {"node-1": before}}
        assert live.stands_still("node-1")
        # Connections are still taken, by the kernel; nobody answers.
        assert await live.silent("client", "node-1")
        assert await live.silent("", "node-1")
        assert await live.answers("client", "node-2")
        await live.nemesis.heal(site)
        assert live.proof(step="healed") == {"states": {"node-1": "running"}}
        await live.assert_sound()
        assert list(live.cluster.processes("node-1")) == before
        assert live.steps() == list(HEALED)

    on_cluster(tmp_path, work)
