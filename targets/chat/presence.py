"""Presence: who is in a room is known everywhere, soon."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from harness.check import Verdict
from harness.check.verdict import Result
from harness.history import History, Op
from harness.timeline import FaultSpan
from harness.units import Duration, seconds, to_seconds

_SHOWN = 5
_ENDS_PROCESSES = frozenset({"kill", "stop", "restart", "crash-loop"})
_BETWEEN_ALL = frozenset({"netsplit"})
"""Faults that disturb every node: whoever was apart brings old rumours along when it is healed."""

_READS = frozenset({"present", "presence"})

Anomaly: TypeAlias = Literal["ghost", "unseen"]


@dataclass(frozen=True)
class Stretch:
    """A stretch of time (ns) in which a user certainly was in a room, or was not: because of `op`,
    which node `node` was told. `died`: because that node was ended, and the user with it."""

    op: Op
    there: bool
    since: int
    until: float
    died: bool = False


@dataclass(frozen=True)
class Presence:
    """The check that `presence` makes."""

    within_s: float

    @property
    def name(self) -> str:
        return f"presence(within={self.within_s:g}s)"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        within = round(self.within_s * 1e9)
        stretches = _stretches(history)
        calm = _Calm(history)
        demanded = {True: 0, False: 0}
        staleness = 0.0
        wrong: list[tuple[Anomaly, str]] = []
        reads = [op for op in history.ops if op.f in _READS and op.outcome == "ok"]
        for read in reads:
            shown = set(read.result)
            for user, one in _at(stretches, read):
                since = calm.since(read, one)
                if since is None:
                    continue
                lag = read.start - since
                stale = (user in shown) != one.there
                if stale:
                    staleness = max(staleness, lag / 1e9)
                if lag >= within:
                    demanded[one.there] += 1
                    if stale:
                        wrong.append(_sentence(user, one, read, lag / 1e9))
        told = (
            f"{len(reads)} looks; {demanded[True]} times somebody had to be seen, "
            f"{demanded[False]} times to be gone; at most {staleness:.3f} s out of date"
        )
        kinds = sorted({kind for kind, _sentence in wrong})
        outcome: Result
        if wrong:
            outcome, summary = "invalid", f"{wrong[0][1]} ({told})."
        elif not all(demanded.values()):
            outcome, summary = "unknown", f"Too little was tested: {told}."
        else:
            outcome, summary = "valid", f"Nothing is wrong: {told}."
        return Verdict(
            self.name,
            outcome,
            summary,
            evidence="\n".join(sentence for _kind, sentence in wrong[:_SHOWN]),
            anomaly=wrong[0][0] if wrong else None,
            ops=len(reads),
            seconds=time.monotonic() - began,
            data={
                "looks": len(reads),
                "there": demanded[True],
                "gone": demanded[False],
                "wrong": len(wrong),
                "staleness_s": staleness,
                "anomalies": kinds,
            },
        )


def presence(*, within: Duration = seconds(2)) -> Presence:
    """Check that who enters a room is seen by everybody `within` that time, and gone within that
    time of leaving it, or of the end of the node that it was on.

    Ops: `enter` and `leave` (key: the room; value: the user), which are answered when the node has
    done it, and `present` and `presence` (key: the room), which answer with the users that somebody
    on the node sees there. A user certainly was there from the end of an `enter` to the beginning
    of the `leave` that follows, if both were answered with ok; and was not from the end of that
    `leave`, or from the moment when its node was killed, stopped or restarted, to the next `enter`.
    Anything else is not certain, and nothing is demanded.

    The time counts from the change, or, where a fault hit the node that looks or the node that was
    told (a netsplit hits all), from when that node had answered again after it (the fault that
    ended a node is the change itself). While such a fault is in force nothing is demanded.

    Anomalies: `ghost`, seen and long gone; `unseen`, long there and not seen. `data` has the
    measured staleness: how long after a change it was not seen yet, at most. `unknown`: nobody had
    to be seen, or nobody to be gone. Raises `UsageError` for a wrong duration.
    """
    return Presence(to_seconds(within, "presence: within"))


_Visits: TypeAlias = tuple[Sequence[int], Sequence[Stretch]]
_Stretches: TypeAlias = Mapping[Hashable, Mapping[Hashable, _Visits]]
"""Room → user → when its stretches begin, and the stretches."""


def _stretches(history: History) -> _Stretches:
    visits: dict[Hashable, dict[Hashable, list[Op]]] = defaultdict(lambda: defaultdict(list))
    for op in history.ops:
        if op.f in ("enter", "leave"):
            visits[op.key][op.value].append(op)
    ends = [one for one in history.timeline.faults if one.kind in _ENDS_PROCESSES]
    found: dict[Hashable, dict[Hashable, _Visits]] = {}
    for topic, users in visits.items():
        found[topic] = {}
        for user, ops in users.items():
            known = sorted(_of_user(ops, ends), key=lambda one: one.since)
            found[topic][user] = [one.since for one in known], known
    return found


def _of_user(ops: Sequence[Op], ends: Sequence[FaultSpan]) -> Iterator[Stretch]:
    """Of one user in one room. An op that is not answered with ok makes everything uncertain, and
    only an `enter` can make somebody be there."""
    for op, later in zip(ops, (*ops[1:], None), strict=True):
        if op.outcome != "ok" or op.end is None:
            continue
        entered = next((o for o in ops if o.f == "enter" and o.start > op.start), None)
        until = math.inf if entered is None else entered.start
        if op.f == "leave":
            yield Stretch(op, False, op.end, until)
        elif later is not None and later.f == "leave" and later.outcome == "ok":
            yield Stretch(op, True, op.end, later.start)
        else:
            died = [
                end.start for end in ends if op.node in end.nodes and op.end <= end.start < until
            ]
            if died:
                yield Stretch(op, False, min(died), until, died=True)


def _at(stretches: _Stretches, read: Op) -> Iterator[tuple[Hashable, Stretch]]:
    """Users of whom it is certain whether they were there during the whole of `read`."""
    for user, (starts, known) in stretches.get(read.key, {}).items():
        place = bisect_right(starts, read.start) - 1
        if place >= 0 and (read.end or read.start) < known[place].until:
            yield user, known[place]


class _Calm:
    """When nodes were disturbed: from the beginning of a fault that hit them to their first answer
    after it."""

    def __init__(self, history: History) -> None:
        self._disturbed: dict[str, list[tuple[int, float, FaultSpan]]] = defaultdict(list)
        nodes = {op.node for op in history.ops if op.node is not None}
        for fault in history.timeline.faults:
            for node in nodes if fault.kind in _BETWEEN_ALL else fault.nodes:
                answers = (
                    op.end
                    for op in history.ops
                    if op.node == node
                    and op.outcome == "ok"
                    and op.end is not None
                    and op.start >= fault.end
                )
                self._disturbed[node].append((fault.start, min(answers, default=math.inf), fault))

    def since(self, read: Op, change: Stretch) -> int | None:
        """Since when the reader could know of the change; None if it need not."""
        latest: float = change.since
        for node in {read.node, change.op.node} - {None}:
            assert node is not None
            for start, end, fault in self._disturbed[node]:
                itself = change.died and node == change.op.node and node != read.node
                if itself and fault.kind in _ENDS_PROCESSES:
                    continue
                if start < (read.end or read.start) and end > change.since:
                    latest = max(latest, end)
        return None if latest > read.start else int(latest)


def _sentence(user: Hashable, one: Stretch, read: Op, lag_s: float) -> tuple[Anomaly, str]:
    look = f"{read.node} at {read.start / 1e9:.3f} s"
    if one.there:
        return "unseen", (
            f"{user} entered {read.key} on {one.op.node} and was not seen on {look}, "
            f"{lag_s:.3f} s later"
        )
    how = "was there when the node ended" if one.died else "left it"
    return "ghost", (
        f"{user} entered {read.key} on {one.op.node}, {how}, and was still seen on {look}, "
        f"{lag_s:.3f} s later"
    )
