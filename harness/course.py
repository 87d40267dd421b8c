"""The course of a declared experiment on a started cluster.

    steady? ─► workload + load + nemesis ─► heal all ─► steady again? ─► final reads

What can end it early stands beside it as guards: clients that fail, a stop condition, a load that
ends by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from harness.errors import AbortedError, BrokenError, UnreadableError, UsageError
from harness.load import LoadRun
from harness.probes import Look
from harness.steady import Watch
from harness.units import seconds
from harness.workload.drive import Drive, Endpoint

if TYPE_CHECKING:
    from harness.engine import Run

STOP_FILE = "STOP"
"""A file of this name in the run's folder, or in the folder of all runs, stops the run."""

SLACK_S = 30.0
"""Added to the bound of the load's length, for what the machine costs between phases."""


class Course:
    """One declared experiment under way. `carry_out` is called once."""

    def __init__(self, run: Run) -> None:
        experiment, plan = run.experiment, run.plan
        if experiment.workload is None and experiment.load is None:
            raise UsageError(
                "This experiment has no workload and no load.", do="Add workload=registers(…)."
            )
        self._run = run
        self._plan = plan
        self._cluster = run.cluster
        self._guards: list[asyncio.Task[None]] = []
        self._driving: asyncio.Task[None] | None = None
        self._stopping = False
        self._drive: Drive | None = None
        if experiment.workload is not None:
            cluster = run.cluster
            workload = experiment.workload
            if plan.ops is not None and plan.workload is not None:
                # A script is one of these clients, with this patience.
                workload = dataclasses.replace(
                    workload,
                    clients=plan.workload["clients"],
                    op_timeout=seconds(plan.workload["op_timeout_s"]),
                )
            self._drive = Drive(
                workload,
                experiment.target,
                [Endpoint(name, cluster.client_host(name)) for name in cluster.names],
                run.recorder,
                plan.seed,
                [
                    Endpoint(name, cluster.client_host(name))
                    for name in experiment.target.dependencies
                ],
                plan.ops,
                keep_reading=bool(experiment.steady_state),
            )
        self.load: LoadRun | None = None
        self.watch = Watch(
            Look(run.cluster, run.recorder),
            run.recorder.now,
            run.folder.measurements,
            steady_state=experiment.steady_state,
            stop=experiment.stop,
            sparse=plan.ops is not None,
            asked_to_stop=lambda: asked_to_stop(run),
        )
        self.recovered_s: float | None = None
        """From the moment when everything was healed to the steady state."""

    async def carry_out(self) -> None:
        """Go through the phases `before`, `during`, `after` and `final`.

        Sets the run's outcome `unsteady` where the steady state is not met before the faults, or
        not regained after them. Raises `AbortedError` if a stop condition was met; everything is
        healed then.
        """
        run, plan = self._run, self._plan
        try:
            await self._begin()
            run.enter("before")
            if wrong := await self._wrong_since(run.recorder.now(), plan.before_s):
                run.unsteady("before any fault", wrong)
                return
            run.enter("during")
            if self._drive is not None:
                self._drive.faults_begin()
            await self._beside(self._faults())
            run.enter("after")
            await self._beside(run.nemesis.heal_all())
            healed = run.recorder.now()
            # What only looks at the ops needs none after the healing but those that answer.
            least_s = plan.before_s if self.load or run.experiment.steady_state else 0.0
            if wrong := await self._wrong_since(healed, least_s):
                run.unsteady("after everything was healed", wrong)
                return
            self.recovered_s = round((run.recorder.now() - healed) / 1e9, 3)
            await self._end_traffic()
            run.enter("final")
            if self._drive is not None:
                unanswered = await self._drive.final_reads(plan.recovery_s)
                if unanswered:
                    run.unsteady("in the final reads", unanswered)
        except AbortedError:
            await run.nemesis.heal_all()
            raise
        finally:
            await self._close()

    async def _begin(self) -> None:
        """Start all traffic, and what guards it."""
        run, plan = self._run, self._plan
        load = run.experiment.load
        if load is not None:
            bound_s = plan.before_s + plan.duration_s + 3 * plan.recovery_s + SLACK_S
            self.load = await LoadRun.start(
                load,
                run.cluster.runtime,
                run.folder.load,
                log=run.folder.logs / "k6.log",
                nodes={name: run.cluster.client_host(name) for name in run.cluster.names},
                seed=plan.seed,
                bound_s=bound_s,
                start_ns=run.start_ns,
            )
            self._guard(self._load_goes_on(self.load))
        if self._drive is not None:
            self._driving = self._guard(self._drive_goes_on(self._drive))
        self._guard(self.watch.run())

    async def _end_traffic(self) -> None:
        """Let the clients finish and stop the load. What went wrong with them until then counts.
        Clients with a script finish it."""
        self._stopping = True
        if self._drive is not None:
            await self._beside(self._drive.script_done())
            self._drive.stop()
        if self._driving is not None:
            await self._driving
        if self.load is not None:
            await self.load.stop()

    async def _close(self) -> None:
        """End everything, whatever state it is in."""
        for guard in self._guards:
            guard.cancel()
        await asyncio.gather(*self._guards, return_exceptions=True)
        if self._drive is not None:
            await self._drive.close()
        if self.load is not None:
            with contextlib.suppress(BrokenError, UnreadableError):
                await self.load.stop()

    async def _wrong_since(self, since: int, least_s: float) -> list[str]:
        """Wait at least `least_s` seconds and until the steady state is met by what happened after
        `since`, within the bound for recovery. What was not met, in words."""
        bound_s = self._plan.recovery_s
        loop = asyncio.get_running_loop()
        began = loop.time()

        def left_s() -> float:
            return max(0.1, bound_s - (loop.time() - began))

        down = await self._beside(self._cluster.wait_serving(bound_s))
        if down:
            return _silent(down)
        if self._drive is not None:
            silent = await self._beside(self._drive.answered_since(since, least_s, left_s()))
            if silent:
                return _silent(silent)
        else:
            await self._beside(asyncio.sleep(least_s))
        wrong: list[str] = await self._beside(self.watch.steady_since(since, left_s()))
        return wrong

    async def _faults(self) -> None:
        """Carry out the schedule, and fill the duration."""
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(self._plan.duration_s))
            group.create_task(self._run.nemesis.carry_out(self._plan.faults))

    async def _beside(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do `work` beside the guards; what one of them fails with ends it at once."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                pending = [guard for guard in self._guards if not guard.done()]
                await asyncio.wait({task, *pending}, return_when=asyncio.FIRST_COMPLETED)
                for guard in self._guards:
                    if guard.done():
                        guard.result()
            return task.result()
        except ExceptionGroup as group:
            raise first_of(group) from None
        finally:
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task

    def _guard(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self._guards.append(asyncio.create_task(work))
        return self._guards[-1]

    async def _drive_goes_on(self, drive: Drive) -> None:
        await drive.run()
        if not self._stopping:
            raise BrokenError("The workload ended before it was told to.")

    async def _load_goes_on(self, load: LoadRun) -> None:
        if said := await load.watch():
            self._run.journal.write("note", what=said)


def asked_to_stop(run: Run) -> str | None:
    """Why a person wants the run to stop; None if nobody does."""
    if run.stop_asked is not None:
        return run.stop_asked
    folder = run.folder.path
    for path in (folder / STOP_FILE, folder.parent / STOP_FILE):
        if path.exists():
            return f"there is a file {path}; remove it before the next run"
    return None


def first_of(error: Exception) -> Exception:
    """The first plain exception in nested groups."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _silent(names: list[str]) -> list[str]:
    return [f"{name} did not answer" for name in names]
