"""Bounded growth: what a probe measures never exceeds a bound."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from harness.check._arguments import number, whole, word
from harness.check._text import clock, cut
from harness.check.verdict import Result, Verdict
from harness.history import History

ANOMALY = "unbounded"


@dataclass(frozen=True)
class Bounded:
    """The check that `bounded` makes."""

    probe: str
    at_most: float
    at_least: int

    @property
    def name(self) -> str:
        return f"bounded({self.probe}<={self.at_most:g})"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        known = [
            (one.time, one.value)
            for one in history.timeline.measurements
            if one.probe == self.probe and one.value is not None
        ]
        known.sort()
        over = [(at, value) for at, value in known if not value <= self.at_most]
        text, data = _course(known)
        result: Result
        if over:
            result = "invalid"
            summary = (
                f"{self.probe} was {over[0][1]:g} at {clock(over[0][0])} s, "
                f"{self.at_most:g} are allowed; {text}."
            )
        elif len(known) < self.at_least:
            result = "unknown"
            summary = (
                f"Too little was tested: {self.probe} was measured {len(known)} times, "
                f"{self.at_least} are needed."
            )
        elif all(value == 0 for _at, value in known):
            result = "unknown"
            summary = f"Nothing was tested: {self.probe} was zero all the time."
        else:
            result, summary = "valid", f"{self.probe}: {text}; {self.at_most:g} are allowed."
        return Verdict(
            self.name,
            result,
            summary,
            evidence="\n".join(cut([f"  {clock(at)} s  {value:g}" for at, value in over])),
            anomaly=ANOMALY if over else None,
            ops=len(known),
            seconds=time.monotonic() - began,
            data=data,
        )


def bounded(probe: str, *, at_most: float, at_least: int = 5) -> Bounded:
    """Check that every value measured by `probe` is `at_most` that much.

    The summary also says where it ended and how it went: the mean of the last third of the values
    against that of the first third. The verdict is `unknown` if fewer than `at_least` values were
    measured, or if all of them are zero. Raises `UsageError` for wrong arguments. O(n log n).
    """
    return Bounded(
        word(probe, "probe"), number(at_most, "at_most", least=0), whole(at_least, "at_least")
    )


def _course(known: Sequence[tuple[int, float]]) -> tuple[str, dict[str, float]]:
    """The greatest value, the last one, and the change from the first third to the last."""
    if not known:
        return "", {"values": 0}
    values = [value for _at, value in known]
    third = max(1, len(known) // 3)
    (from_s, first), (to_s, last) = _mean(known[:third]), _mean(known[-third:])
    slope = (last - first) / (to_s - from_s) if to_s > from_s else 0.0
    text = (
        f"{len(values)} values, at most {max(values):g}, {values[-1]:g} at the end, on average "
        f"{first:.4g} in the first third and {last:.4g} in the last ({slope:+.3g} per second)"
    )
    data = {
        "values": len(values),
        "highest": max(values),
        "last": values[-1],
        "first_third": first,
        "last_third": last,
        "slope_per_s": slope,
    }
    return text, data


def _mean(values: Sequence[tuple[int, float]]) -> tuple[float, float]:
    times, several = zip(*values, strict=True)
    return sum(times) / len(values) / 1e9, sum(several) / len(values)
