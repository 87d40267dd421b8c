"""Smaller plans: pure functions from a plan to one with less in it.

Each gives a plan that can be carried out (every fault is healed within the duration, at least one
op is left where ops are listed), or None where there is none or nothing would change. All times in
seconds after the faults' phase began.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from harness import seeds
from harness.errors import HarnessError
from harness.faults import Fault
from harness.plan import Plan, PlannedFault
from harness.workload.script import PlannedOp

SHORTEST_S = 0.1
"""No run, and no fault that lasts, is made shorter than this."""


def digest(plan: Plan) -> str:
    """The same for plans that do the same; a name for it in files. O(size of the plan)."""
    data = plan.to_json()
    data.pop("about", None)
    data.pop("failure", None)
    written = json.dumps(data, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(written.encode()).hexdigest()[:16]


def same(one: Plan, other: Plan) -> bool:
    """Whether both plans do the same."""
    return one is other or digest(one) == digest(other)


def with_faults(plan: Plan, faults: Iterable[PlannedFault]) -> Plan:
    """`plan` with these of its faults, in their order."""
    ids = {fault.id for fault in faults}
    return replace(plan, faults=tuple(fault for fault in plan.faults if fault.id in ids))


def with_fault(plan: Plan, changed: PlannedFault) -> Plan | None:
    """`plan` with another fault under that id; None if it would not be healed in time."""
    if end(changed) > plan.duration_s:
        return None
    faults = tuple(changed if fault.id == changed.id else fault for fault in plan.faults)
    return replace(plan, faults=faults)


def with_ops(plan: Plan, ops: Iterable[PlannedOp]) -> Plan | None:
    """`plan` with these ops."""
    kept = tuple(ops)
    return replace(plan, ops=kept) if kept else None


def where(plan: Plan, keep: Callable[[PlannedOp], bool]) -> Plan | None:
    """`plan` with the ops for which `keep` holds."""
    return with_ops(plan, (op for op in plan.ops or () if keep(op)))


def thinned(plan: Plan, step: int) -> Plan | None:
    """`plan` with one of `step` ops, of each kind of op alike; drawn, the same every time."""
    ops = plan.ops or ()
    if len(ops) < step:
        return None
    rng = seeds.stream(plan.seed, "shrink", len(ops), step)
    by_kind: dict[str, list[int]] = {}
    for number, op in enumerate(ops):
        by_kind.setdefault(op.request.f, []).append(number)
    kept: set[int] = set()
    for numbers in by_kind.values():
        kept.update(rng.sample(numbers, math.ceil(len(numbers) / step)))
    if len(kept) == len(ops):
        return None
    return with_ops(plan, (ops[number] for number in sorted(kept)))


# Time.


def end(fault: PlannedFault) -> float:
    """When a fault is healed."""
    return round(fault.at_s + fault.lasting_s, 3)


def faults_end(plan: Plan) -> float:
    """When the last fault is healed; 0 without faults."""
    return max((end(fault) for fault in plan.faults), default=0.0)


def length(plan: Plan) -> float:
    """How long a run of the plan is: its faults' phase, and what is left of its ops then."""
    return max(plan.duration_s, max((op.at_s for op in plan.ops or ()), default=0.0))


def until(plan: Plan, end_s: float) -> Plan | None:
    """`plan` up to a moment; None if a fault is not healed by then."""
    end_s = max(_ms(end_s), SHORTEST_S)
    if faults_end(plan) > end_s or end_s >= length(plan):
        return None
    cut = replace(plan, duration_s=min(plan.duration_s, end_s))
    if plan.ops is None:
        return cut
    return with_ops(cut, (op for op in plan.ops if op.at_s <= end_s))


def cut_out(plan: Plan, from_s: float, to_s: float) -> Plan | None:
    """`plan` without a stretch of time: what comes later comes earlier. `from_s` below zero takes
    the ops before the faults' phase, too. None if a fault is in force in that stretch."""
    begin_s, to_s = max(0.0, _ms(from_s)), _ms(to_s)
    gone_s = to_s - begin_s
    if gone_s <= 0 or plan.duration_s - gone_s < SHORTEST_S:
        return None
    if any(fault.at_s < to_s and end(fault) > begin_s for fault in plan.faults):
        return None

    def earlier(at_s: float) -> float:
        return _ms(at_s - gone_s) if at_s >= to_s else at_s

    cut = replace(
        plan,
        duration_s=_ms(plan.duration_s - gone_s),
        faults=tuple(replace(fault, at_s=earlier(fault.at_s)) for fault in plan.faults),
    )
    if plan.ops is None:
        return cut
    return with_ops(
        cut,
        (
            replace(op, at_s=earlier(op.at_s))
            for op in plan.ops
            if not (from_s if from_s >= 0 else -math.inf) <= op.at_s < to_s
        ),
    )


def window(plan: Plan, from_s: float, to_s: float) -> Plan | None:
    """What `plan` does between two moments, as a whole plan."""
    tail = until(plan, to_s)
    if from_s <= 0:
        return tail
    return cut_out(tail or plan, -1, from_s)


def lasting(plan: Plan, fault: PlannedFault, lasting_s: float) -> Plan | None:
    """`plan` with a fault healed earlier."""
    lasting_s = readable(max(lasting_s, SHORTEST_S))
    if not fault.lasting_s or lasting_s >= fault.lasting_s:
        return None
    return with_fault(plan, replace(fault, lasting_s=lasting_s))


# Whom faults hit.


