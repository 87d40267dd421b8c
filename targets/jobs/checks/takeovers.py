"""Takeovers: faults met workers in the middle of jobs, and others did these again."""

from __future__ import annotations

from dataclasses import dataclass

from harness.check import Verdict
from harness.history import History
from targets.jobs.checks.found import Found, ledger, missing


@dataclass(frozen=True)
class TakenOver:
    """The check that `taken_over` makes."""

    at_least: int

    @property
    def name(self) -> str:
        return f"taken_over(at_least={self.at_least})"

    def __call__(self, history: History) -> Verdict:
        found = Found(self.name, "abandoned")
        letters = ledger(history, "letters")
        ends = {row[0]: row[1] for row in letters or []}
        told = {
            str(event.data.get("key"))
            for event in history.timeline.events
            if event.name == "taken-over"
        }
        for key in sorted(told):
            if letters is not None and ends.get(key) is None:
                found.add("abandoned", f"Job {key} was taken over, and never finished")
        unknown = None
        if letters is None:
            unknown = missing("letters")
        elif len(told) < self.at_least:
            unknown = (
                f"Too little was tested: {len(told)} jobs were in the middle when their worker was "
                f"gone, {self.at_least} are needed."
            )
        summary = f"{len(told)} jobs whose worker was gone were taken over"
        return found.verdict(summary, unknown, len(ends), {"taken_over": len(told)})


def taken_over(*, at_least: int = 1) -> TakenOver:
    """Check that jobs whose worker was gone in the middle of them were done by others.

    Read from the events `taken-over` and the final op `letters`. That such a job had one effect is
    for `idempotent`. Anomaly: `abandoned`. `unknown`: fewer than `at_least` were taken over: then
    no fault met a worker in the middle of anything.
    """
    return TakenOver(at_least)
