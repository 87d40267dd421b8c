"""Limits of queues: so many of its jobs run at the same time over all workers, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.check import Verdict
from harness.history import History
from targets.jobs.checks.found import Found, ledger, missing


@dataclass(frozen=True)
class Limits:
    """The check that `limits` makes."""

    most: Mapping[str, int]

    @property
    def name(self) -> str:
        return f"limits({', '.join(f'{queue}<={most}' for queue, most in self.most.items())})"

    def __call__(self, history: History) -> Verdict:
        found = Found(self.name, "over-limit")
        rows = ledger(history, "effects")
        highest = {}
        for queue, most in self.most.items():
            runs = [(row[4], row[5], row[0]) for row in rows or [] if row[1] == queue]
            together = _together(runs)
            highest[queue] = len(together)
            if len(together) > most:
                keys = ", ".join(sorted(together)[:10])
                found.add(
                    "over-limit", f"{len(together)} jobs of {queue} ran at the same time: {keys}"
                )
        unknown = None
        if rows is None:
            unknown = missing("effects")
        elif not any(highest[queue] >= most for queue, most in self.most.items()):
            unknown = f"Nothing was tested: no queue came to its limit, but {_told(highest)}."
        return found.verdict(
            f"{_told(highest)} at the same time", unknown, len(rows or []), {"highest": highest}
        )


def limits(most: Mapping[str, int]) -> Limits:
    """Check that of each queue at most so many jobs ran at the same time.

    Read from the final op `effects`: rows of key, queue, worker, attempt, start and end (seconds of
    CLOCK_MONOTONIC); only the run of a job that had the effect counts. `unknown`: it was not read,
    or no queue ever came to its limit. Anomaly: `over-limit`. O(n log n).
    """
    return Limits(dict(most))


def _together(runs: list[tuple[float, float, str]]) -> set[str]:
    """The most that ran at one moment."""
    moments = [(start, 1, key) for start, _end, key in runs]
    moments += [(end, 0, key) for _start, end, key in runs]
    now: set[str] = set()
    most: set[str] = set()
    for _at, begins, key in sorted(moments):  # at the same moment, ends first
        if begins:
            now.add(key)
            most = set(now) if len(now) > len(most) else most
        else:
            now.discard(key)
    return most


def _told(highest: Mapping[str, int]) -> str:
    return ", ".join(f"{count} of {queue}" for queue, count in highest.items())
