"""Draining: a node that is asked to end finishes what it has accepted."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.check._arguments import words
from harness.check._text import clock, cut, many, op_rows, table
from harness.check.verdict import Result, Verdict
from harness.history import History, Op
from harness.timeline import FaultSpan

ANOMALY = "lost-in-drain"

REACH_NS = 10_000_000_000
"""How long before the fault is in force an op may have begun that the drain lost. A stop is in
force when the node has ended (a restart when it is up again), so that this must cover the drain,
the start, and the op's own time-out."""

_IN_FLIGHT_NS = 1_000_000_000
_MARGIN_NS = 1_000_000_000  # other faults hurt ops shortly before they are said to be in force


@dataclass(frozen=True)
class Drained:
    """The check that `drained` makes."""

    kinds: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"drained({', '.join(self.kinds)})"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        spans = [span for span in history.timeline.faults if span.kind in self.kinds]
        others = [span for span in history.timeline.faults if span.kind not in self.kinds]
        by_node: dict[str, list[Op]] = {}
        for op in sorted(history.ops, key=lambda op: op.start):
            if op.node is not None and not op.final:
                by_node.setdefault(op.node, []).append(op)
        ends = [_end_of(node, span, by_node, others) for span in spans for node in span.nodes]
        lost = {op.index: op for end in ends for op in end.lost}
        excused = {op.index for end in ends for op in end.excused} - lost.keys()
        tested = [end for end in ends if end.in_flight and not end.excused]
        in_flight = sum(end.in_flight for end in tested)
        beside = f"; {len(excused)} more without an answer had another fault on their node"
        told = (
            f"{many(len(ends), 'end')} of nodes by {' or '.join(self.kinds)}, "
            f"{many(len(lost), 'op')} lost"
            f"{beside if excused else ''}"
        )
        result: Result = "valid"
        if lost:
            first = next(iter(lost.values()))
            result = "invalid"
            summary = (
                f"{first.f} {first.key!r} on {first.node}, begun at {clock(first.start)} s, was "
                f"never answered, though the node was asked to end and not killed ({told})."
            )
        elif not spans:
            result, summary = "unknown", f"Nothing was tested: no {' or '.join(self.kinds)} came."
        elif not tested:
            result = "unknown"
            summary = f"Nothing was tested: no op was in flight, or other faults came too ({told})."
        else:
            summary = f"Nothing was lost: {told}, {in_flight} were in flight in the last second."
        rows = op_rows(lost.values(), history.timeline.faults)
        return Verdict(
            self.name,
            result,
            summary,
            evidence="\n".join(cut(table(rows))) if rows else "",
            anomaly=ANOMALY if lost else None,
            ops=len(history.ops),
            seconds=time.monotonic() - began,
            data={
                "ends": len(ends),
                "tested": len(tested),
                "in_flight": in_flight,
                "lost": len(lost),
                "excused": len(excused),
            },
        )


def drained(kinds: Sequence[str] = ("stop", "restart")) -> Drained:
    """Check that no op is lost where a node is ended gracefully: by the faults of these `kinds`.

    An op is lost if nobody knows its outcome (`info`) and it began on that node while the fault was
    in force or up to 10 s before: a stop is in force when the node has ended, which is after the
    drain. Ops that certainly failed, or were refused, were told so and are fine. Where a fault of
    another kind hit the node between the beginning of the op and the end of the node, that fault
    may have been the cause: such an op is not held against the drain, and that end of that node is
    no proof of it either. Faults on what the node depends on are no excuse: a node that is ended
    answers its clients all the same, if only that it does not know.

    The verdict is `unknown` if there was no such fault, or none with an op in flight on its node in
    the second before and without such a doubt. Raises `UsageError` for wrong kinds. O(n log n) for
    n ops and a bounded number of faults.
    """
    return Drained(words(kinds, "kinds"))


@dataclass(frozen=True)
class _End:
    """What the end of one node did: ops lost, those lost by another cause perhaps, and how many
    were in flight."""

    lost: list[Op]
    excused: list[Op]
    in_flight: int


def _end_of(
    node: str, span: FaultSpan, by_node: Mapping[str, Sequence[Op]], others: Iterable[FaultSpan]
) -> _End:
    ops = by_node.get(node, ())
    first = bisect_left(ops, span.start - REACH_NS, key=_start)
    near = ops[first : bisect_right(ops, span.end, key=_start)]
    unknown = [op for op in near if op.outcome == "info"]
    here = [other for other in others if node in other.nodes]
    doubtful = [op for op in unknown if _other_cause(op, span, here)]
    known = {op.index for op in doubtful}
    lost = [op for op in unknown if op.index not in known]
    return _End(lost, doubtful, sum(_in_flight(op, span) for op in near))


def _start(op: Op) -> int:
    return op.start


def _in_flight(op: Op, span: FaultSpan) -> bool:
    """Whether the op was open at some moment in the second before. Of one without an end only the
    beginning is known."""
    end = op.start if op.end is None else op.end
    return op.start <= span.start and end >= span.start - _IN_FLIGHT_NS


def _other_cause(op: Op, span: FaultSpan, others: Iterable[FaultSpan]) -> bool:
    until = max(op.start, span.start)
    return any(
        other.start - _MARGIN_NS <= until and op.start <= other.end + _MARGIN_NS for other in others
    )
