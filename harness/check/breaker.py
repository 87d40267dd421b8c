"""Circuit breakers: they open when a dependency fails, try it now and then, and close again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from harness.check._arguments import whole, word
from harness.check._breaker_rules import (
    GRAVEST,
    Case,
    Limits,
    Problem,
    judge_closings,
    judge_openings,
)
from harness.check._events import dependencies
from harness.check._text import clock, cut, listed
from harness.check.verdict import Result, Verdict
from harness.check.windows import hitting, not_hitting
from harness.history import History
from harness.units import Duration, to_seconds


@dataclass(frozen=True)
class Breaker:
    """The check that `breaker` makes."""

    limits: Limits

    @property
    def name(self) -> str:
        limits = self.limits
        return (
            f"breaker({limits.dependency}, opens_within={limits.opens_within_s:g}s, "
            f"closes_within={limits.closes_within_s:g}s)"
        )

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        case, dependency = Case(history, self.limits), self.limits.dependency
        if case.spans and case.users:
            judge_openings(case)
            judge_closings(case)
        problem = min(case.problems, key=lambda one: GRAVEST.index(one.anomaly), default=None)
        unprovoked = case.unprovoked()
        result: Result = "unknown"
        if problem is not None:
            result, summary = "invalid", f"{problem.sentence}."
        elif not case.spans:
            summary = f"Nothing was tested: {_untouched(history, self.limits)}."
        elif not case.users:
            told = dependencies(history)
            others = f"; they told of {listed(told)}" if told else ""
            summary = f"Nothing was tested: no node told of calls of {dependency}{others}."
        elif not case.opened_after_s:
            summary = f"Too little was tested: {'; '.join(case.undecided[:3])}."
        elif not case.closed:
            why = "; ".join(case.undecided[:3]) or "those that opened ended with their process"
            summary = f"Nobody knows whether breakers for {dependency} close again: {why}."
        else:
            result = "valid"
            summary = (
                f"Breakers for {dependency} opened {_opened(case.opened_after_s)}, and closed "
                f"again ({case.closed} times)."
            )
        if unprovoked:
            summary += f" {unprovoked} of {len(case.opened)} openings came with no fault in force."
        return Verdict(
            self.name,
            result,
            summary,
            evidence=_evidence(case, problem),
            anomaly=None if problem is None else problem.anomaly,
            ops=len(case.log) + len(case.calls),
            seconds=time.monotonic() - began,
            data={
                "spans": [
                    {"id": s.id, "what": s.what, "start_s": s.start / 1e9, "end_s": s.end / 1e9}
                    for s in case.spans
                ],
                "opened_after_s": case.opened_after_s,
                "openings": len(case.opened),
                "closings": case.closed,
                "opened_without_fault": unprovoked,
                "undecided": len(case.undecided),
            },
        )


def breaker(
    dependency: str, *, opens_within: Duration, closes_within: Duration, at_least: int = 20
) -> Breaker:
    """Check that the breakers for `dependency` open, probe and close as breakers do.

    Read from the target's events `breaker`, `attempt` and `worker-exited`. For every fault that hit
    the dependency and lasted `opens_within` or longer:

    - every node that calls the dependency has a breaker that is open within that time of the
      fault's start (`never-opened`). If the fault names some of these nodes beside the dependency,
      as a netsplit does, it is demanded of those alone. It is demanded only where one breaker saw
      `at_least` attempts in that time: as many as surely open it, those in flight included;
    - a breaker is half-open before it closes (`no-probe`);
    - after the last fault that hit the dependency or its node, none stays open or half-open for
      longer than `closes_within` (`never-closed`), counted from the moment healing began. Those
      whose process ended are not waited for, nor those that got no calls any more while others of
      their node did, nor anything after the phase "after".

    Openings while no fault was in force, then or `opens_within` before, are counted
    (`opened_without_fault`) and told, but not judged: a breaker that trips because the machine was
    slow does what it is for, and no event says what its calls met.

    The verdict is `unknown` if there was no such fault, if no breaker was called enough, or if
    nobody can tell whether they close. Raises `UsageError` for wrong arguments.
    """
    return Breaker(
        Limits(
            word(dependency, "dependency"),
            to_seconds(opens_within, "opens_within"),
            to_seconds(closes_within, "closes_within"),
            whole(at_least, "at_least"),
        )
    )


def _untouched(history: History, limits: Limits) -> str:
    """Why none of the faults tests the breakers."""
    spans = hitting(history, limits.dependency)
    if not spans:
        return not_hitting(history, limits.dependency)
    longest_s = max(span.end - span.start for span in spans) / 1e9
    return (
        f"no fault hit {limits.dependency} for {limits.opens_within_s:g} s or longer; the longest "
        f"lasted {longest_s:.1f} s"
    )


def _opened(after_s: Mapping[str, Mapping[str, float]]) -> str:
    """When they opened in which fault, the latest node each."""
    told = [f"{max(nodes.values()):.1f} s into {span}" for span, nodes in after_s.items()]
    return ", ".join(told if len(told) <= 3 else [*told[:3], f"and in {len(told) - 3} faults more"])


def _evidence(case: Case, problem: Problem | None) -> str:
    found = [f"{one.sentence}: {one.anomaly}." for one in case.problems]
    moments = [
        (moment, f"  {clock(moment)} s  {span.id} {span.what} {word}")
        for span in case.spans
        for moment, word in ((span.start, "begins"), (span.end, "is healed"))
    ]
    moments += [
        (one.time, f"  {clock(one.time)} s  {'/'.join(filter(None, one.instance))} {one.state}")
        for one in case.log
        if problem is None or one.instance[0] == problem.node
    ]
    told = [line for _moment, line in sorted(moments, key=lambda one: one[0])]
    doubts = [f"  undecided: {text}" for text in case.undecided]
    return "\n".join([*cut(found, 4), *cut(told), *cut(doubts, 3)])
