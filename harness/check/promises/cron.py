"""Scheduled jobs: each window has exactly one run."""

from __future__ import annotations

import heapq
import time
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from harness.check._findings import Findings, brief, judge
from harness.check._text import clock, many
from harness.check.verdict import Verdict
from harness.errors import UsageError
from harness.history import History, Op, hashable
from harness.units import Duration, to_seconds

FIRE = "fire"
"""What the ops, or the events of the target's nodes, are called."""


@dataclass(frozen=True)
class Cron:
    """The check that `cron` makes."""

    every_s: float
    jitter_s: float
    start_s: float | None

    @property
    def name(self) -> str:
        return f"cron(every={self.every_s:g}s, jitter={self.jitter_s:g}s)"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        found = Findings("doubled", "missed", "outside")
        jobs: dict[Hashable, list[_Run]] = defaultdict(list)
        for run in _runs(history):
            jobs[run.key].append(run)
        last = _last_moment(history)
        windows = fires = 0
        for key, runs in jobs.items():
            fires += len(runs)
            windows += self._judge(key, runs, last, found)
        unknown = None
        if windows < 2:
            unknown = (
                f"Nothing was tested: there were {many(windows, 'whole window')} with a job "
                f"(expected: ops or events {FIRE!r}, with the job as the key, over two windows)."
            )
        told = f"{many(len(jobs), 'job')}, {many(windows, 'window')}, {many(fires, 'run')}"
        return judge(
            self.name,
            began,
            found,
            ops=len(history),
            told=told,
            unknown=unknown,
            data={"jobs": len(jobs), "windows": windows, "runs": fires},
        )

    def _judge(self, key: Hashable, runs: Sequence[_Run], last: int, found: Findings) -> int:
        """How many windows of that job were over by the end of the history."""
        every, jitter = round(self.every_s * 1e9), round(self.jitter_s * 1e9)
        certain = [run for run in runs if run.certain]
        if self.start_s is None and not certain:
            return 0
        early, late, zero = 0, jitter, round((self.start_s or 0) * 1e9)
        if self.start_s is None:
            # The first run may have been as late as any other, and anywhere within its op.
            first = min(certain, key=lambda run: run.start)
            early, late, zero = jitter, jitter + first.end - first.start, first.start
        windows = max(0, (last - late - zero) // every + 1)
        slots: list[_Slot] = []
        for place, run in enumerate(runs):
            lowest = max(0, -((zero + late - run.start) // every))
            highest = (run.end + early - zero) // every
            if lowest <= highest:
                slots.append((lowest, highest, place))
            elif run.certain:
                sentence = f"Job {brief(key)} ran at {clock(run.start)} s, which is in no window"
                found.add("outside", sentence, *run.ops)
        for place, other in _surplus([slot for slot in slots if runs[slot[2]].certain]):
            one, two = runs[other], runs[place]
            sentence = (
                f"Job {brief(key)} ran at {clock(one.start)} s and at {clock(two.start)} s, and "
                "there are not as many windows"
            )
            found.add("doubled", sentence, *one.ops, *two.ops)
        for number in _empty(slots, windows):
            moment = zero + number * every
            beside = [run for run in runs if abs(run.start - moment) < 2 * every]
            ops = [op for run in beside for op in run.ops]
            sentence = f"Job {brief(key)} did not run in the window from {clock(moment)} s on"
            found.add("missed", sentence, *ops[:2])
        return windows


def cron(*, every: Duration, jitter: Duration, start: Duration | None = None) -> Cron:
    """Check that each job runs exactly once in each of its windows.

    Runs are ops `fire` (key: the job), each at some moment between its start and its end, or events
    `fire` of the target's nodes (`key`: the job; at the time of the event). The windows begin every
    `every` from `start` on, on the run's clock, and a run may come up to `jitter` after that. If
    `start` is not given they are counted from the first run of the job, and each run may come
    `jitter` earlier as well, since that one may have been late. Windows that were not over when the
    history ended are left out. An op of unknown outcome may have been a run.

    Anomalies: `doubled`, more runs than windows in which they can have been; `missed`, a window
    for which no run is left; `outside`, a run that was in no window. `unknown`: fewer than two
    windows with jobs. O(n log n + windows). Raises `UsageError` for wrong durations.

    Example: `cron(every=10, jitter=1)` with runs at 0.5, 10.4, 10.6, 30.2 s and an end at 35 s is
    `invalid`, `doubled` and `missed`.
    """
    every_s = to_seconds(every, "every")
    jitter_s = to_seconds(jitter, "jitter", allow_zero=True)
    start_s = None if start is None else to_seconds(start, "start", allow_zero=True)
    if jitter_s * (2 if start_s is None else 1) >= every_s:
        raise UsageError(
            f"With jitter={jitter_s:g} s it cannot be told which of the windows, every "
            f"{every_s:g} s, a run belongs to.",
            do="Give a jitter below a half of every, or below every together with start.",
        )
    return Cron(every_s, jitter_s, start_s)


@dataclass(frozen=True, slots=True)
class _Run:
    """A run at some moment from `start` to `end` (ns), if it is certain that there was one."""

    key: Hashable
    start: int
    end: int
    certain: bool
    ops: tuple[Op, ...] = ()


_Slot: TypeAlias = tuple[int, int, int]
"""The first and the last window in which a run may have been, and its place in the list of runs."""


def _surplus(slots: Sequence[_Slot]) -> Iterator[tuple[int, int]]:
    """Runs for which no window is left, each with the one that has its last window.

    By earliest last window, which leaves out as few as can be: a matching in a convex graph
    (Glover 1967). If the runs that are certain can all be placed and all windows filled, then
    both can be done at once (Mendelsohn and Dulmage 1958), so the two are judged apart.
    """
    coming = sorted(slots, reverse=True)
    ready: list[tuple[int, int]] = []
    number = -1
    while ready or coming:
        number = number + 1 if ready else coming[-1][0]
        while coming and coming[-1][0] <= number:
            _lowest, highest, place = coming.pop()
            heapq.heappush(ready, (highest, place))
        _highest, holder = heapq.heappop(ready)
        while ready and ready[0][0] <= number:
            yield heapq.heappop(ready)[1], holder


def _empty(slots: Sequence[_Slot], windows: int) -> Iterator[int]:
    """Windows that no run is left for."""
    coming = sorted(slots, reverse=True)
    ready: list[int] = []
    for number in range(windows):
        while coming and coming[-1][0] <= number:
            heapq.heappush(ready, coming.pop()[1])
        while ready and ready[0] < number:
            heapq.heappop(ready)
        if ready:
            heapq.heappop(ready)
        else:
            yield number


def _runs(history: History) -> list[_Run]:
    last = _last_moment(history)
    runs = [
        _Run(
            hashable(op.key),
            op.start,
            last if op.end is None else op.end,
            op.outcome == "ok",
            (op,),
        )
        for op in history.ops
        if op.f == FIRE and op.outcome != "fail"
    ]
    runs += [
        _Run(hashable(event.data.get("key")), event.time, event.time, True)
        for event in history.timeline.events
        if event.name == FIRE
    ]
    return sorted(runs, key=lambda run: run.start)


def _last_moment(history: History) -> int:
    ops = (op.start if op.end is None else op.end for op in history.ops)
    events = (event.time for event in history.timeline.events)
    phases = (phase.end for phase in history.phases)
    return max((*ops, *events, *phases), default=0)
