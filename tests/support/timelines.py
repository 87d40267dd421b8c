"""Short ways to write a run for checks: ops, faults and events at moments in seconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness.history import History, Op, Outcome, Phase
from harness.timeline import FaultSpan, LoadSample, Measurement, TargetEvent, Timeline


def ns(seconds: float) -> int:
    """Seconds in nanoseconds."""
    return round(seconds * 1e9)


def op(f: str, key: Any, outcome: Outcome, at: float, took_s: float = 0.01, **more: Any) -> Op:
    """An op that began at `at`. One of which nobody knows the outcome has no end."""
    end = None if outcome == "info" else ns(at + took_s)
    fields: dict[str, Any] = {"process": 0, "value": None, "result": None, "node": "node-1", **more}
    return Op(
        f=f, key=key, outcome=outcome, start=ns(at), end=end, index=0, end_index=None, **fields
    )


def fault(
    start: float, end: float, *nodes: str, kind: str = "latency", id: str = "f1"
) -> FaultSpan:
    """A fault on `nodes`."""
    return FaultSpan(id, kind, f"{kind} {' '.join(nodes)}", nodes, ns(start), ns(end))


def event(at: float, node: str, name: str, **data: Any) -> TargetEvent:
    """Something that `node` said of itself."""
    return TargetEvent(ns(at), node, name, data)


def asked(at: float, route: str, took_s: float, *, failed: bool = False) -> LoadSample:
    """A request of the load that began at `at`."""
    return LoadSample(ns(at + took_s), route, took_s, failed, 0 if failed else 200)


def measured(at: float, probe: str, value: float | None) -> Measurement:
    """A value of a probe."""
    return Measurement(ns(at), probe, value, True)


def phases(before: float, during: float, after: float) -> tuple[Phase, ...]:
    """The three phases, each of so many seconds, the first from 0 on."""
    starts = [0.0, before, before + during, before + during + after]
    return tuple(
        Phase(name, ns(starts[place]), ns(starts[place + 1]))
        for place, name in enumerate(("before", "during", "after"))
    )


def run(
    ops: Iterable[Op] = (),
    *,
    phases: Iterable[Phase] = (),
    faults: Iterable[FaultSpan] = (),
    events: Iterable[TargetEvent] = (),
    load: Iterable[LoadSample] = (),
    measurements: Iterable[Measurement] = (),
) -> History:
    """A history of all that, in order of time."""
    ordered = sorted(ops, key=lambda op: op.start)
    for index, one in enumerate(ordered):
        one.index = index
    return History(
        ordered,
        nodes=("node-1", "node-2"),
        phases=tuple(phases),
        timeline=Timeline(
            faults=sorted(faults, key=lambda span: span.start),
            load=sorted(load, key=lambda sample: sample.time),
            events=sorted(events, key=lambda event: event.time),
            measurements=sorted(measurements, key=lambda one: one.time),
        ),
    )
