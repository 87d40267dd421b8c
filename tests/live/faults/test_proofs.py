"""Proofs can fail (D4): a fault without effect and a healing without effect are found out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fixtures.registers import Registers
from harness import faults, milliseconds, seconds
from harness.errors import BrokenError, FaultError
from harness.faults import Fault
from harness.plan import PlannedFault
from tests.support.live_cluster import Live, on_cluster

pytestmark = pytest.mark.live


async def nothing(*_args: object, **_named: object) -> None:
    """What a sabotaged method does."""


async def says_it_stopped(*_args: object) -> str:
    return "exit status 0"


def no_pause(live: Live, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(live.cluster.runtime, "pause", nothing)


def no_kill(live: Live, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(live.cluster.runtime, "kill", nothing)


def no_stop(live: Live, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(live.cluster.runtime, "stop", says_it_stopped)


def no_spawn(live: Live, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(live.cluster.runtime, "spawn", nothing)


def no_resume(live: Live, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(live.cluster.runtime, "resume", nothing)


def no_calls(live: Live, patch: pytest.MonkeyPatch) -> None:
    """Toxiproxy is never told; the network believes that it was."""
    patch.setattr(live.cluster.network, "_carry_out", lambda changes: None)


def no_truth(live: Live, patch: pytest.MonkeyPatch) -> None:
    """Toxiproxy is never told and its account is forged: only a probe can tell."""
    no_calls(live, patch)

    async def no_differences() -> list[str]:
        return []

    patch.setattr(live.cluster.network, "verify", no_differences)


def no_release(live: Live, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(live.cluster.network, "release", nothing)


Sabotage = Callable[[Live, pytest.MonkeyPatch], None]

CUT = faults.netsplit("isolate", who="node-1")
REJECT = faults.netsplit("isolate", who="node-1", how="reject")
SLOW = faults.latency(milliseconds(50), who="node-1")
NARROW = faults.bandwidth(10, who="node-1")
LINGER = faults.slow_close(milliseconds(300), who="node-1")
CRASH_LOOP = faults.crash_loop(who="node-1", up=seconds(0.1), down=seconds(0.05))

NOT_LANDED: Sequence[tuple[str, Fault, Sabotage, str]] = (
    ("pause", faults.pause(who="node-1"), no_pause, "should be paused, but runs"),
    ("kill", faults.kill(who="node-1"), no_kill, "should be down, but runs"),
    ("stop", faults.stop(who="node-1"), no_stop, "should be down, but runs"),
    ("restart-stop", faults.restart(who="node-1"), no_stop, "still runs the processes"),
    ("crash-loop", CRASH_LOOP, no_kill, "should be down, but runs"),
    ("netsplit-state", CUT, no_calls, "not in the state"),
    ("netsplit", CUT, no_truth, "is cut, but a probe was answered"),
    ("reject", REJECT, no_truth, "is cut, but a probe was answered"),
    ("latency-state", SLOW, no_calls, "not in the state"),
    ("latency", SLOW, no_truth, "although the fault makes it take at least 100 ms"),
    ("bandwidth", NARROW, no_truth, "although the fault makes it take at least"),
    ("slow-close", LINGER, no_truth, "although the fault makes it take at least 300 ms"),
    ("reset", faults.reset(who="node-1"), no_truth, "was not reset"),
)


def test_a_fault_without_effect_is_found_out_and_undone(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        for name, fault, sabotage, message in NOT_LANDED:
            with pytest.MonkeyPatch.context() as patch:
                sabotage(live, patch)
                with pytest.raises(FaultError, match=message):
                    await live.inject(fault, name)
            steps = live.steps(name)
            assert steps[:2] == ["asked", "undo"], name
            assert steps[-2:] == ["failed", "undone"], name
            assert "proved" not in steps
            assert message in live.told(name, "failed")["error"]
            assert live.nemesis.in_force == []
            assert await live.cluster.network.verify() == []
            assert await live.cluster.wait_serving(20) == []
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_a_restart_that_does_not_start_is_found_out(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        with pytest.MonkeyPatch.context() as patch:
            no_spawn(live, patch)
            with pytest.raises(FaultError, match="was started again, but does not run"):
                await live.inject(faults.restart(who="node-1"))
        assert live.steps()[-2:] == ["failed", "undone"]

    on_cluster(tmp_path, work)


NOT_HEALED: Sequence[tuple[str, Fault, Sabotage, str]] = (
    ("kill", faults.kill(who="node-1"), no_spawn, "was started again, but does not run"),
    ("stop", faults.stop(who="node-1"), no_spawn, "was started again, but does not run"),
    ("pause", faults.pause(who="node-1"), no_resume, "should run again, but is still paused"),
    ("netsplit-state", CUT, no_calls, "not in the state"),
)


@pytest.mark.parametrize(
    ("fault", "sabotage", "message"),
    [case[1:] for case in NOT_HEALED],
    ids=[case[0] for case in NOT_HEALED],
)
def test_a_healing_without_effect_is_found_out(
    tmp_path: Path, fault: Fault, sabotage: Sabotage, message: str
) -> None:
    async def work(live: Live) -> None:
        site = await live.inject(fault)
        with pytest.MonkeyPatch.context() as patch:
            sabotage(live, patch)
            with pytest.raises(FaultError, match=message):
                await live.nemesis.heal(site)
            assert live.steps()[-2:] == ["healing", "failed"]
            assert message in live.told("f1", "failed")["error"]
            # It counts as in force until it is shown to be gone, and the first cause counts.
            assert live.nemesis.in_force == [site]
            await live.nemesis.heal_all()
            assert live.nemesis.in_force == [site]

    on_cluster(tmp_path, work)


@pytest.mark.parametrize("fault", [CUT, SLOW, NARROW, LINGER], ids=lambda fault: fault.kind)
def test_a_link_that_stays_disturbed_is_found_out_by_probes_alone(
    tmp_path: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.faults._probing.PATIENCE_S", 0.5)

    async def work(live: Live) -> None:
        site = await live.inject(fault)
        with pytest.MonkeyPatch.context() as patch:
            no_truth(live, patch)
            with pytest.raises(FaultError, match="is healed, but for"):
                await live.nemesis.heal(site)
            assert live.steps()[-2:] == ["healing", "failed"]

    on_cluster(tmp_path, work)


def test_a_node_that_hangs_by_itself_is_not_taken_for_a_link_that_stays_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.faults._probing.PATIENCE_S", 0.5)

    async def work(live: Live) -> None:
        site = await live.inject(CUT)
        # Past the cluster, which goes on to believe that the node serves.
        await live.cluster.runtime.pause("node-1")
        monkeypatch.setattr(live.cluster, "serving", lambda name: True)
        await live.nemesis.heal(site)
        assert live.proof(step="healed")["answered"] == 2  # the links towards the others
        await live.cluster.runtime.resume("node-1")

    on_cluster(tmp_path, work)


def test_a_release_that_fails_can_be_repeated(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        site = await live.inject(CUT)
        with pytest.MonkeyPatch.context() as patch:
            no_release(live, patch)
            # Nobody let go: the links are as they should be, but still held by the fault.
            await live.nemesis.heal(site)
        assert live.proof(step="healed") == {"by": "toxiproxy", "answered": 0}

    on_cluster(tmp_path, work)


def test_a_process_that_survives_breaks_the_run(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        async def immortal(name: str) -> None:
            raise BrokenError(f"Processes of {name} would not end: 1.")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(live.cluster.runtime, "kill", immortal)
            with pytest.raises(BrokenError, match="would not end"):
                await live.inject(faults.kill(who="node-1"))
        assert live.steps() == ["asked", "undo", "failed", "undone"]
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_a_fault_that_fails_in_a_schedule_stops_it_and_everything_is_undone(
    tmp_path: Path,
) -> None:
    async def work(live: Live) -> None:
        schedule = [
            PlannedFault("f1", 0.0, 30.0, live.resolved(CUT)),
            PlannedFault("f2", 0.2, 30.0, faults.pause(who="node-2")),
        ]
        with pytest.MonkeyPatch.context() as patch:
            no_pause(live, patch)
            async with asyncio.timeout(10):
                with pytest.raises(FaultError, match="f2: node-2 should be paused"):
                    await live.nemesis.carry_out(schedule)
        assert live.steps("f2")[-2:] == ["failed", "undone"]
        await live.nemesis.heal_all()
        # On a busy machine the first one was cut short in its proof.
        assert live.steps("f1")[-1] in ("healed", "undone")
        await live.assert_sound()

    on_cluster(tmp_path, work)


def test_a_crash_loop_that_fails_later_fails_its_healing_and_is_healed(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        site = await live.inject(CRASH_LOOP)
        with pytest.MonkeyPatch.context() as patch:
            no_kill(live, patch)
            tasks: Sequence[asyncio.Task[Any]] = list(site._tasks)
            await asyncio.wait(tasks, timeout=10)
            with pytest.raises(FaultError, match="should be down, but runs"):
                await live.nemesis.heal(site)
        assert live.steps()[-2:] == ["healing", "failed"]
        await live.nemesis.heal_all()
        assert live.steps()[-1] == "healed"
        await live.assert_sound()

    on_cluster(tmp_path, work)


LINK_FAULTS: Sequence[Fault] = (CUT, REJECT, SLOW, NARROW, LINGER, faults.reset(who="node-1"))


def test_without_probes_the_account_of_toxiproxy_has_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Registers, "probes", {})

    async def work(live: Live) -> None:
        for number, fault in enumerate(LINK_FAULTS):
            await live.nemesis.heal(await live.inject(fault, f"f{number}"))
            for step in ("proved", "healed"):
                assert live.proof(f"f{number}", step)["by"] == "toxiproxy", fault

    on_cluster(tmp_path, work)


def test_links_to_nodes_that_do_not_serve_are_not_probed(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        await live.inject(faults.kill(who="node-2"), "down")
        await live.inject(faults.pause(who="node-3"), "paused")
        for number, fault in enumerate(LINK_FAULTS):
            await live.nemesis.heal(await live.inject(fault, f"f{number}"))
            # The links of node-1 towards the others cannot be probed, those towards it can.
            proof = live.proof(f"f{number}")
            assert proof["links"] == 4
            assert proof.get("probed", proof.get("reset")) == 2
        await live.nemesis.heal_all()
        await live.assert_sound()

    on_cluster(tmp_path, work)
