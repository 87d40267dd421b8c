"""Service level objectives: percentiles of latency and the fraction of errors of one route."""

from __future__ import annotations

import time
from dataclasses import dataclass

from harness.check._arguments import whole, word
from harness.check._bounds import MORE, Bounds, bounds, figures_table
from harness.check.verdict import Verdict
from harness.check.windows import (
    PHASES,
    SOURCES,
    Source,
    by_phase,
    figures,
    missing,
    named,
    requests,
    within,
)
from harness.history import History
from harness.units import Duration

ANOMALY = "slo"


@dataclass(frozen=True)
class Slo:
    """The check that `slo` makes."""

    route: str
    bounds: Bounds
    phase: str | None
    source: Source | None
    at_least: int

    @property
    def name(self) -> str:
        phase = "" if self.phase is None else f", phase={self.phase}"
        source = "" if self.source is None else f", source={self.source}"
        return f"slo({self.route}, {self.bounds}{phase}{source})"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        window = named(history, self.phase)
        if window is None:
            return Verdict(self.name, "unknown", f"The history has no phase {self.phase!r}.")
        source, samples = requests(history, self.route, self.source)
        found = figures(within(samples, [window]))
        result, why = self.bounds.judge(found, self.at_least)
        where = "" if self.phase is None else f" in the phase {self.phase!r}"
        told = self.bounds.told(found)
        if not samples:
            summary = f"Nothing was tested: {missing(history, self.route)}."
        elif result == "unknown":
            summary = (
                f"Too little was tested: of {self.route} ({source}){where}, {why} "
                f"({MORE[self.phase]})."
            )
        elif result == "invalid":
            summary = f"{self.route} ({source}){where}: {why} ({told})."
        else:
            summary = f"{self.route} ({source}){where}: {told}."
        phases = by_phase(history, samples)
        return Verdict(
            self.name,
            result,
            summary,
            evidence="\n".join(figures_table({**phases, "judged": found})),
            anomaly=ANOMALY if result == "invalid" else None,
            ops=found.count,
            seconds=time.monotonic() - began,
            data={
                "source": source,
                **found.to_json(),
                "phases": {name: one.to_json() for name, one in phases.items()},
            },
        )


def slo(
    route: str,
    *,
    p50: Duration | None = None,
    p95: Duration | None = None,
    p99: Duration | None = None,
    errors: float | None = None,
    phase: str | None = None,
    source: Source | None = None,
    at_least: int = 20,
) -> Slo:
    """Check that requests of `route` stay within bounds of latency and errors.

    `route` is what the load's script named its requests (`source="load"`), or the name of an
    operation (`"workload"`); by default the load's if it has that route. `errors` is the greatest
    fraction from 0 to 1 that may go without an answer. Percentiles are by nearest rank and those of
    the answered requests alone: nobody knows how long the others would have taken, and refusals
    that come at once would flatter them. So bound the errors beside the latency. Operations that
    were refused for the state they met (`MISMATCH`) were answered.

    `phase` is `before`, `during` or `after`; by default all three together, without final reads. A
    request belongs to the phase in which it began. The verdict is `unknown` if fewer than
    `at_least` requests (for percentiles: answers) were seen. Raises `UsageError` for wrong
    arguments, and if nothing is bounded. O(n log n).
    """
    if phase is not None:
        word(phase, "phase", PHASES)
    if source is not None:
        word(source, "source", SOURCES)
    return Slo(
        word(route, "route"),
        bounds(p50, p95, p99, errors),
        phase,
        source,
        whole(at_least, "at_least"),
    )
