"""Availability: how many ops were answered at all."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.check.verdict import Verdict
from harness.errors import UsageError
from harness.history import History, Op

ANOMALY = "unavailable"


@dataclass(frozen=True)
class Available:
    """The check that `available` makes."""

    at_least: float
    phase: str | None

    @property
    def name(self) -> str:
        phase = "" if self.phase is None else f", phase={self.phase}"
        return f"available(at_least={self.at_least:g}{phase})"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        ops = [op for op in history.ops if not op.final]
        first, last = _bounds(ops)
        where = "in the history"
        if self.phase is not None:
            phase = history.phase(self.phase)
            if phase is None:
                return Verdict(
                    self.name, "unknown", f"The history has no phase called {self.phase!r}."
                )
            first, last = phase.start, phase.end
            ops = [op for op in ops if first <= op.start < last]
            where = f"in the phase {self.phase!r}"
        if not ops:
            return Verdict(self.name, "unknown", f"Nothing was tested: there is no op {where}.")
        answered = [op for op in ops if op.answered]
        fraction = len(answered) / len(ops)
        gap_from, gap_to = _longest_gap(answered, first, last)
        valid = fraction >= self.at_least
        return Verdict(
            self.name,
            "valid" if valid else "invalid",
            f"{fraction:.1%} of {len(ops)} ops {where} were answered, "
            f"at least {self.at_least:.1%} is demanded; the longest stretch without any answer "
            f"was {_s(gap_to - gap_from)} s.",
            evidence=_evidence(ops, gap_from, gap_to),
            anomaly=None if valid else ANOMALY,
            ops=len(ops),
            seconds=time.monotonic() - began,
            data={
                "fraction": fraction,
                "answered": len(answered),
                "nodes": _by_node(ops),
                "longest_gap_s": (gap_to - gap_from) / 1e9,
                "longest_gap_from_s": gap_from / 1e9,
            },
        )


def available(*, at_least: float = 0.6, phase: str | None = None) -> Available:
    """Check that at least the fraction `at_least` of the ops was answered.

    An op is answered if it is `ok` or was refused for the state it met (`MISMATCH`). Final reads
    do not count. With `phase` (e.g. "during"), only ops that began in that phase do. Raises
    `UsageError` unless 0 < at_least <= 1.
    """
    number = isinstance(at_least, int | float) and not isinstance(at_least, bool)
    if not number or not 0 < at_least <= 1:
        raise UsageError(
            f"at_least must be a fraction above 0 and up to 1, not {at_least!r}.",
            do="Write available(at_least=0.6) to demand that 60 % of the ops are answered.",
        )
    return Available(float(at_least), phase)


def _bounds(ops: Sequence[Op]) -> tuple[int, int]:
    if not ops:
        return 0, 0
    return ops[0].start, max(op.start if op.end is None else op.end for op in ops)


def _longest_gap(answered: Sequence[Op], first: int, last: int) -> tuple[int, int]:
    ends = sorted(op.end for op in answered if op.end is not None)
    times = [first, *(end for end in ends if first < end < last), last]
    return max(pairwise(times), key=lambda gap: gap[1] - gap[0])


def _by_node(ops: Sequence[Op]) -> dict[str, dict[str, int]]:
    nodes: dict[str, dict[str, int]] = defaultdict(lambda: {"ops": 0, "answered": 0})
    for op in ops:
        if op.node is not None:
            nodes[op.node]["ops"] += 1
            nodes[op.node]["answered"] += op.answered
    return {name: nodes[name] for name in sorted(nodes)}


def _evidence(ops: Sequence[Op], gap_from: int, gap_to: int) -> str:
    lines = [
        f"  {name}: {count['answered']} of {count['ops']} ops answered "
        f"({count['answered'] / count['ops']:.1%})"
        for name, count in _by_node(ops).items()
    ]
    return "\n".join([*lines, f"  no answer at all from {_s(gap_from)} to {_s(gap_to)} s"])


def _s(time_ns: int) -> str:
    return f"{time_ns / 1e9:.3f}"
