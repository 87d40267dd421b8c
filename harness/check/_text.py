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


def span(op: Op) -> str:
    """When an op was under way: `0.021-0.023 s`; `#4-#9` where only the order of events is known
    (its times are its indexes then, see `harness.formats.read`)."""
    if _by_index(op):
        return f"#{op.index}-{'…' if op.end_index is None else f'#{op.end_index}'}"
    if op.end is None:
        return f"{clock(op.start)}-… s"
    digits = 3 if op.end - op.start >= 1e6 else 6  # (below a millisecond they would look the same)
    return f"{op.start / 1e9:.{digits}f}-{op.end / 1e9:.{digits}f} s"


def start_of(op: Op) -> str:
    """When an op began, as in `span`."""
    return f"#{op.index}" if _by_index(op) else f"{clock(op.start)} s"


def end_of(op: Op) -> str:
    """When an op ended, as in `span`; for one of which no end is known, the end of time."""
    if op.end is None:
        return "…"
    return f"#{op.end_index}" if _by_index(op) else f"{clock(op.end)} s"


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
            span(op),
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


def _by_index(op: Op) -> bool:
    return op.start == op.index and op.end == op.end_index
