"""Bounded retries: trouble of a dependency is not multiplied by those who call it."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.check._arguments import number, whole, word
from harness.check._events import Attempt, attempts
from harness.check._text import clock, cut
from harness.check.verdict import Result, Verdict
from harness.history import History

SPREAD = 0.1
"""The least coefficient of variation (standard deviation over mean) that the pauses of jittered
retries have. Full jitter, uniform from zero, has 0.58; equal jitter, uniform over the upper half,
has 0.19; none has 0. Ten pauses of full jitter fall below by chance in 1 of 10^5 cases (6 in a
million simulated ones); of equal jitter in 1 of 100, twenty of those in 1 of 10^4."""


@dataclass(frozen=True)
class RetriesBounded:
    """The check that `retries_bounded` makes."""

    dependency: str
    at_most: float
    per_key: int
    jitter: bool
    at_least: int

    @property
    def name(self) -> str:
        return f"retries_bounded({self.dependency}, x{self.at_most:g}, per_key={self.per_key})"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        calls = attempts(history, self.dependency)
        by_number = Counter(call.attempt for call in calls)
        first, total = by_number[1], len(calls)
        retries = total - first
        amplification = total / first if first else float(total)
        spreads = _spreads(calls, self.at_least)
        told = f"{first} calls of {self.dependency} became {total} attempts (x{amplification:.2f})"
        result: Result = "invalid"
        anomaly: str | None = None
        lines: list[str] = []
        excess = [call for call in calls if call.attempt > self.per_key]
        alike = {n: spread for n, spread in spreads.items() if spread < SPREAD}
        if excess:
            anomaly = "unlimited-retries"
            top = max(excess, key=lambda call: call.attempt)
            summary = (
                f"Key {top.key!r} was attempted {top.attempt} times in one call, {self.per_key} "
                f"are allowed; {told}."
            )
            lines = _rows([call for call in calls if _same_call(call, top)])
        elif retries < self.at_least:
            result = "unknown"
            summary = (
                f"Too little was tested: {retries} retries of {self.dependency} were made, "
                f"{self.at_least} are needed."
            )
        elif amplification > self.at_most:
            anomaly = "amplification"
            summary = f"{told}, x{self.at_most:g} is allowed."
            lines = [f"  attempt {n}: {count}" for n, count in sorted(by_number.items())]
        elif self.jitter and alike:
            anomaly = "synchronised-retries"
            least = min(alike, key=lambda n: alike[n])
            summary = (
                f"The pauses before attempt {least} are all alike: their coefficient of variation "
                f"is {alike[least]:.2f}, at least {SPREAD:g} is demanded."
            )
            lines = _rows([call for call in calls if call.attempt == least])
        elif self.jitter and not spreads:
            result = "unknown"
            summary = (
                f"Nobody knows whether retries are jittered: no attempt number has "
                f"{self.at_least} pauses; {told}."
            )
        else:
            result = "valid"
            spread = ", ".join(f"{n}: {value:.2f}" for n, value in spreads.items())
            summary = f"{told}; variation of the pauses by attempt: {spread or 'unknown'}."
        return Verdict(
            self.name,
            result,
            summary,
            evidence="\n".join(cut(lines)),
            anomaly=anomaly,
            ops=total,
            seconds=time.monotonic() - began,
            data={
                "calls": first,
                "attempts": total,
                "retries": retries,
                "amplification": round(amplification, 4),
                "most_attempts": max(by_number, default=0),
                "variation": {str(n): round(value, 4) for n, value in spreads.items()},
            },
        )


def retries_bounded(
    dependency: str, *, at_most: float, per_key: int, jitter: bool = True, at_least: int = 10
) -> RetriesBounded:
    """Check that calls of `dependency` are retried within bounds, and not all at the same moment.

    Read from the target's events `attempt`. All attempts together are `at_most` times as many as
    the first ones (anomaly `amplification`); no call makes more than `per_key` attempts
    (`unlimited-retries`); with `jitter`, the pauses before equal attempt numbers are spread
    (`synchronised-retries`, see `SPREAD`). Pauses are those the target chose: between the events
    themselves lies the failing call as well, which scatters without any jitter.

    The verdict is `unknown` if fewer than `at_least` retries were made, or no attempt number has
    that many pauses. Raises `UsageError` for wrong arguments. O(n log n).
    """
    return RetriesBounded(
        word(dependency, "dependency"),
        number(at_most, "at_most", least=1),
        whole(per_key, "per_key"),
        bool(jitter),
        whole(at_least, "at_least", least=2),
    )


def _spreads(calls: Sequence[Attempt], at_least: int) -> Mapping[int, float]:
    """The coefficient of variation of the pauses before each attempt number that has enough."""
    pauses: dict[int, list[float]] = {}
    for call in calls:
        if call.attempt > 1 and call.delay_s is not None:
            pauses.setdefault(call.attempt, []).append(call.delay_s)
    found = {}
    for attempt, several in sorted(pauses.items()):
        if len(several) >= at_least:
            mean = statistics.fmean(several)
            found[attempt] = statistics.pstdev(several) / mean if mean > 0 else 0.0
    return found


def _same_call(call: Attempt, other: Attempt) -> bool:
    return call.instance == other.instance and call.key == other.key


def _rows(calls: Sequence[Attempt]) -> list[str]:
    return [
        f"  {clock(call.time)} s  {call.instance[0]}  key {call.key!r}  attempt {call.attempt}"
        + ("" if call.delay_s is None else f" after {call.delay_s * 1e3:.1f} ms")
        for call in calls
    ]
