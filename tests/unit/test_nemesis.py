"""The nemesis on a cluster that is made up: what it tells in which order, and what it undoes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from harness import faults
from harness.errors import BrokenError, FaultError, UsageError
from harness.faults import Fault, Members, Proof
from harness.nemesis import Nemesis, Site
from harness.plan import PlannedFault
from harness.record.journal import Event, Journal
from harness.record.recorder import Recorder


class Holders:
    """A cluster of which only the roles are asked."""

    all_names = names = ("node-1", "node-2", "node-3")

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self._answers = list(answers)

    async def holders(self, role: str) -> tuple[str, ...]:
        return self._answers.pop(0) if self._answers else ()


@dataclass(frozen=True)
class Scripted(Fault):
    """A fault that calls what it was given for each step, and notes that it did."""

    kind: ClassVar[str] = ""

    script: dict[str, Callable[[Site], Awaitable[Any]]] = field(default_factory=dict)
    did: list[str] = field(default_factory=list)

    async def _do(self, step: str, site: Site) -> Proof:
        self.did.append(step)
        if step in self.script:
            await self.script[step](site)
        return {"saw": step}

    def resolve(self, rng: random.Random, members: Members, lasting_s: float) -> Self:
        return self

    async def inject(self, site: Site) -> None:
        await self._do("inject", site)

    async def prove(self, site: Site) -> Proof:
        return await self._do("prove", site)

    async def prove_held(self, site: Site) -> None:
        if "prove_held" in self.script:
            await self._do("prove_held", site)

    async def heal(self, site: Site) -> None:
        await self._do("heal", site)

    async def prove_healed(self, site: Site) -> Proof:
        return await self._do("prove_healed", site)

    def describe(self) -> str:
        return "scripted"


class Scene:
    """A nemesis and what it told."""

    def __init__(self, folder: Path, cluster: Any = None) -> None:
        self.events: list[Event] = []
        self.journal = Journal(folder / "journal.jsonl", 0, [self.events.append])
        self.recorder = Recorder(folder / "history.jsonl", 0)
        self.nemesis = Nemesis(cluster or Holders(), self.journal, self.recorder)  # type: ignore[arg-type]

    def steps(self, id: str = "f1") -> list[str]:
        return [event.data["step"] for event in self.events if event.data["id"] == id]

    def told(self, step: str) -> dict[str, Any]:
        return next(e.data for e in reversed(self.events) if e.data["step"] == step)

    def close(self) -> None:
        self.journal.close()
        self.recorder.close()


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    scene = Scene(tmp_path)
    yield scene
    scene.close()


def failing(error: BaseException) -> Callable[[Site], Awaitable[None]]:
    async def fail(site: Site) -> None:
        raise error

    return fail


async def forever(site: Site) -> None:
    await asyncio.Event().wait()


def test_the_undo_is_told_before_the_fault_is_injected(scene: Scene) -> None:
    seen: list[list[str]] = []

    async def look(site: Site) -> None:
        seen.append(scene.steps())
        site.nodes = ("node-2",)
        site.note(connections=3)

    async def work() -> None:
        fault = Scripted(script={"inject": look, "heal": look})
        site = await scene.nemesis.inject("f1", fault, asked_s=1.5)
        assert scene.nemesis.in_force == [site]
        await scene.nemesis.heal(site)
        await scene.nemesis.heal(site)
        assert scene.nemesis.in_force == []
        assert fault.did == ["inject", "prove", "heal", "prove_healed"]

    asyncio.run(work())
    assert seen[0] == ["asked", "undo"]
    assert seen[1] == ["asked", "undo", "injected", "proved", "healing"]
    assert scene.steps() == ["asked", "undo", "injected", "proved", "healing", "healed"]
    assert scene.told("asked")["asked_s"] == 1.5
    injected = scene.told("injected")
    assert (injected["nodes"], injected["in_flight"], injected["connections"]) == (["node-2"], 0, 3)
    assert scene.told("healed")["proof"] == {"saw": "prove_healed"}


def test_a_fault_that_somebody_else_undid_is_told_and_healed_nevertheless(scene: Scene) -> None:
    async def work() -> None:
        fault = Scripted(script={"prove_held": failing(FaultError("somebody undid it"))})
        site = await scene.nemesis.inject("f1", fault)
        with pytest.raises(FaultError, match="somebody undid it"):
            await scene.nemesis.heal(site)
        assert scene.nemesis.in_force == []
        assert fault.did == ["inject", "prove", "prove_held", "heal", "prove_healed"]

    asyncio.run(work())
    assert scene.steps()[3:] == ["proved", "healing", "failed", "healed"]
    assert scene.told("failed")["error"] == "somebody undid it"


def test_what_ends_early_need_not_have_held(scene: Scene) -> None:
    async def work() -> None:
        fault = Scripted(script={"prove_held": failing(FaultError("somebody undid it"))})
        await scene.nemesis.inject("f1", fault)
        await scene.nemesis.heal_all()
        assert fault.did == ["inject", "prove", "heal", "prove_healed"]

    asyncio.run(work())


@pytest.mark.parametrize("step", ["inject", "prove"])
def test_a_fault_that_fails_is_undone_and_the_cause_is_told(scene: Scene, step: str) -> None:
    async def work() -> None:
        fault = Scripted(script={step: failing(FaultError("It did not land."))})
        with pytest.raises(FaultError, match="did not land"):
            await scene.nemesis.inject("f1", fault)
        assert fault.did[-1] == "heal"
        assert scene.nemesis.in_force == []

    asyncio.run(work())
    assert scene.steps()[-2:] == ["failed", "undone"]
    assert scene.told("failed")["error"] == "It did not land."


@pytest.mark.parametrize("step", ["inject", "prove", "heal", "prove_healed"])
def test_a_step_that_does_not_end_is_a_failure(
    scene: Scene, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.nemesis.STEP_TIMEOUT_S", 0.02)

    async def work() -> None:
        fault = Scripted(script={step: forever})
        with pytest.raises(FaultError, match=r"f1 \(scripted\) .* within 0.02 s"):
            await scene.nemesis.heal(await scene.nemesis.inject("f1", fault))

    asyncio.run(work())
    assert "within 0.02 s" in scene.told("failed")["error"]


def test_a_time_out_inside_a_step_is_not_taken_for_its_deadline(scene: Scene) -> None:
    async def work() -> None:
        fault = Scripted(script={"prove": failing(TimeoutError("the probe's own"))})
        with pytest.raises(TimeoutError, match="the probe's own"):
            await scene.nemesis.inject("f1", fault)

    asyncio.run(work())
    assert scene.steps()[-1] == "undone"


def test_a_failing_undo_does_not_hide_the_cause_and_is_tried_again(scene: Scene) -> None:
    troubles = [BrokenError("No way back."), BrokenError("No way back.")]

    async def stuck(site: Site) -> None:
        if troubles:
            raise troubles.pop()

    async def work() -> None:
        fault = Scripted(script={"prove": failing(FaultError("The cause.")), "heal": stuck})
        with pytest.raises(FaultError, match="The cause"):
            await scene.nemesis.inject("f1", fault)
        assert "undone" not in scene.steps()
        assert scene.told("failed")["error"] == "No way back."
        # In force still, and what follows does not hide the cause either.
        assert [site.id for site in scene.nemesis.in_force] == ["f1"]
        await scene.nemesis.heal_all()
        assert [site.id for site in scene.nemesis.in_force] == ["f1"]
        await scene.nemesis.heal_all()
        assert scene.nemesis.in_force == []

    asyncio.run(work())
    assert scene.steps()[-1] == "healed"


def test_healing_all_tries_all_and_raises_the_first_failure(scene: Scene) -> None:
    async def work() -> None:
        sound = [Scripted(), Scripted()]
        await scene.nemesis.inject("f1", sound[0])
        for id in ("f2", "f3"):
            script = {"heal": failing(FaultError(f"{id} stays."))}
            await scene.nemesis.inject(id, Scripted(script=script))
        await scene.nemesis.inject("f4", sound[1])
        with pytest.raises(FaultError, match="f3 stays"):
            await scene.nemesis.heal_all()
        assert [site.id for site in scene.nemesis.in_force] == ["f2", "f3"]
        assert [fault.did[-1] for fault in sound] == ["prove_healed"] * 2

    asyncio.run(work())


def test_two_who_heal_at_once_heal_once(scene: Scene) -> None:
    async def work() -> None:
        fault = Scripted()
        site = await scene.nemesis.inject("f1", fault)
        await asyncio.gather(scene.nemesis.heal(site), scene.nemesis.heal_all())
        assert fault.did.count("heal") == 1

    asyncio.run(work())


@pytest.mark.parametrize("step", ["inject", "prove"])
def test_a_cancelled_injection_is_undone_even_if_cancelled_again(scene: Scene, step: str) -> None:
    async def work() -> None:
        reached, going_on, healed = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def reach(site: Site) -> None:
            reached.set()
            await asyncio.Event().wait()

        async def slowly(site: Site) -> None:
            going_on.set()
            await healed.wait()

        fault = Scripted(script={step: reach, "heal": slowly})
        task = asyncio.create_task(scene.nemesis.inject("f1", fault))
        await reached.wait()
        task.cancel()
        await going_on.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # What goes on is waited for, and not done twice.
        healing = asyncio.create_task(scene.nemesis.heal_all())
        healed.set()
        await healing
        assert fault.did.count("heal") == 1
        assert scene.nemesis.in_force == []

    asyncio.run(work())
    assert scene.steps()[-1] == "undone"
    assert "failed" not in scene.steps()


@pytest.mark.parametrize("step", ["heal", "prove_healed"])
def test_a_cancelled_healing_is_taken_up_again(scene: Scene, step: str) -> None:
    async def work() -> None:
        reached = asyncio.Event()

        async def reach(site: Site) -> None:
            if not reached.is_set():
                reached.set()
                await asyncio.Event().wait()

        site = await scene.nemesis.inject("f1", Scripted(script={step: reach}))
        task = asyncio.create_task(scene.nemesis.heal(site))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert scene.nemesis.in_force == [site]
        await scene.nemesis.heal_all()
        assert scene.nemesis.in_force == []

    asyncio.run(work())
    assert scene.steps()[-3:] == ["healing", "healing", "healed"]


def test_work_in_the_background_ends_with_the_fault_and_its_failure_fails_the_healing(
    scene: Scene,
) -> None:
    ended = []
    began = asyncio.Event()

    async def background() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def broken() -> None:
        raise BrokenError("It broke off.")

    async def work() -> None:
        async def spawn(site: Site) -> None:
            site.spawn(background())

        site = await scene.nemesis.inject("f1", Scripted(script={"inject": spawn}))
        await began.wait()
        await scene.nemesis.heal(site)
        assert ended == [True]

        async def spawn_broken(site: Site) -> None:
            site.spawn(broken())

        fault = Scripted(script={"inject": spawn_broken})
        site = await scene.nemesis.inject("f2", fault)
        await asyncio.wait(site._tasks)
        with pytest.raises(BrokenError, match="broke off"):
            await scene.nemesis.heal(site)
        assert fault.did[-1] == "heal"

    asyncio.run(work())


def test_a_schedule_is_carried_out_in_its_order(scene: Scene) -> None:
    async def work() -> None:
        await scene.nemesis.carry_out(
            [PlannedFault("f2", 0.05, 0.02, Scripted()), PlannedFault("f1", 0.0, 0.2, Scripted())]
        )

    asyncio.run(work())
    order = [(e.data["id"], e.data["step"]) for e in scene.events]
    assert order.index(("f1", "proved")) < order.index(("f2", "asked"))
    assert order.index(("f2", "healed")) < order.index(("f1", "healing"))


def test_the_first_failure_of_a_schedule_ends_it(scene: Scene) -> None:
    async def work() -> None:
        bad = Scripted(script={"inject": failing(FaultError("The first."))})
        never = Scripted()
        with pytest.raises(FaultError, match="The first"):
            await scene.nemesis.carry_out(
                [
                    PlannedFault("f1", 0.0, 60.0, Scripted()),
                    PlannedFault("f2", 0.0, 60.0, bad),
                    PlannedFault("f3", 60.0, 60.0, never),
                ]
            )
        assert never.did == []
        await scene.nemesis.heal_all()

    asyncio.run(work())
    assert scene.steps("f3") == []
    assert scene.nemesis.in_force == []


def test_one_name_is_in_force_once(scene: Scene) -> None:
    async def work() -> None:
        site = await scene.nemesis.inject("f1", Scripted())
        with pytest.raises(UsageError, match="f1 is in force already"):
            await scene.nemesis.inject("f1", Scripted())
        assert scene.nemesis.in_force == [site]

    asyncio.run(work())


# Whom it hits


def site_of(cluster: Holders, who: Any) -> Site:
    return Site("f1", faults.pause(who=who), cluster)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("who", "nodes"), [("node-2", ("node-2",)), (("node-1", "node-3"), ("node-1", "node-3"))]
)
def test_named_nodes_are_hit_without_asking(who: Any, nodes: tuple[str, ...]) -> None:
    site = site_of(Holders(), who)
    assert asyncio.run(site.resolve(who)) == site.nodes == nodes
    assert site.notes == {}


def test_a_role_is_waited_for_until_somebody_holds_it() -> None:
    site = site_of(Holders((), (), ("node-3",)), "leader")
    assert asyncio.run(site.resolve("leader")) == ("node-3",)
    assert site.notes == {"role": "leader"}


def test_a_role_that_nobody_holds_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.nemesis.ROLE_PATIENCE_S", 0.1)
    site = site_of(Holders(), "leader")
    with pytest.raises(FaultError, match=r"pause leader.*nobody held the role 'leader' for 0.1 s"):
        asyncio.run(site.resolve("leader"))
