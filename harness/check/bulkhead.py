"""Bulkheads: what has nothing to do with a broken dependency is not drawn into its trouble."""

from __future__ import annotations

import time
from dataclasses import dataclass

from harness.check._arguments import whole, word
from harness.check._bounds import MORE, Bounds, bounds, figures_table, ms
from harness.check.verdict import Result, Verdict
from harness.check.windows import (
    SOURCES,
    Figures,
    Source,
    Window,
    figures,
    hitting,
    missing,
    not_hitting,
    requests,
    within,
    worked,
)
from harness.history import History
from harness.units import Duration

ANOMALY = "bulkhead"

_SLOWER = 2.0
"""Times the median before the fault: from here on a route has suffered from it. Medians of tens of
requests scatter by far less."""

_MORE_ERRORS = 0.05
"""The same for the fraction of requests without an answer: this much more."""


@dataclass(frozen=True)
class Bulkhead:
    """The check that `bulkhead` makes."""

    route: str
    against: str
    bounds: Bounds
    disturbed: str | None
    source: Source | None
    at_least: int

    @property
    def name(self) -> str:
        return f"bulkhead({self.route}, against={self.against}, {self.bounds})"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        spans = hitting(history, self.against)
        if not spans:
            return self._unknown(f"Nothing was tested: {not_hitting(history, self.against)}.")
        windows = [Window(span.start, span.end) for span in spans]
        earlier = [Window(worked(history).start, spans[0].start)]
        source, samples = requests(history, self.route, self.source)
        if not samples:
            return self._unknown(f"Nothing was tested: {missing(history, self.route)}.")
        found = figures(within(samples, windows))
        rows = {f"{self.route} before": figures(within(samples, earlier)), self.route: found}
        if self.disturbed is not None:
            _source, others = requests(history, self.disturbed, self.source)
            if not others:
                return self._unknown(
                    f"Nobody knows whether the bulkhead held: {missing(history, self.disturbed)}.",
                    rows,
                )
            first, then = figures(within(others, earlier)), figures(within(others, windows))
            rows |= {f"{self.disturbed} before": first, self.disturbed: then}
            why = self._unhurt(first, then)
            if why:
                return self._unknown(why, rows)
        result, why = self.bounds.judge(found, self.at_least)
        when = f"while faults hit {self.against}"
        if result == "unknown":
            return self._unknown(
                f"Too little was tested: {when}, of {self.route} {why} ({MORE['during']}).", rows
            )
        told = self.bounds.told(found)
        text = f"{why} ({told})" if why else told
        lines = [*(f"  {span.id} {span.what}" for span in spans[:3]), *figures_table(rows)]
        return self._verdict(
            result,
            f"{self.route} ({source}) {when}: {text}.",
            rows,
            evidence="\n".join(lines),
            ops=found.count,
            seconds=time.monotonic() - began,
        )

    def _unhurt(self, first: Figures, then: Figures) -> str:
        """Why nobody knows whether the faults hurt the route that they should have hurt, if so."""
        for moment, one in (("before", first), ("during", then)):
            if one.count < self.at_least:
                return (
                    f"Nobody knows whether the bulkhead held: {one.count} requests of "
                    f"{self.disturbed} were made {moment} the faults, {self.at_least} are needed "
                    f"to tell whether they hurt it ({MORE[moment]})."
                )
        slower = (
            first.p50_s is not None
            and then.p50_s is not None
            and then.p50_s >= _SLOWER * first.p50_s
        )
        if slower or then.errors >= first.errors + _MORE_ERRORS:
            return ""
        return (
            f"Nobody knows whether the bulkhead held: the faults did not hurt {self.disturbed} "
            f"either (median {ms(first.p50_s)} before and {ms(then.p50_s)} during, "
            f"{first.errors:.2%} and {then.errors:.2%} not answered)."
        )

    def _unknown(self, summary: str, rows: dict[str, Figures] | None = None) -> Verdict:
        rows = rows or {}
        return self._verdict("unknown", summary, rows, "\n".join(figures_table(rows)), 0, 0.0)

    def _verdict(
        self,
        result: Result,
        summary: str,
        rows: dict[str, Figures],
        evidence: str,
        ops: int,
        seconds: float,
    ) -> Verdict:
        return Verdict(
            self.name,
            result,
            summary,
            evidence=evidence,
            anomaly=ANOMALY if result == "invalid" else None,
            ops=ops,
            seconds=seconds,
            data={name: one.to_json() for name, one in rows.items()},
        )


def bulkhead(
    route: str,
    *,
    against: str,
    p50: Duration | None = None,
    p95: Duration | None = None,
    p99: Duration | None = None,
    errors: float | None = None,
    disturbed: str | None = None,
    source: Source | None = None,
    at_least: int = 20,
) -> Bulkhead:
    """Check that `route`, which does not need the node `against`, stays within its bounds while
    faults hit that node.

    Route, bounds, source and `at_least` are those of `slo`; only requests that began while such a
    fault was in force are looked at. With `disturbed`, the name of a route that does need the node,
    the verdict is `unknown` unless that route suffered: its median at least doubled, or 5 % more of
    its requests were not answered, against the time before the first such fault. Without it a fault
    that hurt nobody passes for a bulkhead that held. Raises `UsageError` for wrong arguments.
    O(n log n).
    """
    if disturbed is not None:
        word(disturbed, "disturbed")
    if source is not None:
        word(source, "source", SOURCES)
    return Bulkhead(
        word(route, "route"),
        word(against, "against"),
        bounds(p50, p95, p99, errors),
        disturbed,
        source,
        whole(at_least, "at_least"),
    )
