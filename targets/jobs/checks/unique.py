"""Unique jobs: of those that claim the same text, one at most is unfinished."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

from harness.check import Verdict
from harness.history import History, Op
from targets.jobs.checks.found import Found


@dataclass(frozen=True)
class Unique:
    """The check that `unique` makes."""

    @property
    def name(self) -> str:
        return "unique"

    def __call__(self, history: History) -> Verdict:
        found = Found(self.name, "not-unique")
        claims = [op for op in history.ops if op.f == "claim" and op.outcome == "ok"]
        starts = {
            str(event.data.get("key")): event.time
            for event in sorted(history.timeline.events, key=lambda event: event.time)
            if event.name == "start"
        }
        made: dict[str, Op] = {}
        for op in claims:
            if op.result == op.key:
                made.setdefault(str(op.key), op)
        by_text: dict[str, list[Op]] = {}
        for op in made.values():
            by_text.setdefault(str(op.value[1]), []).append(op)
        for text, ops in by_text.items():
            for holder, other in permutations(ops, 2):
                if _within(other, holder.end, starts.get(str(holder.key), 0)):
                    found.add(
                        "not-unique",
                        f"Job {other.key} claimed {text!r} and was made, while {holder.key}, "
                        "which had claimed it, had not begun its last run",
                    )
        shared = sum(op.result != op.key for op in claims)
        told = f"{len(made)} jobs were made, {shared} claims were answered with another job"
        unknown = None
        if not shared:
            unknown = f"Nothing was tested: no claim met another one ({told})."
        return found.verdict(told, unknown, len(claims), {"made": len(made), "shared": shared})


def unique() -> Unique:
    """Check that no job was made for a text that an unfinished job held.

    Read from the ops `claim`, whose second value is the text and whose answer is the key of the job
    that holds it, and from the events `start` of the workers: a job is unfinished for certain from
    the end of its claim to the start of its last run. Anomaly: `not-unique`. `unknown`: no claim
    was answered with the key of another job.
    """
    return Unique()


def _within(op: Op, after: int | None, before: int) -> bool:
    return after is not None and op.end is not None and after < op.start and op.end < before
