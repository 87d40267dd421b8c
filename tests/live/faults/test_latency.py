"""latency: answers take twice the delay longer, constant or varied, and then no more."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from harness import faults, milliseconds, seconds
from tests.support.live_cluster import HEALED, Live, on_cluster, until

pytestmark = pytest.mark.live


def test_answers_are_late_by_the_delay_of_both_directions(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        site = await live.inject(faults.latency(milliseconds(60), who="node-1"))
        proof = live.proof()
        assert (proof["by"], proof["links"], proof["probed"]) == ("probe", 4, 4)
        assert proof["took_ms"] >= 120
        for source, node in (("node-1", "node-2"), ("node-2", "node-1")):
            assert await live.took_s(source, node) >= 0.12

        async def fast() -> bool:
            return await live.took_s("client", "node-1") < 0.12

        await until(fast)  # clients are not concerned

        await live.nemesis.heal(site)
        assert live.proof(step="healed") == {"by": "probe", "links": 4, "answered": 4}
        await live.assert_sound()
        assert live.steps() == list(HEALED)

    on_cluster(tmp_path, work)


@pytest.mark.parametrize(("links", "count"), [("clients", 1), ("all", 5)])
def test_the_links_of_clients_can_be_meant(tmp_path: Path, links: str, count: int) -> None:
    async def work(live: Live) -> None:
        site = await live.inject(
            faults.latency(milliseconds(40), who="node-1", links=links)  # type: ignore[arg-type]
        )
        assert live.proof()["links"] == count
        assert await live.took_s("client", "node-1") >= 0.08
        await live.nemesis.heal(site)
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_varied_latency_changes_what_is_measured(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        latency = faults.latency(milliseconds(100), who="node-1", latency_jitter=milliseconds(90))
        varied = dataclasses.replace(latency, steps_ms=[20, 300])
        site = await live.nemesis.inject("f1", varied)
        assert live.proof()["took_ms"] >= 40

        async def slower() -> bool:
            return await live.took_s("node-2", "node-1") >= 0.6

        await until(slower)
        # The last step stays until it is healed.
        assert await live.took_s("node-2", "node-1") >= 0.6
        await live.nemesis.heal(site)
        assert live.proof(step="healed")["answered"] == 4
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_the_steps_of_varied_latency_come_from_the_plan(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        latency = faults.latency(milliseconds(50), who="node-1", latency_jitter=milliseconds(20))
        fault = live.resolved(latency, lasting_s=1.0)
        site = await live.nemesis.inject("f1", fault)
        wanted = list(fault.steps_ms)  # type: ignore[attr-defined]
        assert len(wanted) == 5

        async def last_step() -> bool:
            state = (await live.cluster.network.state())[live.link("node-1", "node-2")]
            return [t.attributes["latency"] for t in state.toxics.values()] == [wanted[-1]] * 2

        await until(last_step)
        await live.nemesis.heal(site)
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_a_short_delay_is_not_measured(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        site = await live.inject(faults.latency(seconds(0.002), who="node-1"))
        assert live.proof() == {"by": "toxiproxy", "links": 4}
        await live.nemesis.heal(site)
        assert live.proof(step="healed")["by"] == "toxiproxy"

    on_cluster(tmp_path, work)
