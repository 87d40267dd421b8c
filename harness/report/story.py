"""What happened, in plain sentences: for somebody who did not write the experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.report.faults import DOWN, Fault
from harness.report.ops import evidence_rows
from harness.report.reading import Reading, listed, mapped, number

OUTCOMES = {
    "passed": "Passed: everything that was expected held.",
    "failed": "Failed: an invariant broke.",
    "unknown": "Unknown: it could not be decided whether the invariants held. This is no pass.",
    "unsteady": "Unsteady: the cluster was not well before the faults, or did not recover.",
    "aborted": "Aborted: a stop condition or a person ended the run.",
    "broken": "Broken: the infrastructure failed, so the run says nothing about the target.",
    "unfinished": "Unfinished: the run is still going on, or was killed before it could end.",
}


@dataclass(frozen=True)
class Sentence:
    """One thing that happened; `span` (seconds) is what to show of the timeline with it."""

    text: str
    span: tuple[float, float] | None = None
    fault: str | None = None


def seconds(value: float) -> str:
    """A length of time for people."""
    if value < 0.0995:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 99.95 else f"{value:.0f} s"


def moment(value: float) -> str:
    """A moment for people."""
    return f"{value:.1f} s"


def words(names: list[str]) -> str:
    """`a, b and c`."""
    return (
        names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
    )


def many(count: int, what: str) -> str:
    """`1 op`, `2 ops`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def story(found: Reading, known: list[Fault]) -> list[Sentence]:
    """The run from its beginning to what the checks found."""
    return [
        *_beginning(found),
        *_faults(found, known),
        *_exits(found),
        *_recovery(found),
        *_ending(found, known),
    ]


def _beginning(found: Reading) -> list[Sentence]:
    told = []
    up, before, during = (found.phase(name) for name in ("up", "before", "during"))
    target = mapped(found.plan.get("target"))
    nodes = found.nodes
    name = str(target.get("name") or "the target")
    if target.get("mutant"):
        name += f" with the deliberate bug “{target['mutant']}” switched on"
    if nodes:
        took = f" It was up after {seconds((up.end - up.start) / 1e9)}." if up is not None else ""
        runtime = found.identity.get("runtime")
        where = f" on the {runtime} runtime" if runtime else ""
        told.append(
            Sentence(f"A cluster of {name} was started{where}: {words(nodes)}.{took}", _span(up))
        )
    workload = mapped(found.plan.get("workload"))
    if workload.get("clients"):
        rate = workload.get("rate")
        speed = f", together {rate} ops a second" if rate else ""
        kind = workload.get("name", "the workload")
        clients = many(int(workload["clients"]), "client")
        text = f"{clients} then worked on it ({kind}{speed})"
        load = mapped(found.plan.get("load"))
        text += (
            f", with the load of k6's {load['script']} beside them." if load.get("script") else "."
        )
        told.append(Sentence(text, _span(before)))
    probes = [str(mapped(p).get("probe")) for p in listed(found.plan.get("steady_state"))]
    if during is None:
        told.append(Sentence("The phase of the faults was never reached."))
    elif before is not None:
        steady = f" (steady state: {words(probes)})" if probes else ""
        told.append(
            Sentence(
                f"For {seconds((before.end - before.start) / 1e9)} nothing was disturbed{steady}; "
                f"the phase of the faults lasted from {moment(during.start / 1e9)} to "
                f"{moment(during.end / 1e9)}.",
                _span(during),
            )
        )
    return told


def _span(phase: Any) -> tuple[float, float] | None:
    return None if phase is None else (phase.start / 1e9, phase.end / 1e9)


def _faults(found: Reading, known: list[Fault]) -> list[Sentence]:
    if not known:
        planned = len(listed(found.plan.get("faults")))
        if planned:
            return [Sentence(f"None of the {many(planned, 'planned fault')} took place.")]
        return [Sentence("No faults were injected.")]
    return [_fault(fault, found) for fault in known]


def _exits(found: Reading) -> list[Sentence]:
    """Nodes that ended though nobody had ended them."""
    told = []
    for event in found.events:
        if event.name == "node" and event.data.get("step") == "exited":
            node, status = event.data.get("node"), event.data.get("status")
            text = f"{node} exited by itself at {moment(event.at_s)} with status {status}."
            told.append(Sentence(text, (event.at_s - 0.5, event.at_s + 0.5)))
    return told


