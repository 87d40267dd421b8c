"""A plan read aloud: "cut node-1 from node-2 for 4 s (at 2 s); 3 clients, 41 ops, 8 s"."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from harness.plan import Plan, PlannedFault

_SHOWN = 8
"""Faults that are told one by one; of a longer schedule the rest is counted."""

_DOING = frozenset({"kill", "stop", "restart", "pause", "reset"})
"""Kinds that are verbs: "kill node-2". Others are told as "latency 100 ms on node-2"."""

_BACK = frozenset({"kill", "stop"})
"""Faults of a moment; what lasts is only that the node is down."""


def sentence(plan: Plan) -> str:
    """What `plan` does, in one sentence for people: the faults in order, then the size."""
    faults = sorted(plan.faults, key=lambda fault: (fault.at_s, fault.id))
    told = [fault_aloud(fault, plan.nodes) for fault in faults[:_SHOWN]]
    if len(faults) > _SHOWN:
        told.append(f"and {count(len(faults) - _SHOWN, 'more fault')}")
    return f"{', '.join(told) or 'no fault'}; {size(plan)}"


def size(plan: Plan) -> str:
    """How much a plan does: "3 clients, 41 ops, 8 s"."""
    parts = []
    if plan.ops is not None:
        parts += [count(len({op.client for op in plan.ops}), "client")]
        parts += [count(len(plan.ops), "op")]
    elif plan.workload is not None:
        rate = plan.workload.get("rate")
        clients = count(plan.workload.get("clients", 0), "client")
        parts.append(clients if rate is None else f"{clients} at {rate:g} ops/s")
    if plan.load is not None:
        parts.append("load")
    last_s = max((op.at_s for op in plan.ops or ()), default=0.0)
    return ", ".join([*parts, seconds(max(plan.duration_s, last_s))])


def fault_aloud(planned: PlannedFault, nodes: Collection[str]) -> str:
    """One fault of a schedule and when it comes. `nodes` are the names that are no roles."""
    fault = planned.fault
    what = _cut(fault.to_json(), nodes) if fault.kind == "netsplit" else _hit(planned, nodes)
    at = f"at {seconds(planned.at_s)}"
    if not planned.lasting_s:
        return f"{what} {at}"
    lasting = seconds(planned.lasting_s)
    if fault.kind in _BACK:
        return f"{what} {at} (back after {lasting})"
    return f"{what} for {lasting} ({at})"


def count(number: int, what: str) -> str:
    """ "1 op", "2 ops"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def seconds(value: float) -> str:
    """ "0.5 s"; at most three decimals."""
    return f"{round(value, 3):g} s"


def listed(names: Iterable[str]) -> str:
    """ "node-1, node-2 and node-3"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _hit(planned: PlannedFault, nodes: Collection[str]) -> str:
    """The fault's own words, with a role told as "the leader"."""
    fault = planned.fault
    said, who = fault.describe(), getattr(fault, "who", None)
    if who is None:
        return said
    written = who if isinstance(who, str) else ", ".join(who)
    if not written or not said.endswith(written):
        return said
    what, whom = said.removesuffix(written).strip(), _whom(who, nodes)
    if fault.kind == "kill_worker":
        return f"kill a worker of {whom}"
    return f"{what} {whom}" if fault.kind in _DOING else f"{what} on {whom}"


def _whom(who: str | Sequence[str], nodes: Collection[str]) -> str:
    if isinstance(who, str):
        return who if who in nodes else f"the {who}"
    return listed(who)


def _cut(fields: dict[str, Any], nodes: Collection[str]) -> str:
    how = "" if fields["how"] == "drop" else f" ({fields['how']})"
    if fields["cuts"]:
        return f"cut {_cuts_aloud([(cut[0], cut[1]) for cut in fields['cuts']])}{how}"
    whom = _whom(fields["who"], nodes)
    if fields["shape"] == "one-way":
        return f"cut what {whom} says to all others{how}"
    if fields["shape"] == "isolate":
        return f"cut {whom} from all others{how}"
    return f"netsplit {fields['shape']}{how}"


def _cuts_aloud(cuts: Sequence[tuple[str, str]]) -> str:
    """Directed cuts, as sides that are cut off from each other where they are that."""
    wanted = set(cuts)
    if all((node, source) in wanted for source, node in wanted):
        sides = _sides({source: _heard_by(source, wanted) for source, _ in wanted})
        whole = {
            (a, b) for one in sides for other in sides if one != other for a in one for b in other
        }
        if whole == wanted:
            if len(sides) == 2:
                return f"{listed(sides[0])} from {listed(sides[1])}"
            if all(len(side) == 1 for side in sides):
                return f"{listed(side[0] for side in sides)} from each other"
            return " from ".join(listed(side) for side in sides)
        pairs = sorted({tuple(sorted(cut)) for cut in wanted})
        return listed(f"{one} from {other}" for one, other in pairs)
    sources, targets = ({cut[number] for cut in wanted} for number in (0, 1))
    if wanted == {(source, node) for source in sources for node in targets}:
        return f"what {listed(sorted(sources))} {'say' if len(sources) > 1 else 'says'} to " + (
            listed(sorted(targets))
        )
    return listed(f"{source} → {node}" for source, node in sorted(wanted))


def _heard_by(source: str, cuts: set[tuple[str, str]]) -> frozenset[str]:
    return frozenset(node for other, node in cuts if other == source)


def _sides(cut_off: dict[str, frozenset[str]]) -> list[list[str]]:
    """Nodes that are cut off from the same others, the smallest side first."""
    sides: dict[frozenset[str], list[str]] = {}
    for node in sorted(cut_off):
        sides.setdefault(cut_off[node], []).append(node)
    return sorted(sides.values(), key=lambda side: (len(side), side))
