"""Exploring: Hypothesis generates examples of a machine, and the first that fails becomes the plan.

A real cluster is not deterministic: Hypothesis would run an example again, call it flaky, and
shrink it over hundreds of runs. So it generates alone, and stops at the first failure; its example
database works as usual. What failed is written down as a plan, which `harness replay` and
`harness shrink` carry out like that of any run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, NoReturn

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import settings as Settings  # noqa: N812  a class
from hypothesis.errors import FlakyStrategyDefinition, InvalidDefinition, NoSuchExample
from hypothesis.internal.reflection import function_digest
from hypothesis.stateful import run_state_machine_as_test

from harness.check.verdict import Result, Verdict
from harness.declare import ATTRIBUTE, Experiment
from harness.engine import Run
from harness.errors import HarnessError, UsageError
from harness.faults import Fault
from harness.machine.bridge import Bridge, Stop
from harness.machine.machine import ClusterMachine
from harness.machine.stage import Stage, final_reads
from harness.target import Target
from harness.units import milliseconds
from harness.workload import Client, Request, Workload

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)

CLIENTS_PER_NODE = 2


class _FailedError(AssertionError):
    """Tells Hypothesis that the example failed."""


class Tally:
    """What the checks said of the examples so far."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Result], list[Verdict]] = {}

    def add(self, verdicts: Sequence[tuple[Verdict, Result]]) -> None:
        for found, hoped in verdicts:
            self._found.setdefault((found.check, hoped), []).append(found)

    def verdicts(self) -> list[tuple[Verdict, Result]]:
        """One verdict for each check: `valid` if it was so in an example and never invalid. An
        example in which nothing could be judged says nothing; if all are such, the first is it."""
        told: list[tuple[Verdict, Result]] = []
        for (check, hoped), several in self._found.items():
            valid = [one for one in several if one.valid]
            if not valid:
                told.append((several[0], hoped))
                continue
            ops = sum(one.ops for one in valid)
            summary = f"So in {len(valid)} of {len(several)} examples, {ops} ops."
            if rest := [one for one in several if not one.valid]:
                summary += f" Of the others the first: {rest[0].summary}"
            spent = sum(one.seconds for one in several)
            model = valid[0].model
            told.append(
                (Verdict(check, "valid", summary, model=model, ops=ops, seconds=spent), hoped)
            )
        return told


class Exploration:
    """How a machine is explored; the `explore` of its experiment. One for each test function."""

    def __init__(self, kind: type[ClusterMachine], settings: Settings) -> None:
        self._kind = kind
        self._settings = settings
        self._asserted: dict[Path, BaseException | None] = {}
        """Run folder → what a rule or an invariant raised there, for runs that were explored."""
        self._tally = Tally()
        self._over = False

    async def __call__(self, run: Run) -> None:
        """Carry out the plan if it lists ops, as any experiment; else generate examples."""
        experiment, plan = run.experiment, run.plan
        workload = experiment.workload
        assert workload is not None, "made by as_test"
        final = final_of(self._kind)
        if plan.ops is not None:
            keys = list(dict.fromkeys(op.request.key for op in plan.ops))
            workload = dataclasses.replace(workload, final=final_reads(final, keys))
            run.experiment = dataclasses.replace(experiment, workload=workload, explore=None)
            await run.carry_out()
            return
        # What follows from the seed alone is no script that could be read from the history.
        run.change_plan(dataclasses.replace(plan, workload=None))
        self._asserted[run.folder.path] = None
        self._tally, self._over = Tally(), False
        bridge = Bridge(run)
        stage = Stage(run, workload, final)
        try:
            await bridge.run_thread(lambda: self._generate(stage, bridge))
        finally:
            await stage.close()
        self._conclude(stage)

    def judge(self, run: Run) -> None:
        """The body of the test: judge a plan that was carried out, or raise what a rule raised."""
        if run.folder.path not in self._asserted:
            self._kind.judging(run).check()
        elif (error := self._asserted[run.folder.path]) is not None:
            raise error.with_traceback(_own_part(error))

    # In the thread of Hypothesis

    def _generate(self, stage: Stage, bridge: Bridge) -> None:
        """Let Hypothesis call the machine, until an example fails or all are done."""
        kind = self._kind

        def factory() -> ClusterMachine:
            if self._over:
                raise Stop  # Hypothesis wants to see the failure again; it has been written down
            machine = kind()
            machine.bind(self, stage, bridge)
            return machine

        # By these the examples of a machine are told apart in Hypothesis's database.
        factory.__name__ = f"{kind.__module__}.{kind.__qualname__}"
        digest = function_digest(kind)
        factory._hypothesis_internal_add_digest = digest  # type: ignore[attr-defined]
        examples = max(1, round(self._settings.max_examples * stage.run.plan.scale))
        settings = Settings(self._settings, max_examples=examples)
        try:
            run_state_machine_as_test(
                hypothesis.seed(stage.run.plan.seed)(factory),  # type: ignore[arg-type]
                settings=settings,
            )
        except BaseException as error:
            if self._over:
                return  # whatever it made of not being shown the failure again
            if isinstance(error, FlakyStrategyDefinition):
                _refuse_flaky(kind, error)
            if isinstance(error, (InvalidDefinition, NoSuchExample)):
                raise UsageError(
                    f"Machine {kind.__name__} is none that Hypothesis could run.", why=str(error)
                ) from None
            raise

    def abandon_example(self, machine: ClusterMachine) -> None:
        """End an example that Hypothesis does not count, for it could not be drawn to its end."""
        stage, bridge = machine.on_stage()
        bridge.call(stage.abandon())

    def conclude_example(self, machine: ClusterMachine, error: Exception | None) -> None:
        """End the example of `machine`, in which a rule raised `error`, and judge it. Raises
        `_FailedError` if it failed."""
        stage, bridge = machine.on_stage()
        run = stage.run
        steady = bridge.call(stage.end())
        by_rule = error is not None
        if steady and stage.ok:
            try:
                machine.check()
            except HarnessError:
                raise
            except Exception as raised:
                error = error or raised
        # Something is wrong, or the flaw that some example must show is shown.
        wrong = [found for found, _ in run.verdicts if found.result == "invalid"]
        if steady and not wrong and error is None:
            self._tally.add(run.verdicts)
            bridge.call(stage.tell("as it must be"))
            return
        self._over = True
        run.keep_example()
        if error is not None:
            self._asserted[run.folder.path] = error
        said = wrong[0].check if wrong else "unsteady" if error is None else type(error).__name__
        about = f"Example {stage.number} of {self._kind.__name__}."
        if error is not None and not wrong:
            about += " It failed by an assertion, which a replay makes only if it is in check()."
        run.change_plan(dataclasses.replace(stage.plan(), about=about))
        bridge.call(stage.tell(said))
        if not by_rule:
            raise _FailedError(said)

    # In the loop again

    def _conclude(self, stage: Stage) -> None:
        run, figures = stage.run, stage.figures
        spent = f"{median(figures.reset_s) * 1000:.0f} ms" if figures.reset_s else "no time"
        told = (
            f"{figures.examples} examples, {figures.ok} ops done, {figures.faults} faults in force;"
            f" {spent} from the last rule to the next example (median)"
        )
        run.journal.write("note", what=told)
        if self._over:
            return
        run.verdicts = self._tally.verdicts()
        if figures.ok == 0:
            run.settle("unknown", "Nothing was tested: no op of any example was done.")
        elif self._kind.faults and figures.faults == 0:
            run.settle("unknown", "Nothing was tested: no fault came in any example.")
        elif not run.verdicts:
            run.settle("unknown", "The machine judged nothing: let its check() expect something.")


