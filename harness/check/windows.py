"""Windows of a run, the requests in them, and their figures: what checks of latency share."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from harness.check._text import listed
from harness.history import History, Op
from harness.timeline import FaultSpan

Source: TypeAlias = Literal["load", "workload"]
SOURCES = ("load", "workload")

PHASES = ("before", "during", "after")
"""The phases in which clients and load work; final reads come later."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of the run in nanoseconds since its start: `start` belongs to it, `end` does not.
    It may have no end."""

    start: int
    end: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One request, of the load or of the workload: when it was asked, and how long its answer took.

    `latency_s` is None if there was none. What was not answered has no place in percentiles: nobody
    knows how long it would have taken, and refusals that come at once would flatter them. It counts
    as an error instead.
    """

    start: int
    latency_s: float | None


@dataclass(frozen=True)
class Figures:
    """What a number of requests came to. Percentiles are None if none was answered; `errors` says
    nothing where `count` is 0."""

    count: int
    answered: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    errors: float

    def to_json(self) -> dict[str, float | int | None]:
        """As it stands in the `data` of verdicts: milliseconds, and a fraction of errors, which is
        None where there was no request."""
        return {
            "count": self.count,
            "p50_ms": _ms(self.p50_s),
            "p95_ms": _ms(self.p95_s),
            "p99_ms": _ms(self.p99_s),
            "errors": round(self.errors, 6) if self.count else None,
        }


def percentile(sorted_values: Sequence[float], p: float) -> float:
    """The `p`th percentile (0 < p <= 100) of values in ascending order, by nearest rank.

    That is the smallest value such that at least `p` percent of all are not greater (Hyndman and
    Fan's type 1): always one that was measured, never an interpolation. O(1). Raises `ValueError`
    for no values or another `p`.
    """
    if not sorted_values or not 0 < p <= 100:
        raise ValueError(f"There is no percentile {p} of {len(sorted_values)} values.")
    # The small constant takes back what a `p` like 99.9 gains by being a binary fraction.
    rank = math.ceil(p * len(sorted_values) / 100 - 1e-9)
    return sorted_values[max(rank, 1) - 1]


def figures(samples: Iterable[Sample]) -> Figures:
    """Count, percentiles of the answered and fraction of errors. O(n log n)."""
    all_of_them = list(samples)
    count = len(all_of_them)
    latencies = sorted(one.latency_s for one in all_of_them if one.latency_s is not None)
    p50, p95, p99 = (percentile(latencies, p) if latencies else None for p in (50, 95, 99))
    errors = (count - len(latencies)) / count if count else 0.0
    return Figures(count, len(latencies), p50, p95, p99, errors)


def requests(history: History, route: str, source: Source | None) -> tuple[Source, list[Sample]]:
    """The requests of `route`, and whose they are: those of the load if it has any or `source`
    says so, else the workload's ops of that name. Final reads are left out."""
    if source != "workload":
        load = [
            Sample(one.time - round(one.duration_s * 1e9), None if one.failed else one.duration_s)
            for one in history.timeline.load
            if one.route == route
        ]
        if load or source == "load":
            return "load", load
    ops = [op for op in history.ops if op.f == route and not op.final]
    return "workload", [Sample(op.start, _latency_s(op)) for op in ops]


def missing(history: History, route: str) -> str:
    """That there are no requests of `route`, and of what there are: the end of a sentence."""
    load = {sample.route for sample in history.timeline.load}
    ops = {op.f for op in history.ops if not op.final}
    there = [
        f"{whose}: {listed(names)}" for whose, names in (("load", load), ("workload", ops)) if names
    ]
    return f"there are no requests of {route} ({'; '.join(there) or 'nor any others'})"


def by_phase(history: History, samples: Sequence[Sample]) -> dict[str, Figures]:
    """The figures of the requests that were asked in each phase which the history knows."""
    found = {}
    for name in PHASES:
        window = named(history, name)
        if window is not None:
            found[name] = figures(within(samples, [window]))
    return found


def load_figures(history: History) -> dict[str, dict[str, Figures]]:
    """The figures of each route of the load in each phase."""
    routes = sorted({sample.route for sample in history.timeline.load})
    return {route: by_phase(history, requests(history, route, "load")[1]) for route in routes}


def worked(history: History) -> Window:
    """From the beginning of the phase "before" to the end of "after"; everything, if the history
    knows no phases."""
    phases = [phase for phase in history.phases if phase.name in PHASES]
    if not phases:
        return Window(0, math.inf)
    return Window(min(phase.start for phase in phases), max(phase.end for phase in phases))


def named(history: History, phase: str | None) -> Window | None:
    """The phase of that name, all phases together for None, or None where there is no such one."""
    if phase is None:
        return worked(history)
    found = history.phase(phase)
    return None if found is None else Window(found.start, found.end)


def within(samples: Iterable[Sample], windows: Iterable[Window]) -> list[Sample]:
    """The requests that were asked in one of the windows. O(n log w)."""
    disjoint = merged(windows)
    starts = [window.start for window in disjoint]
    chosen = []
    for one in samples:
        place = bisect_right(starts, one.start) - 1
        if place >= 0 and one.start < disjoint[place].end:
            chosen.append(one)
    return chosen


def merged(windows: Iterable[Window]) -> list[Window]:
    """The same stretches in order of time, without overlaps."""
    disjoint: list[Window] = []
    for window in sorted(windows, key=lambda window: window.start):
        if disjoint and window.start <= disjoint[-1].end:
            last = disjoint.pop()
            window = Window(last.start, max(last.end, window.end))
        disjoint.append(window)
    return disjoint


def hitting(history: History, node: str) -> list[FaultSpan]:
    """The faults that hit `node`, in order of time."""
    spans = [span for span in history.timeline.faults if node in span.nodes]
    return sorted(spans, key=lambda span: span.start)


def not_hitting(history: History, node: str) -> str:
    """That no fault hit `node`, and whom the faults did hit: the end of a sentence."""
    hit = {name for span in history.timeline.faults for name in span.nodes}
    others = f"the faults hit {listed(hit)}" if hit else "there were no faults on any node"
    return f"no fault hit {node}; {others}"


def _latency_s(op: Op) -> float | None:
    return (op.end - op.start) / 1e9 if op.answered and op.end is not None else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 3)
