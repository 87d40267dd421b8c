"""`@experiment`: what is started, what works on it, what disturbs it, and for how long."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import UsageError
from harness.faults._schedules import Schedulable
from harness.load import K6, K6_PART
from harness.parts import Part
from harness.probes import Probe, StopAfter, StopWhen
from harness.runtime.needs import NEEDS
from harness.target import Target
from harness.units import Duration, seconds, to_seconds
from harness.workload import Client, Workload

if TYPE_CHECKING:
    from harness.engine import Run

ATTRIBUTE = "__chaos_experiment__"

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment before a seed is chosen. See `experiment` for the fields."""

    target: Target
    workload: Workload | None = None
    load: K6 | None = None
    client: type[Client] | None = None
    faults: Sequence[Schedulable] = ()
    duration: Duration = seconds(20)
    before: Duration | None = None
    recovery: Duration = seconds(15)
    steady_state: Sequence[Probe] = ()
    stop: Sequence[StopWhen | StopAfter] = ()
    catches: Mapping[str, str] = field(default_factory=dict)
    may_catch: Mapping[str, str] = field(default_factory=dict)
    needs: Sequence[str] = ()
    explore: Callable[[Run], Coroutine[Any, Any, None]] | None = None
    """What is done on the started cluster in the place of the usual course (`harness.machine`)."""

    def __post_init__(self) -> None:
        if not isinstance(self.target, Target):
            raise UsageError(
                f"@experiment: target={self.target!r} is no target.",
                do="Give an instance of a Target, such as Etcd(nodes=3).",
            )
        if self.workload is not None and not isinstance(self.workload, Workload):
            raise UsageError(
                f"@experiment: workload={self.workload!r} is no workload.",
                do="Give what registers(MyClient) returns, or a Workload.",
            )
        if self.workload is not None:
            _require_answerable(self.workload, self.target)
        for fault in self.faults:
            if not hasattr(fault, "occurrences"):
                raise UsageError(
                    f"@experiment: {fault!r} among faults is no fault.",
                    do="Give faults such as faults.kill(every=seconds(5)).",
                )
        for name in ("duration", "recovery"):
            to_seconds(getattr(self, name), f"@experiment: {name}")
        if self.load is not None and not isinstance(self.load, K6):
            raise UsageError(
                f"@experiment: load={self.load!r} is no load.", do='Give k6("script.js").'
            )
        for probe in self.steady_state:
            if not isinstance(probe, Probe):
                raise UsageError(
                    f"@experiment: {probe!r} in steady_state is no probe.",
                    do="Give probes such as probes.error_rate(at_most=0.05).",
                )
        for condition in self.stop:
            if not isinstance(condition, (StopWhen, StopAfter)):
                raise UsageError(
                    f"@experiment: {condition!r} in stop is no stop condition.",
                    do="Give stop_when(probe, lasting=seconds(3)) or stop_after(minutes(5)).",
                )
        for need in self.needs:
            if need not in NEEDS:
                raise UsageError(
                    f"@experiment: needs={need!r} is nothing that a runtime could have.",
                    do=f"There are {', '.join(NEEDS)}.",
                )
        self.before_s  # noqa: B018  refuses what is no duration
        for mutant in (*self.catches, *self.may_catch):
            if mutant not in self.target.mutants:
                raise UsageError(
                    f"@experiment: catches or may_catch names {mutant!r}, which is no mutant of "
                    f"{self.target.name}.",
                    do=f"Its mutants: {', '.join(self.target.mutants) or 'none'}.",
                )
        if self.faults and self.workload is None and self.load is None:
            raise UsageError(
                "@experiment: there are faults but no workload, so nothing could be judged.",
                do="Add workload=registers(MyClient) or load=k6(…), or inject faults step by step "
                "with the `nemesis` fixture and leave faults= out.",
            )

    @property
    def before_s(self) -> float:
        """How long the phase before the faults takes at least: by default half a second, and with
        a load one second beyond its warm-up, so that there is something to compare with."""
        if self.before is not None:
            return to_seconds(self.before, "@experiment: before", allow_zero=True)
        return 0.5 if self.load is None else self.load.warmup_s + 1.0

    @property
    def parts(self) -> Sequence[Part]:
        """The programs that it needs, beside the harness's own."""
        return (*self.target.parts, *((K6_PART,) if self.load is not None else ()))

    @property
    def client_kind(self) -> type[Client] | None:
        """The client of step-by-step experiments."""
        if self.client is not None:
            return self.client
        return self.workload.client if self.workload is not None else None


