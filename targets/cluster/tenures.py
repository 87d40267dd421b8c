"""From when to when each worker certainly ran where, as the nodes' own answers show it.

A node that answers `running` names the instance of each worker, and no instance ever comes twice.
So one that was seen twice ran all the while between: from the end of the first answer to the
beginning of the last question.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.history import History, Op

READ = "running"


@dataclass
class Tenure:
    """`instance` of `worker` certainly ran on `node` from `start` to `end` (ns of the run);
    `first` and `last` are the answers that show it."""

    worker: str
    node: str
    instance: str
    first: Op
    last: Op

    @property
    def start(self) -> int:
        return end_of(self.first)

    @property
    def end(self) -> int:
        return max(self.last.start, self.start)

    def overlap(self, other: Tenure) -> tuple[int, int] | None:
        """When both certainly ran at once; None if that is not certain."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return (start, end) if start < end else None


def readings(history: History) -> list[Op]:
    """The answers to what truly runs, in order of time."""
    return [op for op in history.ops if op.f == READ and op.outcome == "ok" and op.node]


def tenures(reads: Iterable[Op]) -> dict[str, list[Tenure]]:
    """Worker → its tenures, in order of their beginning. O(answers x workers)."""
    found: dict[tuple[str, str], Tenure] = {}
    for op in reads:
        for worker, instance in op.result.items():
            tenure = found.get((worker, instance))
            if tenure is None:
                found[worker, instance] = Tenure(worker, str(op.node), instance, op, op)
            else:
                tenure.last = op
    by_worker: dict[str, list[Tenure]] = {}
    for tenure in sorted(found.values(), key=lambda one: one.start):
        by_worker.setdefault(tenure.worker, []).append(tenure)
    return by_worker


def rivals(some: Sequence[Tenure]) -> list[tuple[Tenure, Tenure, int, int]]:
    """Each pair of tenures of one worker that certainly overlap, and from when to when."""
    found = []
    for place, one in enumerate(some):
        for other in some[place + 1 :]:
            both = one.overlap(other)
            if both is not None:
                found.append((one, other, *both))
    return found


def calm(history: History, within_ns: int) -> list[tuple[int, int]]:
    """The stretches in which no fault is in force, and none was for `within_ns`."""
    ends = [op.start if op.end is None else op.end for op in history.ops]
    stretches = []
    begin = 0
    for fault in sorted(history.timeline.faults, key=lambda fault: fault.start):
        if fault.start > begin:
            stretches.append((begin, fault.start))
        begin = max(begin, fault.end + within_ns)
    last = max(ends, default=0) + 1
    return [*stretches, (begin, last)] if last > begin else stretches


def end_of(op: Op) -> int:
    """When the op ended (ns)."""
    return op.start if op.end is None else op.end
