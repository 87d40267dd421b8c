"""Whether a plan can be meant for an experiment: what people edit is looked at before it is run."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

from harness.declare import Experiment
from harness.errors import UsageError
from harness.faults import Members
from harness.plan import Plan, PlannedFault
from harness.workload import Client
from harness.workload.script import PlannedOp


def require_valid(plan: Plan, experiment: Experiment, path: Path) -> None:
    """Raise `UsageError` that names `path` and what in the plan cannot be meant: nodes and roles
    that the target has not, faults that do not fit into the run, ops that no client can invoke."""
    target = experiment.target
    lacking = [name for name in plan.nodes if name not in target.all_names]
    if lacking:
        raise UsageError(
            f"{path} is for {', '.join(plan.nodes)}, but {target.name} has "
            f"{', '.join(target.all_names)}.",
            why=f"{', '.join(lacking)}: not among the nodes of the experiment as it is now.",
            do="Give the experiment's target as many nodes as it had, or correct the plan.",
        )
    members = Members.of(target)
    for fault in plan.faults:
        _require_fault(fault, plan, members, path)
    if plan.ops is not None and experiment.workload is not None and plan.workload is not None:
        clients = plan.workload.get("clients")
        if not isinstance(clients, int):
            raise UsageError(f"{path}: the workload has no number of `clients`.")
        _require_ops(plan.ops, clients, experiment.workload.client, path)


def _require_fault(planned: PlannedFault, plan: Plan, members: Members, path: Path) -> None:
    place = f"{path}, fault {planned.id}"
    if planned.at_s < 0 or planned.lasting_s < 0:
        raise UsageError(
            f"{place}: at_s {planned.at_s:g}, lasting_s {planned.lasting_s:g}.",
            do="Both are seconds, of zero or more.",
        )
    if planned.at_s + planned.lasting_s > plan.duration_s + 1e-6:
        raise UsageError(
            f"{place} is healed at {planned.at_s + planned.lasting_s:g} s, after the end of the "
            f"faults' phase.",
            why=f"The plan's duration_s is {plan.duration_s:g}.",
            do="Make duration_s larger, or at_s and lasting_s smaller.",
        )
    named = {*members.nodes, *members.dependencies}
    who = getattr(planned.fault, "who", ())
    cuts = getattr(planned.fault, "cuts", None)
    names = [who] if isinstance(who, str) else list(who)
    if isinstance(who, str) and (who in members.roles or cuts is not None):
        names = []  # (a role, or a shape that has its cuts and asks nobody)
    names += [name for cut in cuts or () for name in cut if name != "client"]
    for name in names:
        if name not in named:
            roles = ", ".join(members.roles) or "none"
            raise UsageError(
                f"{place}: there is no node and no role {name!r}.",
                do=f"Nodes: {', '.join(sorted(named))}; roles of this target: {roles}.",
            )


def _require_ops(ops: Sequence[PlannedOp], clients: int, kind: type[Client], path: Path) -> None:
    if not ops:
        raise UsageError(
            f"{path} lists no op, so nothing could be judged.",
            do="List some, or leave `ops` out: then the workload draws them from the seed.",
        )
    for number, op in enumerate(ops, start=1):
        place, request = f"{path}, op {number}", op.request
        if not 0 <= op.client < clients:
            raise UsageError(
                f"{place} is one of client {op.client}.",
                why=f"The plan's workload has the clients 0 to {clients - 1}.",
                do="Correct the client of the op, or `clients` in the plan's workload.",
            )
        method = getattr(kind, request.f, None)
        if not callable(method):
            raise UsageError(
                f"{place}: {kind.__name__} has no method {request.f!r}.",
                do="Correct `f` of the op, or give the client that method again.",
            )
        key = () if request.key is None else (request.key,)
        try:
            inspect.signature(method).bind(None, *key, *request.values, **(request.named or {}))
        except TypeError as error:
            raise UsageError(
                f"{place}: {kind.__name__}.{request.f} cannot be called so: {error}.",
                do="Correct `key`, `values` and `named` of the op.",
            ) from None
