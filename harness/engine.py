"""The engine: one run from its plan to its history (DESIGN: "One run").

    cluster up ─► steady? ─► workload + nemesis ─► heal all ─► steady again? ─► final reads ─► down

`Run` holds what a run needs and writes its folder. `carry_out` is a declared experiment;
step-by-step experiments use the same `Run` and call its parts themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from harness.check.drawing import draw
from harness.check.verdict import Check, Result, Verdict
from harness.check.windows import Figures, load_figures
from harness.cluster import Cluster
from harness.course import Course, first_of
from harness.declare import Experiment
from harness.errors import AbortedError, HarnessError, MissingPartError, UsageError
from harness.history import History, Phase
from harness.nemesis import Nemesis
from harness.parts import TOXIPROXY, Part, find
from harness.plan import Plan
from harness.record.bite import Bite, bites
from harness.record.events import read_events, write_events
from harness.record.folder import VERDICTS_SCHEMA, RunFolder, write_json
from harness.record.journal import Journal, Listener
from harness.record.recorder import Mark, Recorder
from harness.record.spans import FaultSpans
from harness.runtime import NodeExit, Runtime, resources
from harness.runtime.spec import RUNTIMES
from harness.runtimes import create_runtime
from harness.steady import Kept, kept
from harness.timeline import TargetEvent, Timeline
from harness.uninterrupted import uninterrupted
from harness.version import harness_version

Outcome: TypeAlias = Literal["passed", "failed", "unknown", "unsteady", "aborted", "broken"]

PROGRESS_INTERVAL_S = 0.5


@dataclass(frozen=True)
class Since:
    """Where the present example of a run began: the time, and the places in its files."""

    time: int = 0
    ops: Mark = field(default_factory=Mark)
    journal: int = 0


@dataclass
class Run:
    """One run: its plan, its folder, what it recorded, and how it ended."""

    experiment: Experiment
    plan: Plan
    folder: RunFolder
    replay_command: str
    listeners: list[Listener] = field(default_factory=list)
    keep_failed: bool = False
    runtime: str = RUNTIMES[0]
    regression: str | None = None
    """The file of the plan that is kept, if this run is of one."""
    recording: str | None = None
    """What was recorded and is carried out again, if this run is of a recorded plan."""
    outcome: Outcome | None = None
    reason: str = ""
    verdicts: list[tuple[Verdict, Result]] = field(default_factory=list)
    """Each verdict with the result that was expected of it."""
    bites: list[Bite] = field(default_factory=list)
    kept: str | None = None
    kept_at: str = ""
    """Where the nodes of a cluster that was kept are."""

    def __post_init__(self) -> None:
        self.start_ns = time.monotonic_ns()
        self._clock = {"unix_ns": time.time_ns(), "monotonic_ns": self.start_ns}
        self._started = datetime.now(UTC)
        self.plan.write(self.folder.plan)
        self.journal = Journal(self.folder.journal, self.start_ns, self.listeners)
        self.recorder = Recorder(self.folder.history, self.start_ns)
        self._phases: list[Phase] = []
        self._phase: tuple[str, int] | None = None
        self._progress: asyncio.Task[None] | None = None
        self._resources: asyncio.Task[None] | None = None
        self._runtime: Runtime | None = None
        self._ran_in: Mapping[str, str] = {}
        self._cluster: Cluster | None = None
        self._nemesis: Nemesis | None = None
        self._exits: list[str] = []
        self._quiesced = False
        self._course: Course | None = None
        self._spans = FaultSpans()
        self.journal.listeners.append(self._spans.hear)
        self._events: list[TargetEvent] | None = None
        self._since = Since()
        self._explored_from: int | None = None
        self.stop_asked: str | None = None
        self.raised: str | None = None
        """The line of the test that raised what failed it, if it was no check."""
        self.tested = False
        """Whether the test that judges this run came to its end."""
        self._write_identity()

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            raise UsageError("The cluster of this run is not up.")
        return self._cluster

    @property
    def nemesis(self) -> Nemesis:
        if self._nemesis is None:
            raise UsageError("The cluster of this run is not up.")
        return self._nemesis

    # The parts of a run

    async def up(self) -> None:
        """Start the cluster."""
        plan = self.plan
        self.journal.write("run", experiment=plan.experiment, seed=plan.seed, scale=plan.scale)
        self.enter("up")
        target = self.experiment.target

        def tell(what: str) -> None:
            self.journal.write("note", what=what)

        self._runtime = await create_runtime(
            self.runtime,
            target,
            logs=self.folder.logs,
            run_id=self.folder.path.name,
            on_exit=self._node_exited,
            tell=tell,
            needs=self.needs,
        )
        await self._require_needs()
        self._ran_in = self._runtime.versions()
        self._cluster = await Cluster.start(target, self._runtime, tell=tell)
        reasons: dict[str, list[str]] = {}
        for place, why in self._cluster.target.ignored.items():
            reasons.setdefault(why, []).append(place)
        for why, places in reasons.items():
            tell(f"{', '.join(places)}: {why}")
        self._nemesis = Nemesis(self._cluster, self.journal, self.recorder)
        for name in self._cluster.all_names:
            pids = list(self._cluster.processes(name))
            address = self._cluster.node(name).address
            self.journal.write("node", step="started", node=name, pids=pids, address=address)
        self._resources = asyncio.create_task(
            resources.record(self._runtime.sampler(), self.folder.resources, self.start_ns)
        )
        self._progress = asyncio.create_task(self._report_progress())

    @property
    def needs(self) -> dict[str, str]:
        """What the faults need of the runtime (words of `harness.runtime.needs`) → what for."""
        declared = dict.fromkeys(self.experiment.needs, "declared by the experiment")
        planned = {one.fault.needs: one.fault.describe() for one in reversed(self.plan.faults)}
        return {**declared, **{need: what for need, what in planned.items() if need is not None}}

    async def _require_needs(self) -> None:
        """Raise `MissingPartError` that names everything that cannot be had here."""
        assert self._runtime is not None, "the runtime was made"
        lacking = []
        for need, what in sorted(self.needs.items()):
            why = await asyncio.to_thread(self._runtime.lacks, need)
            if why is not None:
                lacking.append(f"{need} ({what}): {why}.")
        if lacking:
            raise MissingPartError(
                f"The {self.runtime} runtime has not what the faults of this experiment need.",
                why="\n".join(lacking),
            )

    async def carry_out(self) -> None:
        """A declared experiment on the started cluster, up to the final reads.

        Sets the outcome `unsteady` where the steady state is not met before the faults, or not
        regained after them.
        """
        if self.experiment.explore is not None:
            await self.experiment.explore(self)
            return
        self._course = Course(self)
        try:
            await self._course.carry_out()
        finally:
            if self._course.load is not None:
                self.verdicts += [(found, "valid") for found in self._course.load.verdicts]

    def ask_to_stop(self, reason: str) -> None:
        """Abort the run soon: a person wants it. May be called from any thread."""
        self.stop_asked = reason

    async def quiesce(self) -> None:
        """Heal everything and complete the history; the cluster stays up. Does nothing twice."""
        if self._quiesced:
            return
        self._quiesced = True
        if self._progress is not None:
            self._progress.cancel()
        try:
            if self._nemesis is not None:
                await self._nemesis.heal_all()
        finally:
            self.enter("down")
            if self._resources is not None:
                self._resources.cancel()
                await asyncio.gather(self._resources, return_exceptions=True)
            self.recorder.flush()

    async def down(self) -> None:
        """Heal everything and end the cluster, whatever state it is in. With `keep_failed` the
        cluster of a run that did not end well is left up. Does nothing twice."""
        try:
            await self.quiesce()
        finally:
            runtime, self._runtime = self._runtime, None
            keep = self.keep_failed and self.outcome not in (None, "passed")
            if runtime is not None:
                if keep:
                    self.kept = runtime.id
                    names = self.plan.nodes
                    self.kept_at = ", ".join(f"{name} {runtime.address(name)}" for name in names)
                closing = runtime if self._cluster is None else self._cluster
                await closing.close(keep=keep)
                self.enter(None)
                self._keep_events()

    @property
    def steadiness(self) -> dict[str, dict[str, Kept]]:
        """How each probe fared in each phase; nothing if there are none."""
        if self._course is None:
            return {}
        return kept(self._course.watch.measurements, self._phases)

    @property
    def load_figures(self) -> dict[str, dict[str, Figures]]:
        """What each route of the load met in each phase; nothing if there is no load."""
        if self._course is None or self._course.load is None:
            return {}
        return load_figures(self.history)

    @property
    def recovered_s(self) -> float | None:
        """How long after the healing the steady state was met; None if it was not, or not yet."""
        return self._course.recovered_s if self._course is not None else None

    # Several examples on one cluster

    def begin_anew(self) -> None:
        """Begin another example on the same cluster: `history` and `verdicts` know nothing of what
        was before. No op should be open."""
        if self._explored_from is None:
            self._explored_from = self.journal.mark()
        self._since = Since(self.recorder.now(), self.recorder.mark(), self.journal.mark())
        self.verdicts = []

    def keep_example(self) -> None:
        """Make this a run of the present example alone. What the examples before it left in the
        journal and the history is put into the folder `examples`."""
        assert self._explored_from is not None, "an example was begun"
        before = self.folder.path / "examples"
        before.mkdir()
        since = self._since
        self.journal.forget(self._explored_from, since.journal, before / self.folder.journal.name)
        self.recorder.forget(since.ops, before / self.folder.history.name)
        self._phases = [
            phase for phase in self._phases if phase.name == "up" or phase.start >= since.time
        ]
        self._since = Since(since.time)

    def change_plan(self, plan: Plan) -> None:
        """From now on this is a run of `plan`: what was explored is known."""
        self.plan = plan
        plan.write(self.folder.plan)

    # Judging

    @property
    def history(self) -> History:
        """The ops recorded so far, with nodes, phases, and what happened beside them."""
        course = self._course
        since = self._since
        spans = self._spans.until(self.recorder.now())
        timeline = Timeline(
            faults=[span for span in spans if span.start >= since.time],
            load=course.load.samples if course is not None and course.load is not None else (),
            events=[event for event in self._target_events() if event.time >= since.time],
            measurements=course.watch.measurements if course is not None else (),
        )
        phases = tuple(phase for phase in self._phases if phase.start >= since.time)
        return History(self.recorder.ops[since.ops.ops :], self.plan.nodes, phases, timeline)

    def expect(self, check: Check, *, verdict: Result = "valid") -> Verdict:
        """Judge the history with `check`. The test fails at its end if the verdict is not the one
        expected; all expectations are judged, whatever becomes of the first.

        `verdict="invalid"` states that the flaw must be found: for targets known to have it.
        """
        if verdict not in ("valid", "invalid", "unknown"):
            raise UsageError(
                f"expect(verdict={verdict!r}): there is no such verdict.",
                do="Give valid, invalid or unknown.",
            )
        name = getattr(check, "name", None)
        if not callable(check) or not isinstance(name, str):
            raise UsageError(
                f"run.expect: {check!r} is no check.",
                do="Give a check such as available(at_least=0.6), or a function with a `name`.",
            )
        found = check(self.history)
        if not isinstance(found, Verdict):
            raise UsageError(
                f"run.expect: the check {name} returned {found!r}.",
                do='Return a Verdict(name, "valid" or "invalid" or "unknown", summary).',
            )
        self.verdicts.append((found, verdict))
        return found

    def conclusion(self) -> tuple[Outcome, str]:
        """The outcome that the verdicts give, and why. An invariant that broke counts more than
        a cluster that was unsteady; `unknown` is never a pass."""
        wrong = [(found, hoped) for found, hoped in self.verdicts if found.result != hoped]
        invalid = [(found, hoped) for found, hoped in wrong if found.result != "unknown"]
        if invalid:
            found, hoped = invalid[0]
            return "failed", f"{found.check}: {found.result}, expected {hoped}. {found.summary}"
        if self.outcome is not None:
            return self.outcome, self.reason
        if wrong:
            return "unknown", f"{wrong[0][0].check}: unknown. {wrong[0][0].summary}"
        if not self.tested:
            return "unknown", "The test did not run to its end."
        if self._course is not None and not self.verdicts:
            return "unknown", "The test judged nothing: add run.expect(…)."
        return "passed", ""

    def end(self, outcome: Outcome, reason: str = "") -> None:
        """Complete the folder with how the run ended."""
        self.outcome, self.reason = outcome, reason
        self.recorder.close()
        self.journal.write("end", outcome=outcome, reason=reason)
        self.journal.close()
        self.bites = bites(self.folder.journal, self.recorder.ops)
        write_json(
            self.folder.verdicts,
            {
                "schema": VERDICTS_SCHEMA,
                "verdicts": [
                    {**found.to_json(), "expected": hoped} for found, hoped in self.verdicts
                ],
            },
        )
        for number, (found, _) in enumerate(self.verdicts, start=1):
            invalid = found.result == "invalid"
            picture = draw(found, History(self.recorder.ops)) if invalid else None
            if picture is not None:
                self.folder.evidence(number).write_text(picture, encoding="utf-8")
        self._write_identity()

    def settle(self, outcome: Outcome, reason: str) -> None:
        """Set the outcome if none was set before: the first cause counts."""
        if self.outcome is None:
            self.outcome, self.reason = outcome, reason
            self.journal.write("note", outcome=outcome, reason=reason)

    # Helpers

    def unsteady(self, when: str, wrong: Sequence[str]) -> None:
        """The steady state was not met: what was `wrong`, in words, within the bound."""
        lines = [f"{'; '.join(wrong)} {when} within {self.plan.recovery_s:g} s.", *self._exits]
        for name in self.cluster.all_names:
            if any(name in one.split() for one in wrong):
                tail = self.cluster.log_tail(name, 5)
                lines.append(f"The end of logs/{name}.log:\n{tail}" if tail else "")
        self.settle("unsteady", "\n".join(line for line in lines if line))

    def _node_exited(self, ended: NodeExit) -> None:
        at_s = self.recorder.now() / 1e9
        self._exits.append(
            f"{ended.name} exited by itself at {at_s:.1f} s with status {ended.status}."
        )
        self.journal.write("node", step="exited", node=ended.name, status=ended.status)

    def _target_events(self) -> list[TargetEvent]:
        """What the nodes said in their logs: read when the cluster is down, and until then as
        often as somebody asks."""
        if self._events is not None:
            return self._events
        names, target = self.plan.nodes, self.experiment.target
        return read_events(target, self.folder.logs, names, self.start_ns)

    def _keep_events(self) -> None:
        """Read the logs for the last time. A target that cannot read them is told of once."""
        try:
            found = self._target_events()
        except HarnessError:
            self._events = []
            raise
        self._events = found
        if found:
            write_events(self.folder.events, found)

    def enter(self, name: str | None, **about: Any) -> None:
        """Begin a phase; None ends the last one. `about` stands in the journal beside its name."""
        now = self.recorder.now()
        if self._phase is not None:
            before, since = self._phase
            self._phases.append(Phase(before, since, now))
        self._phase = (name, now) if name else None
        if name:
            self.journal.write("phase", phase=name, **about)

    async def _report_progress(self) -> None:
        last_ops = 0
        last = time.monotonic()
        while True:
            await asyncio.sleep(PROGRESS_INTERVAL_S)
            done, now = sum(self.recorder.outcomes.values()), time.monotonic()
            self.journal.progress(
                phase=self._phase[0] if self._phase else "",
                faults=[site.fault.describe() for site in self.nemesis.in_force],
                ops_per_s=round((done - last_ops) / (now - last)),
                **self.recorder.outcomes,
            )
            last_ops, last = done, now

    def _write_identity(self) -> None:
        target = self.experiment.target
        self.folder.write_identity(
            {
                "experiment": self.plan.experiment,
                "seed": self.plan.seed,
                "scale": self.plan.scale,
                "runtime": self.runtime,
                "started": self._started.isoformat(timespec="seconds"),
                "clock": self._clock,
                "duration_s": round((time.monotonic_ns() - self.start_ns) / 1e9, 3),
                "outcome": self.outcome,
                "reason": self.reason,
                "raised": self.raised,
                "ops": dict(self.recorder.outcomes),
                "faults": len(self.plan.faults),
                "nodes": list(self.plan.nodes),
                "phases": [[p.name, p.start, p.end] for p in self._phases],
                "bites": [bite.to_json() for bite in self.bites],
                "recovered_s": self.recovered_s,
                "steady_state": {
                    probe: {phase: asdict(one) for phase, one in phases.items()}
                    for probe, phases in self.steadiness.items()
                },
                "load": {
                    route: {phase: one.to_json() for phase, one in phases.items()}
                    for route, phases in self.load_figures.items()
                },
                "mutant": target.mutant,
                "regression": self.regression,
                "recording": self.recording,
                "kept": self.kept,
                "versions": {**versions(self.experiment.parts), **self._ran_in},
                "replay": self.replay_command,
            }
        )


async def perform(run: Run) -> None:
    """A whole declared experiment: up, carry out, down. The outcome so far is left in `run`.

    Infrastructure that fails ends as `broken` and is raised, after everything was taken down.
    With `keep_failed` the cluster stays up until `run.down()`, which then knows the verdicts.
    """
    try:
        await run.up()
        await run.carry_out()
    except asyncio.CancelledError:
        run.settle("aborted", "Interrupted.")
        raise
    except AbortedError as error:
        run.settle("aborted", str(error))
    except Exception as error:
        cause = first_of(error)
        run.settle("broken", str(cause))
        raise cause from None
    finally:
        await uninterrupted(run.quiesce() if run.keep_failed else run.down())


def versions(parts: Sequence[Part]) -> dict[str, str | None]:
    """The versions of everything that had a part in a run; `parts` are the target's."""
    found: dict[str, str | None] = {
        "harness": harness_version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for part in (TOXIPROXY, *parts):
        with contextlib.suppress(HarnessError):
            found[part.name] = find(part).version
    return found
