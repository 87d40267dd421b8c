"""crash loop: killed again each time it came up, until healed."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import faults, seconds
from tests.support.live_cluster import HEALED, Live, on_cluster, until

pytestmark = pytest.mark.live


def test_a_crash_loop_kills_again_and_again_and_then_no_more(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        loop = faults.crash_loop(who="node-2", up=seconds(0.1), down=seconds(0.05))
        site = await live.inject(loop)
        assert live.proof() == {"crashes": {"node-2": 1}}
        seen: set[int] = set()

        def third_life() -> bool:
            seen.update(live.cluster.processes("node-2"))
            return len(seen) >= 3

        await until(third_life)
        await until(lambda: site.memory["node-2"]["crashes"] >= 4)
        await live.nemesis.heal(site)
        proof = live.proof(step="healed")
        assert proof["crashes"]["node-2"] >= 4
        await live.assert_sound()
        assert live.cluster.processes("node-2")[0] == proof["pids"]["node-2"][0]
        assert live.steps() == list(HEALED)

    on_cluster(tmp_path, work)
