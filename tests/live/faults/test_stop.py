"""stop: SIGTERM, and SIGKILL for those that do not obey."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import faults
from tests.support.live_cluster import HEALED, Live, on_cluster

pytestmark = pytest.mark.live


def test_a_stopped_node_ends_by_sigterm_and_comes_back(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        before = list(live.cluster.processes("node-2"))
        site = await live.inject(faults.stop(who="node-2"))
        proof = live.proof()
        assert proof == {"gone": {"node-2": before}, "ended": {"node-2": "killed by SIGTERM"}}
        assert await live.is_gone("node-2")
        await live.nemesis.heal(site)
        assert live.proof(step="healed")["pids"]["node-2"]
        await live.assert_sound()
        assert live.steps() == list(HEALED)

    on_cluster(tmp_path, work)


def test_a_paused_node_cannot_obey_and_is_killed(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        await live.inject(faults.pause(who="node-2"), "f1")
        await live.inject(faults.stop(who="node-2"), "f2")
        assert live.proof("f2")["ended"] == {"node-2": "was paused, killed"}
        await live.nemesis.heal_all()
        await live.assert_sound()

    on_cluster(tmp_path, work)
