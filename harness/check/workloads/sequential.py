"""Sequential: what one process wrote in order is seen in that order."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from harness.check._findings import Findings, brief, judge, told_op
from harness.check.verdict import Verdict
from harness.check.workloads._ops import READS, answered, missing
from harness.history import History, Op


@dataclass(frozen=True)
class Sequential:
    """The check that `sequential` makes."""

    name: str = "sequential"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        found = Findings("trailing-nil")
        counts = dict.fromkeys(("all", "some", "none"), 0)
        for op in answered(history.ops, READS):
            seen = _seen(op)
            if not seen:
                continue
            lacking = seen.count(None)
            counts["all" if not lacking else "some" if lacking < len(seen) else "none"] += 1
            first = next((place for place, one in enumerate(seen) if one is not None), len(seen))
            if None in seen[first:]:
                sentence = (
                    f"{told_op(op, f'read {brief(seen)}')}: later writes without earlier ones"
                )
                found.add("trailing-nil", sentence, op)
        unknown = None
        if not counts["all"] + counts["some"]:
            unknown = missing(
                "no read saw anything (expected: read of [key, [newest, …, oldest]], None where "
                "nothing was found)"
            )
        told = ", ".join(f"{number} saw {name}" for name, number in counts.items())
        return judge(
            self.name, began, found, ops=len(history), told=told, unknown=unknown, data=counts
        )


def sequential() -> Sequential:
    """Check that who sees a later write of a process sees the earlier ones afterwards.

    Ops: some process writes k1, k2 … kn one after the other; a `read` asks for kn … k2, k1 in turn
    and answers with what it found, as a list or as `[key, list]`, None where there was nothing.
    Anomaly: `trailing-nil`, a None after something that was found: a later write was visible
    and an earlier one, asked for afterwards, was not.

    Source: Jepsen's test of CockroachDB (`sequential`). `unknown`: no read saw anything. O(n).

    Example: read ["k", [None, "k-1", None]] is `invalid`.
    """
    return Sequential()


def _seen(op: Op) -> list[Any]:
    told = op.result
    if isinstance(told, list | tuple) and len(told) == 2 and isinstance(told[1], list | tuple):
        told = told[1]
    return list(told) if isinstance(told, list | tuple) else []
