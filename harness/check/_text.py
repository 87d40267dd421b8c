"""How evidence is written: moments, ops in a table with the faults beside them, lists cut short."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.history import MISMATCH, Op
from harness.timeline import FaultSpan

SHOWN = 10
"""Lines of a list in the evidence: more are counted, not shown."""


def clock(time_ns: float) -> str:
    """A moment in seconds since the run's start, without the unit."""
    return f"{time_ns / 1e9:.3f}"


def cut(lines: Sequence[str], shown: int = SHOWN) -> list[str]:
    """The first lines, and how many more there are."""
    if len(lines) <= shown:
        return list(lines)
    return [*lines[:shown], f"  … and {len(lines) - shown} more"]


def many(count: int, noun: str) -> str:
    """A number of things, e.g. `1 op`, `2 ops`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: Iterable[str]) -> str:
    """Names in order, within a sentence."""
    ordered = sorted(names)
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return ", ".join(ordered[:SHOWN]) + more


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Indented lines with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def op_rows(ops: Iterable[Op], faults: Iterable[FaultSpan]) -> list[list[str]]:
    """A row for each op: when, who, where, what, with what outcome, and the faults in force
    between its start and its end (at its start, where no end is known)."""
    spans = list(faults)
    return [
        [
            f"{clock(op.start)}-{'…' if op.end is None else clock(op.end)} s",
            f"process {op.process}",
            op.node or "",
            f"{op.f} {op.key!r} {op.value!r}",
            outcome(op),
            ", ".join(f"{span.id} {span.what}" for span in spans if _beside(op, span)),
        ]
        for op in ops
    ]


def outcome(op: Op) -> str:
    """How the op ended, with its error."""
    if op.outcome == "ok":
        return "ok"
    word = "no answer" if op.outcome == "info" else "failed"
    if op.error == MISMATCH:
        word = "refused"
    return f"{word} ({op.error})" if op.error and op.error != MISMATCH else word


def _beside(op: Op, span: FaultSpan) -> bool:
    end = op.start if op.end is None else op.end
    return span.start <= end and op.start <= span.end
