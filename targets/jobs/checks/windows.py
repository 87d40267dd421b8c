"""Cron: each window of each job has one run, whoever leads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from harness.check import Verdict
from harness.history import History
from harness.units import Duration, to_seconds
from targets.jobs.checks.found import Found, ledger, missing

LEAST = 3
"""Windows that make a test."""


@dataclass(frozen=True)
class CronWindows:
    """The check that `cron_windows` makes."""

    every_s: float
    late_s: float
    leaders: int

    @property
    def name(self) -> str:
        return f"cron_windows(every={self.every_s:g}s, late={self.late_s:g}s)"

    def __call__(self, history: History) -> Verdict:
        found = Found(self.name, "doubled", "missed", "early", "late")
        answer = ledger(history, "runs")
        now_s, rows = answer if answer is not None else (0.0, [])
        windows = sum(self._judge(job, rows, now_s, found) for job in {row[0] for row in rows})
        epochs = len({row[3] for row in rows})
        lateness = [at_s - window * self.every_s for _job, window, _worker, _epoch, at_s in rows]
        worst_s = max(lateness, default=0.0)
        unknown = None
        if answer is None:
            unknown = missing("runs")
        elif windows < LEAST:
            unknown = f"Too little was tested: {windows} windows, {LEAST} are needed."
        elif epochs < self.leaders:
            unknown = (
                f"Nothing was tested: {epochs} leaders ran windows, {self.leaders} are needed."
            )
        told = (
            f"{windows} windows, {len(rows)} runs by {epochs} leaders one after the other, the "
            f"latest {worst_s:.2f} s after its window began"
        )
        data = {"windows": windows, "runs": len(rows), "leaders": epochs, "late_s": worst_s}
        return found.verdict(told, unknown, len(history), data)

    def _judge(self, job: str, rows: list[Any], now_s: float, found: Found) -> int:
        """How many windows of the job there were, from its first run on."""
        runs = [row for row in rows if row[0] == job]
        for window, count in Counter(row[1] for row in runs).items():
            if count > 1:
                whose = ", ".join(f"{row[2]} (epoch {row[3]})" for row in runs if row[1] == window)
                found.add("doubled", f"Window {window} of {job} was run by {whose}")
        ran = {int(row[1]) for row in runs}
        # Windows are caught up in their order: one before another that was run will not be run.
        first, last = min(ran), max(max(ran), int((now_s - self.late_s) // self.every_s))
        for window in range(first, last + 1):
            if window not in ran:
                found.add("missed", f"Window {window} of {job} was never run")
        for _job, window, worker, _epoch, at_s in runs:
            after_s = at_s - window * self.every_s
            if after_s < 0:
                found.add("early", f"{worker} ran window {window} of {job} before it began")
            elif after_s > self.late_s:
                found.add("late", f"{worker} ran window {window} of {job} {after_s:.2f} s late")
        return last - first + 1


def cron_windows(*, every: Duration, late: Duration, leaders: int = 1) -> CronWindows:
    """Check that each job has exactly one run in each of its windows, however the leader changed.

    Read from the final op `runs`: the time by the database's clock, and of each run its job, its
    window (the n-th begins n × `every` after the epoch of Unix), the worker, the epoch of the
    worker's lease and the time. A run may come up to `late` after its window began, but not after
    those of later windows: windows that passed without a leader are caught up in their order.
    `harness.check.cron` tells windows by time alone, and so could not know which window a run that
    late was meant for; and its events are lines of a log, which a kill can keep from being written.

    Anomalies: `doubled`, `missed`, `early`, `late`. `unknown`: fewer than three windows, or fewer
    than `leaders` epochs that ran any: then nobody took over.
    """
    return CronWindows(to_seconds(every, "every"), to_seconds(late, "late"), leaders)