def _fault(fault: Fault, found: Reading) -> Sentence:
    """Who was disturbed, when, for how long, and whether anybody noticed."""
    whole = f"{fault.id} {fault.what}"
    if fault.injected is None:
        why = f": {fault.failed}" if fault.failed else ""
        return Sentence(f"{whole} did not take effect{why}.", None, fault.id)
    nodes = words(fault.nodes)
    whom = f", which was {nodes}" if fault.role and nodes else ""
    if nodes and not fault.role and not all(node in fault.what for node in fault.nodes):
        whom = f" on {nodes}"
    end = fault.healing
    if fault.kind in DOWN and fault.healed is not None:
        text = f"{whole}{whom}: gone at {moment(fault.injected)}, back at {moment(fault.healed)}"
        text += f" ({seconds(fault.healed - fault.injected)})"
    elif end is None:
        text = (
            f"{whole}{whom}: in force from {moment(fault.injected)} to the end of what was recorded"
        )
    else:
        text = f"{whole}{whom}: in force from {moment(fault.injected)}"
        text += f" to {moment(end)} ({seconds(end - fault.injected)})"
        if fault.healed is not None and fault.healed - end > 0.05:
            text += f", gone {seconds(fault.healed - end)} later"
    text += "."
    if fault.cuts and len(fault.cuts) <= 6:
        text += f" Cut: {', '.join(f'{a} → {b}' for a, b in fault.cuts)}."
    elif fault.cuts:
        text += f" Cut: {len(fault.cuts)} links."
    text += _met(fault)
    if fault.failed:
        text += f" It failed: {fault.failed}."
    span = fault.span(found.end_ns / 1e9)
    return Sentence(text, span, fault.id)


def _met(fault: Fault) -> str:
    bite = fault.bite
    ops, lost = number(bite.get("ops")), number(bite.get("disturbed"))
    if ops is None or lost is None:
        return ""
    usual = number(bite.get("usual")) or 0.0
    text = f" Of {many(int(ops), 'op')} open meanwhile {int(lost)} were not answered"
    text += f" ({lost / ops:.0%}; {usual:.0%} before any fault)" if ops else ""
    connections = bite.get("connections")
    if connections:
        text += f", and it met {many(int(connections), 'connection')}"
    return text + ("." if fault.bit else ". Nobody noticed it: it did not bite.")


def _recovery(found: Reading) -> list[Sentence]:
    told = []
    after, final = found.phase("after"), found.phase("final")
    regained = number(found.identity.get("recovered_s"))
    if after is not None:
        text = f"At {moment(after.start / 1e9)} everything was healed; "
        if regained is not None:
            text += f"after {seconds(regained)} every node answered and the state was steady again."
        elif final is not None:
            text += f"the cluster was well again by {moment(final.start / 1e9)}."
        else:
            text += "it was not seen well again."
        told.append(Sentence(text, _span(after)))
    for probe, phases in mapped(found.identity.get("steady_state")).items():
        during = mapped(mapped(phases).get("during"))
        within = number(during.get("within"))
        if within is not None and within < 1:
            least, most = number(during.get("least")), number(during.get("most"))
            span = (
                f", from {least:.3g} to {most:.3g}"
                if least is not None and most is not None
                else ""
            )
            told.append(
                Sentence(
                    f"Under the faults {probe} was out of bounds "
                    f"{1 - within:.0%} of the time{span}."
                )
            )
    return told


def _ending(found: Reading, known: list[Fault]) -> list[Sentence]:
    counts = found.ops.counts()
    told = []
    if len(found.ops):
        parts = [f"{count} {name}" for name, count in counts.items() if count or name == "ok"]
        told.append(Sentence(f"{many(len(found.ops), 'op')} were recorded: {', '.join(parts)}."))
    for verdict in found.verdicts:
        result, hoped = verdict.get("result"), verdict.get("expected", "valid")
        if result == "valid" == hoped:
            continue
        mark = "as expected" if result == hoped else f"expected was {hoped}"
        text = f"{verdict.get('check')} found the history {result} ({mark})"
        rows, _ = evidence_rows(found.ops, verdict)
        span = None
        if rows:
            span = ops_span(found, rows)
            text += f": {many(len(rows), 'op')} at {_range(span)}, {beside(span, known)}"
        told.append(Sentence(text + ".", span))
    held = sum(
        one.get("result") == "valid" == one.get("expected", "valid") for one in found.verdicts
    )
    if held:
        all_ = "All" if held == len(found.verdicts) else "The other"
        told.append(Sentence(f"{all_} {many(held, 'check')} found what was expected."))
    return told


def ops_span(found: Reading, rows: list[int]) -> tuple[float, float]:
    """From when to when the ops of those rows lasted."""
    starts = [float(found.ops.start[row]) for row in rows]
    ends = [float(found.ops.end[row]) for row in rows]
    return min(starts), max([*starts, *(end for end in ends if end == end)])


def _range(span: tuple[float, float]) -> str:
    return f"{span[0]:.3f}-{span[1]:.3f} s"


def beside(span: tuple[float, float], known: list[Fault]) -> str:
    """Where a stretch of time lies among the faults."""
    landed = [(fault, fault.injected) for fault in known if fault.injected is not None]
    if not landed:
        return "in a run without faults"
    met = [
        fault.id
        for fault, injected in landed
        if injected < span[1] and (fault.healed or fault.healing or float("inf")) > span[0]
    ]
    first = min(injected for _, injected in landed)
    if met:
        force = f"{words(met)} {'was' if len(met) == 1 else 'were'} in force"
        # What began before all faults is hardly their doing.
        return f"the first before any fault; {force} later" if span[0] < first else f"while {force}"
    if span[1] <= first:
        return "before any fault"
    ended = [(f.healed or f.healing or 0.0, f.id) for f, _ in landed]
    before = [one for one in ended if one[0] <= span[0]]
    if before:
        at, id = max(before)
        return f"{seconds(span[0] - at)} after {id} was healed"
    return "between the faults"
