"""The stage: the started cluster that the examples of a machine take place on, one after another.

Everything here runs in the engine's loop; `harness.machine.bridge` is the way to it from the thread
in which Hypothesis works.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from harness import faults
from harness.engine import Run
from harness.faults import Fault
from harness.history import Op
from harness.nemesis import Site
from harness.plan import Plan, PlannedFault
from harness.record.recorder import FLUSH_INTERVAL_S
from harness.seeds import stream
from harness.workload.drive import Drive, Endpoint
from harness.workload.script import read_script
from harness.workload.workload import Observed, Request, Workload

DRAWN_S = 60.0
"""For how long a varying fault has its values drawn; nobody knows when it will be healed."""

ROLE_PATIENCE_S = 1.0
"""How long a fault waits for somebody to hold the role it is meant for, before it is left out."""


@dataclass
class Injected:
    """A fault of the present example. `site` is None if it was left out: nobody held its role."""

    id: str
    fault: Fault
    asked_ns: int
    site: Site | None = None
    healed_ns: int | None = None


@dataclass
class Figures:
    """What took place in all examples so far."""

    examples: int = 0
    ok: int = 0
    faults: int = 0
    reset_s: list[float] = field(default_factory=list)
    """For each example: healing, until every node answered, and the reset."""


class Stage:
    """Made when the cluster is up; `begin` and `end` frame each example."""

    def __init__(self, run: Run, workload: Workload, final: Sequence[str | Request]) -> None:
        self.run = run
        self.clients = workload.clients
        self.names = run.cluster.names
        self.figures = Figures()
        self.number = 0
        self.prefix = ""
        self._workload = workload
        self._final = final
        target, cluster = run.experiment.target, run.cluster
        self._members = faults.Members.of(target)
        self._drive = Drive(
            workload,
            target,
            [Endpoint(name, cluster.client_host(name)) for name in cluster.names],
            run.recorder,
            run.plan.seed,
            [Endpoint(name, cluster.client_host(name)) for name in target.dependencies],
            by_hand=True,
        )
        self._locks = [asyncio.Lock() for _ in range(workload.clients)]
        self._observed: list[Observed] = []
        self._begun: list[asyncio.Task[Op]] = []
        self._keys: dict[Any, None] = {}
        self._injected: list[Injected] = []
        self._count = 0
        self._begun_ns = 0
        self._ended_ns = 0
        self._flusher = asyncio.create_task(self._flush())

    # One example

    async def begin(self) -> None:
        """Begin an example: fresh keys, nothing in force, nothing recorded."""
        self.number += 1
        self.prefix = f"e{self.number}-"
        self._observed = [{} for _ in range(self.clients)]
        self._keys = {}
        self._injected = []
        self.run.begin_anew()
        self.run.enter("during", example=self.number)
        self._begun_ns = self.run.recorder.now()

    async def op(self, client: int, request: Request) -> Op:
        """One op of a client, after those that it has begun before."""
        self._keys.setdefault(request.key)
        async with self._locks[client]:
            return await self._drive.invoke(client, request, self._observed[client])

    async def begin_op(self, client: int, request: Request) -> None:
        """The same without waiting for it. Raises what is wrong with ops begun before."""
        for task in self._begun:
            if task.done() and not task.cancelled():
                task.result()
        self._begun.append(asyncio.create_task(self.op(client, request)))
        await asyncio.sleep(0)  # it is invoked now, if its client is free

    async def settle(self) -> None:
        """Wait until all ops that were begun have ended."""
        begun, self._begun = self._begun, []
        try:
            await asyncio.gather(*begun)
        except BaseException:
            await _cancelled(begun)
            raise

    async def inject(self, fault: Fault, number: int) -> Injected:
        """Inject a fault whose random choices are drawn from `number`. One on a role that nobody
        holds is left out: which faults come must not depend on the cluster, or Hypothesis could
        not generate them."""
        self._count += 1
        id = f"f{self._count}"
        rng = stream(number, "machine", fault.kind)
        plain = dataclasses.replace(fault, at=None, every=None, lasting=None)
        resolved = plain.resolve(rng, self._members, DRAWN_S)
        injected = Injected(id, resolved, self.run.recorder.now())
        who = getattr(resolved, "who", None)
        if (
            isinstance(who, str)
            and who in self._members.roles
            and not await self._somebody_holds(who)
        ):
            what = f"{id} {resolved.describe()} left out: nobody holds the role"
            self.run.journal.write("note", what=what)
            return injected
        self._injected.append(injected)
        asked_s = round((injected.asked_ns - self._begun_ns) / 1e9, 3)
        injected.site = await self.run.nemesis.inject(id, resolved, asked_s)
        self.figures.faults += 1
        if not resolved.lasts:
            await self.heal(injected)
        return injected

    async def heal(self, injected: Injected) -> None:
        """Heal one fault, if it is in force."""
        if injected.site is not None and injected.healed_ns is None:
            injected.healed_ns = self.run.recorder.now()
            await self.run.nemesis.heal(injected.site)

    async def end(self) -> bool:
        """Heal everything, wait until every node answers, and ask the final reads. False if that
        took too long: then the run is `unsteady`, and says so."""
        run, began = self.run, time.monotonic()
        bound_s = run.plan.recovery_s
        run.enter("after", example=self.number)
        self._ended_ns = run.recorder.now()
        await self._heal_all()
        healed = run.recorder.now()
        await self.settle()
        self._drive.ask_finally(self._final_reads())
        if silent := await run.cluster.wait_serving(bound_s):
            return self._unsteady("after everything was healed", silent)
        if silent := await self._drive.answered_since(healed, 0.0, bound_s):
            return self._unsteady("after everything was healed", silent)
        self.figures.reset_s.append(time.monotonic() - began)
        run.enter("final", example=self.number)
        unanswered = await self._drive.final_reads(bound_s)
        run.enter(None)
        run.recorder.flush()
        if unanswered:
            run.unsteady("in the final reads", unanswered)
            return False
        self.figures.examples += 1
        self.figures.ok += self.ok
        return True

    async def wait(self, wait_s: float) -> None:
        """Let time pass."""
        await asyncio.sleep(wait_s)

    async def prepare(self) -> None:
        """Make ops possible that belong to no example: those of a reset."""
        self._observed = [{} for _ in range(self.clients)]
        self.prefix = ""

    async def tell(self, said: str) -> None:
        """Note for people how the present example went."""
        history = self.run.history
        ops = sum(not op.final for op in history.ops)
        took_s = (self._ended_ns - self._begun_ns) / 1e9
        what = (
            f"example {self.number}: {ops} ops, {len(history.timeline.faults)} faults in "
            f"{took_s:.1f} s: {said}"
        )
        self.run.journal.write("note", what=what)

    async def abandon(self) -> None:
        """End an example that Hypothesis does not count: heal everything, and judge nothing."""
        await self._heal_all()
        await self.settle()
        await self.run.cluster.wait_serving(self.run.plan.recovery_s)
        self.run.enter(None)
        if not self.run.history.ops and not self._injected:
            self.number -= 1  # mostly Hypothesis finds no rule to begin with

    @property
    def ok(self) -> int:
        """How many ops of the present example were done, final reads aside."""
        return sum(op.outcome == "ok" and not op.final for op in self.run.history.ops)

    def plan(self) -> Plan:
        """The example as it took place: its faults and its ops with their moments."""
        run = self.run
        landed = [one for one in self._injected if one.site is not None]
        nodes = len(run.plan.nodes)
        ops = read_script(run.folder.history, self.clients, nodes, self._begun_ns)
        return dataclasses.replace(
            run.plan,
            duration_s=round((self._ended_ns - self._begun_ns) / 1e9 + 0.001, 3),
            workload=self._workload.to_json(),
            faults=tuple(self._planned(one) for one in landed),
            ops=ops,
        )

    async def close(self) -> None:
        """End what is under way, and every connection."""
        self._flusher.cancel()
        begun, self._begun = self._begun, []
        await _cancelled([*begun, self._flusher])
        await self._drive.close()

    # Helpers

    def _planned(self, one: Injected) -> PlannedFault:
        ended_ns = self._ended_ns if one.healed_ns is None else min(one.healed_ns, self._ended_ns)
        at_s = round((one.asked_ns - self._begun_ns) / 1e9, 3)
        lasting_s = round((ended_ns - one.asked_ns) / 1e9, 3) if one.fault.lasts else 0.0
        return PlannedFault(one.id, at_s, lasting_s, one.fault)

    def _final_reads(self) -> list[Request]:
        return final_reads(self._final, list(self._keys))

    async def _heal_all(self) -> None:
        await self.run.nemesis.heal_all()

    async def _somebody_holds(self, role: str) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ROLE_PATIENCE_S
        while not await self.run.cluster.holders(role):
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    def _unsteady(self, when: str, silent: Sequence[str]) -> bool:
        self.run.enter(None)
        self.run.unsteady(when, [f"{name} did not answer" for name in silent])
        return False

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            self.run.recorder.flush()


def final_reads(final: Sequence[str | Request], keys: Sequence[Any]) -> list[Request]:
    """The final reads of an example: a name is asked about every one of its keys, a `Request` as it
    is."""
    found = []
    for one in final:
        if isinstance(one, Request):
            found.append(one)
        else:
            found += [Request(one, key) for key in keys if key is not None]
    return found


async def _cancelled(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