def as_test(
    kind: type[ClusterMachine],
    examples: int,
    steps: int,
    settings: Settings | None,
    catches: dict[str, str],
    may_catch: dict[str, str],
) -> Callable[..., None]:
    """The test function that `ClusterMachine.experiment` returns. Raises `UsageError` for a machine
    that cannot be meant."""
    name = kind.__name__
    target, client = getattr(kind, "target", None), getattr(kind, "client", None)
    if not isinstance(target, Target):
        raise UsageError(
            f"Machine {name} has no target.", do=f"Write `target = Etcd(nodes=3)` in class {name}."
        )
    if not (isinstance(client, type) and issubclass(client, Client)):
        raise UsageError(
            f"Machine {name} has no client.", do=f"Write `client = EtcdClient` in class {name}."
        )
    if kind.check is ClusterMachine.check:
        raise UsageError(
            f"Machine {name} does not say what must hold.",
            do='Define `def check(self): self.expect(linearizable("register"))`.',
        )
    for fault in kind.faults:
        if not isinstance(fault, Fault):
            raise UsageError(
                f"Machine {name}: {fault!r} among faults is no fault.",
                do="Name single faults such as faults.kill(); which comes when is drawn.",
            )
        if fault.at is not None or fault.every is not None:
            raise UsageError(
                f"Machine {name}: faults.{fault.kind} has times of its own.",
                do="Leave out at= and every=: the rules decide when it comes.",
            )
    explored = Exploration(kind, _generating(examples, steps, settings))
    clients = CLIENTS_PER_NODE * target.nodes if kind.clients is None else kind.clients
    declared = Experiment(
        target=target,
        workload=Workload(
            name=name, client=client, requests=_none, clients=clients, op_timeout=kind.op_timeout
        ),
        before=milliseconds(200),
        recovery=kind.recovery,
        catches=catches,
        may_catch=may_catch,
        needs=tuple(dict.fromkeys(one.needs for one in kind.faults if one.needs is not None)),
        explore=explored,
    )

    def test(run: Run) -> None:
        explored.judge(run)

    test.__name__ = test.__qualname__ = name
    test.__doc__ = kind.__doc__
    test.__module__ = kind.__module__
    setattr(test, ATTRIBUTE, declared)
    return test


def final_of(kind: type[ClusterMachine]) -> Sequence[str | Request]:
    """The final reads of a machine."""
    if kind.final is not None:
        return kind.final
    has = "read" in kind.client.reads and callable(getattr(kind.client, "read", None))
    return ("read",) if has else ()


def _generating(examples: int, steps: int, settings: Settings | None) -> Settings:
    """Settings under which nobody meets a deadline or a health check, and nothing is shrunk."""
    base = settings if settings is not None else Settings()
    return Settings(
        base,
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        phases=[phase for phase in base.phases if phase in PHASES],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )


def _own_part(error: BaseException) -> TracebackType | None:
    """The traceback from where the machine's own code begins: what is above is Hypothesis's."""
    trace = error.__traceback__
    while trace is not None and _is_machinery(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace or error.__traceback__


def _is_machinery(file: str) -> bool:
    folders = (Path(__file__).parent, Path(hypothesis.__file__).parent)
    return any(folder in Path(file).parents for folder in folders) or file.startswith("<")


def _refuse_flaky(kind: type[ClusterMachine], error: Exception) -> NoReturn:
    raise UsageError(
        f"Machine {kind.__name__} drew differently after the same beginning.",
        why=str(error),
        do="Let preconditions, and what rules draw, depend on what rules did, never on what the "
        "cluster answered: that differs from time to time.",
    ) from None


def _none(*_: Any) -> NoReturn:
    raise UsageError(
        "A machine has no stream of requests.",
        why="Its rules say what is invoked; a plan of it lists its ops.",
        do="Carry out a plan with `ops`.",
    )
