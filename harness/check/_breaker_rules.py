"""What is demanded of breakers, applied to one run: `breaker` makes a verdict of it."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.check._events import (
    Attempt,
    Change,
    Instance,
    attempts,
    changes,
    exited,
    signs,
)
from harness.check._stretches import Stretch, awake_from, gone, stretches
from harness.check._text import clock
from harness.check.windows import hitting, worked
from harness.history import History
from harness.timeline import FaultSpan

GRAVEST = ("never-opened", "no-probe", "never-closed")
"""The anomalies, in the order in which they give a verdict its name."""


@dataclass(frozen=True)
class Limits:
    """What `breaker` was given."""

    dependency: str
    opens_within_s: float
    closes_within_s: float
    at_least: int


@dataclass(frozen=True)
class Problem:
    """One demand that was not met, by a breaker of `node`."""

    anomaly: str
    node: str
    sentence: str


@dataclass
class Case:
    """One run: what was said of breakers in it, and what came out so far."""

    history: History
    limits: Limits
    log: Sequence[Change] = field(init=False)
    calls: Sequence[Attempt] = field(init=False)
    opened: Sequence[Stretch] = field(init=False)
    spans: Sequence[FaultSpan] = field(init=False)
    signs: Mapping[Instance, Sequence[int]] = field(init=False)
    users: Sequence[str] = field(init=False)
    problems: list[Problem] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    opened_after_s: dict[str, dict[str, float]] = field(default_factory=dict)
    closed: int = 0

    def __post_init__(self) -> None:
        name = self.limits.dependency
        self.log, self.calls = changes(self.history, name), attempts(self.history, name)
        self.opened = stretches(self.log)
        least_ns = self.limits.opens_within_s * 1e9
        self.spans = [s for s in hitting(self.history, name) if s.end - s.start >= least_ns]
        self.signs = signs(self.log, self.calls)
        self.users = sorted({node for node, _instance in self.signs})

    def unprovoked(self) -> int:
        """How many openings came with no fault in force, then or `opens_within_s` before."""
        reach_ns = self.limits.opens_within_s * 1e9
        faults = self.history.timeline.faults
        return sum(
            not any(s.start <= one.start <= s.end + reach_ns for s in faults) for one in self.opened
        )


def judge_openings(case: Case) -> None:
    """Every node that the fault concerns has a breaker that opens in time, if it was called."""
    limits = case.limits
    for span in case.spans:
        until = span.start + round(limits.opens_within_s * 1e9)
        first = bisect_left(case.calls, span.start, key=_time)
        called = Counter(
            c.instance for c in case.calls[first : bisect_right(case.calls, until, key=_time)]
        )
        # A netsplit between one node and the dependency is nothing to the other nodes.
        for node in [user for user in case.users if user in span.nodes] or case.users:
            moments = [
                max(0, one.start - span.start)
                for one in case.opened
                if one.instance[0] == node
                and one.start <= until
                and (one.end is None or one.end > span.start)
            ]
            most = max((n for instance, n in called.items() if instance[0] == node), default=0)
            if moments:
                after_s = round(min(moments) / 1e9, 3)
                case.opened_after_s.setdefault(span.id, {})[node] = after_s
            elif most >= limits.at_least:
                sentence = (
                    f"{node} made {most} attempts within {limits.opens_within_s:g} s of {span.id} "
                    f"({span.what}, from {clock(span.start)} s), and no breaker opened"
                )
                case.problems.append(Problem("never-opened", node, sentence))
            else:
                case.undecided.append(
                    f"{node} made {most} attempts within {limits.opens_within_s:g} s of {span.id}, "
                    f"{limits.at_least} by one breaker are needed"
                )


def judge_closings(case: Case) -> None:
    """Every breaker that opened tries half-open before it closes, and closes after the faults."""
    faults, dead, watched = case.history.timeline.faults, exited(case.history), _watched(case)
    dependency = case.limits.dependency
    for one in case.opened:
        node = one.instance[0]
        if one.end is not None and not one.probed:
            sentence = (
                f"{one.where} went from open (at {clock(one.start)} s) to closed (at "
                f"{clock(one.end)} s) without a half-open try of {dependency}"
            )
            case.problems.append(Problem("no-probe", node, sentence))
        if one.end is not None:
            case.closed += 1
        elif gone(one, dead, faults):
            continue
        quiet = max((s.end for s in faults if {dependency, node} & set(s.nodes)), default=0)
        since = awake_from(one, quiet, case.signs)
        if since is None:
            case.undecided.append(f"{one.where} was not called after the faults")
            continue
        since = max(since, one.start)
        until = watched if one.end is None else min(watched, one.end)
        if until - since > case.limits.closes_within_s * 1e9:
            ended = "stays open" if one.end is None else f"closed at {clock(one.end)} s only"
            sentence = (
                f"{one.where} opened at {clock(one.start)} s and {ended}, though no fault was in "
                f"its way from {clock(since)} s on (the clients worked until {clock(watched)} s)"
            )
            case.problems.append(Problem("never-closed", node, sentence))
        elif one.end is None:
            case.undecided.append(
                f"the clients ended {(until - since) / 1e9:.1f} s after the faults, when "
                f"{one.where} was still open"
            )


def _time(call: Attempt) -> int:
    return call.time


def _watched(case: Case) -> float:
    """Until when breakers had calls: the end of the phase "after", or of everything known."""
    end = worked(case.history).end
    if end < math.inf:
        return end
    heard = [times[-1] for times in case.signs.values()]
    return max([*heard, *(op.end or op.start for op in case.history.ops)], default=0)
