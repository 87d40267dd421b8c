"""Draining: who is asked to end says how much it had accepted, and that nothing of it is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.check import Verdict
from harness.history import History
from harness.timeline import FaultSpan, TargetEvent
from targets.jobs.checks.found import Found

KINDS = ("stop", "restart")

REACH_NS = 10_000_000_000
"""A stop is in force when the node has ended, a restart when it is up again: the drain was before
that, by no more than this."""


@dataclass(frozen=True)
class Drain:
    """The check that `drain` makes."""

    http: int
    jobs: int

    @property
    def name(self) -> str:
        return f"drain(http>={self.http}, jobs>={self.jobs})"

    def __call__(self, history: History) -> Verdict:
        found = Found(self.name, "lost-in-drain", "not-drained")
        spans = [span for span in history.timeline.faults if span.kind in KINDS]
        http = jobs = handed_back = 0
        ends = [(span, node) for span in spans for node in span.nodes]
        for span, node in ends:
            said = _said(history.timeline.events, span, node)
            began = next((event for event in said if event.name == "draining"), None)
            ended = next((event for event in said if event.name == "drained"), None)
            if began is None or ended is None:
                found.add("not-drained", f"{node} ended by {span.id} without having drained")
                continue
            http += int(ended.data.get("http", 0))
            jobs += int(ended.data.get("jobs", 0)) + int(ended.data.get("handed_back", 0))
            handed_back += int(ended.data.get("handed_back", 0))
            if lost := int(ended.data.get("lost", 0)):
                found.add("lost-in-drain", f"{node} gave {lost} up when {span.id} ended it")
        unknown = None
        if not ends:
            unknown = f"Nothing was tested: no {' or '.join(KINDS)} came."
        elif http < self.http or jobs < self.jobs:
            unknown = (
                f"Too little was tested: {http} requests and {jobs} jobs were drained, "
                f"{self.http} and {self.jobs} are needed."
            )
        told = (
            f"{len(ends)} ends of nodes: drained_http={http} drained_jobs={jobs} (of which "
            f"{handed_back} handed back) lost_work=0"
        )
        data = {"ends": len(ends), "http": http, "jobs": jobs, "handed_back": handed_back}
        return found.verdict(told, unknown, len(history), data)


def drain(*, http: int, jobs: int) -> Drain:
    """Check that each node that was asked to end said `drained` with nothing lost.

    Read from the events `draining` and `drained` of the nodes that were ended by `stop` and
    `restart`, in the 10 s before they had ended. Anomalies: `lost-in-drain`; `not-drained`, a node
    that did not come to the end of it. `unknown`: none was ended, or fewer than `http` requests
    were answered and `jobs` jobs finished or handed back meanwhile in all.
    """
    return Drain(http, jobs)


def _said(events: Sequence[TargetEvent], span: FaultSpan, node: str) -> list[TargetEvent]:
    return [
        event
        for event in events
        if event.node == node and span.start - REACH_NS <= event.time <= span.end
    ]
