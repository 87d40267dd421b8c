"""`@experiment`: what is started, what works on it, what disturbs it, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from harness.errors import UsageError
from harness.faults._schedules import Schedulable
from harness.target import Target
from harness.units import Duration, seconds, to_seconds
from harness.workload import Client, Workload

ATTRIBUTE = "__chaos_experiment__"

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment before a seed is chosen. See `experiment` for the fields."""

    target: Target
    workload: Workload | None = None
    client: type[Client] | None = None
    faults: Sequence[Schedulable] = ()
    duration: Duration = seconds(20)
    before: Duration = seconds(0.5)
    recovery: Duration = seconds(15)

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
        for fault in self.faults:
            if not hasattr(fault, "occurrences"):
                raise UsageError(
                    f"@experiment: {fault!r} among faults is no fault.",
                    do="Give faults such as faults.kill(every=seconds(5)).",
                )
        for name in ("duration", "recovery"):
            to_seconds(getattr(self, name), f"@experiment: {name}")
        to_seconds(self.before, "@experiment: before", allow_zero=True)
        if self.faults and self.workload is None:
            raise UsageError(
                "@experiment: there are faults but no workload, so nothing could be judged.",
                do="Add workload=registers(MyClient), or inject faults step by step with the "
                "`nemesis` fixture and leave faults= out.",
            )

    @property
    def client_kind(self) -> type[Client] | None:
        """The client of step-by-step experiments."""
        if self.client is not None:
            return self.client
        return self.workload.client if self.workload is not None else None


def experiment(
    *,
    target: Target,
    workload: Workload | None = None,
    client: type[Client] | None = None,
    faults: Sequence[Schedulable] = (),
    duration: Duration = seconds(20),
    before: Duration = seconds(0.5),
    recovery: Duration = seconds(15),
) -> Callable[[Function], Function]:
    """Declare a test function to be an experiment.

    A test that takes `run` finds the whole experiment done: the `target` was started, the
    `workload` ran for `before` until every node answered, then for `duration` while `faults` came
    and went, everything was healed, every node had to answer again and to give the final reads
    within `recovery`, and the cluster is down. The test states what must hold:
    `run.expect(linearizable("cas-register"))`.

    A test that takes `cluster`, `nemesis` or `client` instead goes step by step on the started
    cluster; `client` names the client class if there is no workload.

    Raises `UsageError` for anything that cannot be meant.
    """
    declared = Experiment(
        target=target,
        workload=workload,
        client=client,
        faults=tuple(faults),
        duration=duration,
        before=before,
        recovery=recovery,
    )

    def mark(function: Function) -> Function:
        setattr(function, ATTRIBUTE, declared)
        return function

    return mark


def experiment_of(function: Any) -> Experiment | None:
    """The experiment that a test function was declared to be, if any."""
    found = getattr(function, ATTRIBUTE, None)
    return found if isinstance(found, Experiment) else None
