"""Bounds on what requests may come to, as `slo` and `bulkhead` demand them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.check._arguments import number
from harness.check._text import table
from harness.check.verdict import Result
from harness.check.windows import Figures
from harness.errors import UsageError
from harness.units import Duration, to_seconds

_MANY_ERRORS = 0.01
"""From more than this on it is said that errors are not bounded."""

MORE: Mapping[str | None, str] = {
    None: "a longer duration= or a higher rate gives more",
    "before": "a longer before=, a later at= or a higher rate gives more",
    "during": "a longer lasting= or duration=, or a higher rate, gives more",
    "after": "a higher rate gives more",
}
"""What to do about too few requests, by when they were made."""


@dataclass(frozen=True)
class Bounds:
    """The greatest percentiles (of the answered) and fraction of errors allowed; None: any."""

    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    errors: float | None

    def __str__(self) -> str:
        given = [f"{name}<={value * 1e3:g}ms" for name, value in self.latencies.items()]
        return ", ".join(
            given if self.errors is None else [*given, f"errors<={self.errors * 100:g}%"]
        )

    @property
    def latencies(self) -> dict[str, float]:
        """Those of the percentiles that are bounded, in seconds."""
        every = {"p50": self.p50_s, "p95": self.p95_s, "p99": self.p99_s}
        return {name: value for name, value in every.items() if value is not None}

    def judge(self, found: Figures, at_least: int) -> tuple[Result, str]:
        """Whether these figures are within the bounds, and the end of a sentence that says why not.

        Too many errors are found out even where too few answers are left for percentiles.
        """
        if found.count < at_least:
            return "unknown", f"{found.count} requests were made, {at_least} are needed"
        wrong = []
        if self.errors is not None and found.errors > self.errors:
            wrong.append(f"{found.errors:.2%} were not answered, {self.errors:.2%} are allowed")
        elif self.latencies and found.answered < at_least:
            return "unknown", f"{found.answered} requests were answered, {at_least} are needed"
        had = {"p50": found.p50_s, "p95": found.p95_s, "p99": found.p99_s}
        for name, bound in self.latencies.items():
            value = had[name]
            if value is not None and value > bound:
                wrong.append(f"{name} was {ms(value)}, {bound * 1e3:g} ms are allowed")
        return ("invalid", "; ".join(wrong)) if wrong else ("valid", "")

    def told(self, found: Figures) -> str:
        """The figures within a sentence, with a warning where many went without an answer and
        nothing is said of that."""
        text = (
            f"{found.count} requests, p50 {ms(found.p50_s)}, p95 {ms(found.p95_s)}, "
            f"p99 {ms(found.p99_s)}, {found.errors:.2%} not answered"
        )
        silent = self.errors is None and found.errors > _MANY_ERRORS
        return f"{text} (errors are not bounded)" if silent else text


def bounds(
    p50: Duration | None, p95: Duration | None, p99: Duration | None, errors: float | None
) -> Bounds:
    """Bounds from what people give. Raises `UsageError` for wrong ones, and if there are none."""
    if p50 is None and p95 is None and p99 is None and errors is None:
        raise UsageError(
            "Nothing is bounded: p50, p95, p99 and errors are all left out.",
            do="Write e.g. p99=milliseconds(200), errors=0.01.",
        )
    return Bounds(
        None if p50 is None else to_seconds(p50, "p50"),
        None if p95 is None else to_seconds(p95, "p95"),
        None if p99 is None else to_seconds(p99, "p99"),
        None if errors is None else number(errors, "errors", least=0, most=1),
    )


def figures_table(rows: dict[str, Figures]) -> list[str]:
    """A line of figures for each name, with a heading."""
    heading = ["", "count", "p50", "p95", "p99", "errors"]
    lines = [
        [name, str(f.count), ms(f.p50_s), ms(f.p95_s), ms(f.p99_s), _errors(f)]
        for name, f in rows.items()
    ]
    return table([heading, *lines])


def _errors(found: Figures) -> str:
    return f"{found.errors:.2%}" if found.count else "-"


def ms(seconds: float | None) -> str:
    """A latency for people."""
    return "-" if seconds is None else f"{seconds * 1e3:.1f} ms"