def concerned(plan: Plan, fault: PlannedFault) -> list[str]:
    """The nodes that a fault names, where it names several and could do with fewer."""
    fields = fault.fault.to_json()
    if fields.get("cuts"):
        return sorted({name for cut in fields["cuts"] for name in cut})
    names = {name for field in _lists_of_nodes(plan, fields) for name in fields[field]}
    return sorted(names) if len(names) > 1 else []


def hitting(plan: Plan, fault: PlannedFault, nodes: Sequence[str]) -> Plan | None:
    """`plan` with a fault that hits only `nodes`, of those it names."""
    fields = fault.fault.to_json()
    if fields.get("cuts"):
        cuts = [cut for cut in fields["cuts"] if set(cut) <= set(nodes)]
        return with_cuts(plan, fault, cuts)
    changed = {
        field: tuple(name for name in fields[field] if name in nodes)
        for field in _lists_of_nodes(plan, fields)
    }
    return _with_fields(plan, fault, changed) if all(changed.values()) else None


def pairs(plan: Plan, fault: PlannedFault) -> list[tuple[str, str]]:
    """The pairs of nodes that a netsplit cuts, whatever the direction."""
    cuts = fault.fault.to_json().get("cuts") or ()
    return sorted({(min(cut), max(cut)) for cut in cuts})


def with_pairs(plan: Plan, fault: PlannedFault, kept: Sequence[tuple[str, str]]) -> Plan | None:
    """`plan` with a netsplit that cuts only these pairs, in the directions it cut them."""
    cuts = fault.fault.to_json()["cuts"]
    return with_cuts(plan, fault, [cut for cut in cuts if (min(cut), max(cut)) in kept])


def with_cuts(plan: Plan, fault: PlannedFault, cuts: Sequence[Sequence[str]]) -> Plan | None:
    """`plan` with a netsplit of these directed cuts. Its shape becomes `links`, which is what a
    list of cuts is, but where packets are dropped: those know no directions."""
    fields = fault.fault.to_json()
    given = [tuple(cut) for cut in cuts]
    if not given or len(given) >= len(fields["cuts"]):
        return None
    shape = {} if fields["how"] == "packets" else {"shape": "links", "groups": None, "links": given}
    return _with_fields(plan, fault, {**shape, "cuts": given})


def _lists_of_nodes(plan: Plan, fields: dict[str, Any]) -> list[str]:
    return [
        name
        for name, value in fields.items()
        if isinstance(value, (list, tuple)) and value and all(one in plan.nodes for one in value)
    ]


def _with_fields(plan: Plan, fault: PlannedFault, changed: dict[str, Any]) -> Plan | None:
    made = _remade(fault.fault, changed)
    return None if made is None else with_fault(plan, replace(fault, fault=made))


def _remade(fault: Fault, changed: dict[str, Any]) -> Fault | None:
    """The fault with other fields; None if it refuses them, or nothing changes."""
    try:
        made = dataclasses.replace(fault, **changed)
    except (HarnessError, TypeError, ValueError):
        return None
    return None if made == fault else made


# Figures.


def readable(value: float, digits: int = 2) -> float:
    """`value` with two significant digits, and never more than three decimals."""
    if not value:
        return 0.0
    decimals = min(3, max(0, digits - 1 - math.floor(math.log10(abs(value)))))
    return round(value, decimals)


def rounded(plan: Plan, op_decimals: int | None) -> Plan | None:
    """`plan` with times and sizes of its faults that one can read aloud, and its ops' times with
    so many decimals (None: as they are)."""
    faults = tuple(
        replace(
            fault,
            at_s=readable(fault.at_s),
            lasting_s=readable(fault.lasting_s),
            fault=_remade(fault.fault, _readable_fields(fault.fault)) or fault.fault,
        )
        for fault in plan.faults
    )
    # Rounding up, never down: what begins late must still be healed in time.
    step = 0.1 if plan.duration_s < 10 else 1.0
    ends_s = max(plan.duration_s, max((end(fault) for fault in faults), default=0.0))
    duration_s = _ms(math.ceil(round(ends_s / step, 6)) * step)
    ops = plan.ops
    if ops is not None and op_decimals is not None:
        ops = tuple(replace(op, at_s=round(op.at_s, op_decimals) + 0.0) for op in ops)
    made = replace(plan, faults=faults, duration_s=duration_s, ops=ops)
    return None if same(made, plan) else made


def _readable_fields(fault: Fault) -> dict[str, Any]:
    return {
        name: readable(value)
        for name, value in fault.to_json().items()
        if isinstance(value, float) and value != readable(value)
    }


def gaps(plan: Plan) -> list[tuple[float, float]]:
    """The stretches between two faults in which none is in force."""
    return _between([(fault.at_s, end(fault)) for fault in plan.faults])


def idle(plan: Plan) -> list[tuple[float, float]]:
    """The stretches from the beginning to the last fault or op in which no fault is in force and
    no op begins."""
    busy = [(fault.at_s, end(fault)) for fault in plan.faults]
    busy += [(op.at_s, op.at_s) for op in plan.ops or () if op.at_s <= plan.duration_s]
    return _between([(0.0, 0.0), *busy])


def _between(busy: list[tuple[float, float]]) -> list[tuple[float, float]]:
    busy.sort()
    ends = itertools.accumulate((to_s for _, to_s in busy), max)
    found = zip(ends, (from_s for from_s, _ in busy[1:]), strict=False)
    return [(from_s, to_s) for from_s, to_s in found if to_s > from_s]


def _ms(value: float) -> float:
    return round(value, 3)