def _require_answerable(workload: Workload, target: Target) -> None:
    """Final reads must be methods of the client, and be asked of what there is."""
    for request in workload.final:
        if request.at is not None and request.at not in target.all_names:
            raise UsageError(
                f"@experiment: the final read {request.f} is asked of {request.at!r}, which is "
                f"no node and no dependency of {target.name}.",
                do=f"There are {', '.join(target.all_names)}.",
            )
        if not callable(getattr(workload.client, request.f, None)):
            raise UsageError(
                f"@experiment: the final read {request.f} is no method of "
                f"{workload.client.__name__}.",
                do="Define it there, and name it in its `reads`.",
            )


def experiment(
    *,
    target: Target,
    workload: Workload | None = None,
    load: K6 | None = None,
    client: type[Client] | None = None,
    faults: Sequence[Schedulable] = (),
    duration: Duration = seconds(20),
    before: Duration | None = None,
    recovery: Duration = seconds(15),
    steady_state: Sequence[Probe] = (),
    stop: Sequence[StopWhen | StopAfter] = (),
    catches: Mapping[str, str] | None = None,
    may_catch: Mapping[str, str] | None = None,
    needs: Sequence[str] = (),
) -> Callable[[Function], Function]:
    """Declare a test function to be an experiment.

    A test that takes `run` finds the whole experiment done: the `target` was started, the
    `workload` ran for `before` until every node answered, then for `duration` while `faults` came
    and went, everything was healed, every node had to answer again and to give the final reads
    within `recovery`, and the cluster is down. The test states what must hold:
    `run.expect(linearizable("cas-register"))`.

    `before` is half a second by default, or a second more than the warm-up of a `load`: k6 traffic
    beside the workload, whose script is looked for beside the test's file.
    `steady_state` are probes that must be within their tolerances before the faults and, within
    `recovery`, after the healing. The first of the `stop` conditions that is met aborts the run.
    `catches` names the target's mutants that this experiment must catch, and the check that must
    find each (the beginning of its name; or the outcome `unsteady`): `harness mutants` proves it.
    `may_catch` names those that it need not find, and the check that finds them if it does.

    A test that takes `cluster`, `nemesis` or `client` instead goes step by step on the started
    cluster; `client` names the client class if there is no workload, and `needs` what its faults
    need of the runtime (`["clock"]`; see docs/faults.md).

    Raises `UsageError` for anything that cannot be meant.
    """
    declared = Experiment(
        target=target,
        workload=workload,
        load=load,
        client=client,
        faults=tuple(faults),
        duration=duration,
        before=before,
        recovery=recovery,
        steady_state=tuple(steady_state),
        stop=tuple(stop),
        catches=dict(catches or {}),
        may_catch=dict(may_catch or {}),
        needs=(needs,) if isinstance(needs, str) else tuple(needs),
    )

    def mark(function: Function) -> Function:
        bound = declared
        if load is not None:
            file = Path(inspect.unwrap(function).__code__.co_filename)
            bound = dataclasses.replace(declared, load=load.beside(file.parent))
        setattr(function, ATTRIBUTE, bound)
        return function

    return mark


def experiment_of(function: Any) -> Experiment | None:
    """The experiment that a test function was declared to be, if any."""
    found = getattr(function, ATTRIBUTE, None)
    return found if isinstance(found, Experiment) else None
