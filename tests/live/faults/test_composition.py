"""Faults that overlap on the same nodes and links: healing one heals only that one."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from harness import faults, milliseconds, seconds
from harness.errors import UsageError
from harness.faults import Fault
from harness.nemesis import Site
from harness.network import sockets
from harness.plan import PlannedFault
from tests.support.live_cluster import ANSWER_S, HEALED, Live, abort, on_cluster, until

pytestmark = pytest.mark.live

BOTH_WAYS = [("node-1", "node-2"), ("node-2", "node-1")]


async def down(live: Live) -> bool:
    return live.kernel_states("node-1") == ""


async def frozen(live: Live) -> bool:
    return live.stands_still("node-1")


async def runs(live: Live) -> bool:
    return live.kernel_states("node-1").strip("SRD") == "" and not await down(live)


async def cut(live: Live) -> bool:
    return await live.silent("node-1", "node-2") and await live.silent("node-2", "node-1")


async def cut_and_slow_elsewhere(live: Live) -> bool:
    return await cut(live) and await live.took_s("node-3", "node-1") >= 0.06


async def slow(live: Live) -> bool:
    return await live.took_s("node-1", "node-2") >= 0.06


async def refused(live: Live) -> bool:
    return await live.say("node-1", "node-2") == "refused"


Look = Callable[[Live], Awaitable[bool]]

KILL = faults.kill(who="node-1")
STOP = faults.stop(who="node-1")
PAUSE = faults.pause(who="node-1")
CUT = faults.netsplit("isolate", who="node-1")
CUT_2 = faults.netsplit("isolate", who="node-2")
CUT_LINKS = faults.netsplit("links", links=BOTH_WAYS)
CUT_REJECT = faults.netsplit("isolate", who="node-1", how="reject")
SLOW = faults.latency(milliseconds(30), who="node-1")

# Two faults; what is seen while both are in force, when only the first is, when only the second is.
PAIRS: Sequence[tuple[str, Fault, Fault, Look, Look, Look]] = (
    ("kill+kill", KILL, KILL, down, down, down),
    ("kill+stop", KILL, STOP, down, down, down),
    ("pause+pause", PAUSE, PAUSE, frozen, frozen, frozen),
    ("pause+kill", PAUSE, KILL, down, frozen, down),
    ("kill+pause", KILL, PAUSE, down, down, frozen),
    ("netsplit+netsplit", CUT, CUT_2, cut, cut, cut),
    ("netsplit+links", CUT, CUT_LINKS, cut, cut, cut),
    ("netsplit+latency", CUT_LINKS, SLOW, cut_and_slow_elsewhere, cut, slow),
    ("latency+netsplit", SLOW, CUT_LINKS, cut_and_slow_elsewhere, slow, cut),
    ("drop+reject", CUT, CUT_REJECT, refused, cut, refused),
    ("netsplit+kill", CUT_LINKS, KILL, down, cut, down),
    ("netsplit+pause", CUT_LINKS, PAUSE, frozen, cut, frozen),
)


@pytest.mark.parametrize("first_out", [0, 1], ids=["first-out", "last-out"])
def test_of_two_faults_each_heals_alone(tmp_path: Path, first_out: int) -> None:
    async def work(live: Live) -> None:
        for name, first, second, both, only_first, only_second in PAIRS:
            ids = (f"{name}.1", f"{name}.2")
            sites = [await live.inject(first, ids[0]), await live.inject(second, ids[1])]
            assert await both(live), name
            await live.nemesis.heal(sites[first_out])
            left = only_second if first_out == 0 else only_first
            if left is cut:
                # The node behind the cut may still be starting: silence must be the cut's.
                assert await live.cluster.wait_serving(20) == []
            assert await left(live), name
            assert live.nemesis.in_force == [sites[1 - first_out]]
            await live.nemesis.heal(sites[1 - first_out])
            assert live.nemesis.in_force == []
            assert await live.cluster.network.verify() == []
            assert await runs(live), name
            assert await live.cluster.wait_serving(20) == []
            for id in ids:
                assert live.steps(id) == list(HEALED)
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_three_faults_heal_in_every_order(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        for number, order in enumerate(itertools.permutations(range(3))):
            sites = [
                await live.inject(fault, f"f{number}.{index}")
                for index, fault in enumerate((PAUSE, CUT, KILL))
            ]
            for index in order:
                await live.nemesis.heal(sites[index])
            assert await live.cluster.network.verify() == []
            assert await live.cluster.wait_serving(20) == []
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_a_node_that_is_paused_while_it_is_down_is_paused_once_it_is_up(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        killed = await live.inject(KILL, "f1")
        paused = await live.inject(PAUSE, "f2")
        assert live.proof("f2") == {"stopped": {"node-1": []}}
        await live.nemesis.heal(killed)
        assert await frozen(live)
        assert not live.cluster.serving("node-1")
        await live.nemesis.heal(paused)
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_a_restart_does_not_revive_what_is_killed_or_thaw_what_is_paused(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        killed = await live.inject(KILL, "f1")
        await live.nemesis.heal(await live.inject(faults.restart(who="node-1"), "f2"))
        assert await down(live)
        await live.nemesis.heal(killed)
        assert await live.cluster.wait_serving(20) == []

        paused = await live.inject(PAUSE, "f3")
        before = live.cluster.processes("node-1")
        await live.nemesis.heal(await live.inject(faults.restart(who="node-1"), "f4"))
        assert await frozen(live)
        assert not set(live.cluster.processes("node-1")) & set(before)
        await live.nemesis.heal(paused)
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_a_kill_during_the_proofs_of_a_netsplit_breaks_neither(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        for number in range(3):
            split, kill = await asyncio.gather(
                live.inject(CUT, f"split-{number}"), live.inject(KILL, f"kill-{number}")
            )
            await asyncio.gather(live.nemesis.heal(split), live.nemesis.heal(kill))
            assert await live.cluster.wait_serving(20) == []
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_faults_injected_and_healed_at_the_same_moment_get_along(tmp_path: Path) -> None:
    everything: Sequence[Fault] = (
        KILL,
        STOP,
        PAUSE,
        CUT,
        CUT_2,
        SLOW,
        faults.bandwidth(50, who="node-1"),
        faults.slow_close(milliseconds(100), who="node-1"),
        faults.netsplit("one-way", who="node-3", how="reject"),
        faults.reset(who="node-2"),
        faults.crash_loop(who="node-3", up=seconds(0.1), down=seconds(0.05)),
    )

    async def work(live: Live) -> None:
        sites = await asyncio.gather(
            *(live.inject(fault, f"f{number}") for number, fault in enumerate(everything))
        )
        await asyncio.gather(*(live.nemesis.heal(site) for site in sites))
        await live.assert_sound()
        for number in range(len(everything)):
            assert live.steps(f"f{number}") == list(HEALED)

    on_cluster(tmp_path, work)


def test_everything_is_healed_the_newest_first_from_any_state(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        for number, fault in enumerate((CUT, PAUSE, SLOW, KILL, CUT_LINKS)):
            await live.inject(fault, f"f{number}")
        healed: list[str] = []
        heal = live.nemesis.heal

        async def note(site: Site, *, in_order: bool = True) -> None:
            healed.append(site.id)
            await heal(site, in_order=in_order)

        live.nemesis.heal = note  # type: ignore[method-assign]
        await live.nemesis.heal_all()
        assert healed == ["f4", "f3", "f2", "f1", "f0"]
        await live.assert_sound()
        await live.nemesis.heal_all()
        assert len(healed) == 5

    on_cluster(tmp_path, work)


def test_a_schedule_cancelled_at_any_moment_leaves_nothing(tmp_path: Path) -> None:
    schedule = [
        PlannedFault("f1", 0.0, 0.6, CUT),
        PlannedFault("f2", 0.05, 0.3, KILL),
        PlannedFault("f3", 0.1, 0.4, PAUSE),
        PlannedFault("f4", 0.15, 0.3, faults.crash_loop(who="node-2", up=0.1, down=0.05)),
        PlannedFault("f5", 0.2, 0.3, SLOW),
        PlannedFault("f6", 0.25, 0.0, faults.restart(who="node-3")),
    ]

    async def work(live: Live) -> None:
        seen: set[str] = set()
        for events in range(1, 32, 3):
            task = asyncio.create_task(
                live.nemesis.carry_out([live_fault(live, planned) for planned in schedule])
            )
            before = len(live.journal.read_bytes().splitlines())

            def many(least: int = before + events) -> bool:
                return len(live.journal.read_bytes().splitlines()) >= least

            await until(many)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            seen.update(type(site.fault).__name__ for site in live.nemesis.in_force)
            await live.nemesis.heal_all()
            assert live.nemesis.in_force == []
            assert await live.cluster.network.verify() == []
            assert await live.cluster.wait_serving(20) == []
        # It was worth it: there was something to heal.
        assert len(seen) >= 3
        await live.assert_sound()

    on_cluster(tmp_path, work)


def live_fault(live: Live, planned: PlannedFault) -> PlannedFault:
    return PlannedFault(planned.id, planned.at_s, planned.lasting_s, live.resolved(planned.fault))


def test_a_schedule_is_carried_out_and_healed_in_time(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        await live.nemesis.carry_out(
            [
                live_fault(live, PlannedFault("f1", 0.0, 0.3, CUT)),
                live_fault(live, PlannedFault("f2", 0.1, 0.0, faults.restart(who="node-2"))),
                live_fault(live, PlannedFault("f3", 0.1, 0.2, SLOW)),
            ]
        )
        for id in ("f1", "f2", "f3"):
            assert live.steps(id) == list(HEALED)
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_the_links_of_a_paused_node_can_be_cut_while_it_reads_nothing(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        paused = await live.inject(PAUSE, "f1")
        _, writer = await asyncio.open_connection(*live.link("client", "node-1").listen)
        # More than all buffers on the way hold: Toxiproxy waits for the node to read.
        writer.write(b"x" * (16 << 20))
        address = live.link("client", "node-1").upstream
        near = live.cluster.runtime.toxiproxy_process()
        await until(
            lambda: [s for s in sockets.connections(near) if s.remote == address and s.stalled]
        )
        cut_clients = faults.netsplit("groups", groups=[["node-1"], ["client", "node-2"]])
        split = await live.inject(cut_clients, "f2")
        await live.nemesis.heal(split)
        await abort(writer)
        assert await frozen(live)
        await live.nemesis.heal(paused)
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_one_name_cannot_be_in_force_twice(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        site = await live.inject(CUT, "f1")
        with pytest.raises(UsageError, match="f1 is in force already"):
            await live.inject(KILL, "f1")
        assert live.nemesis.in_force == [site]
        assert await cut(live)
        async with asyncio.timeout(ANSWER_S + 10):
            await live.nemesis.heal_all()
        await live.assert_sound()

    on_cluster(tmp_path, work)
