"""The check of topics: what is published anywhere is read on every node, once and in order.

A node answers `deliver` with all it was ever given of a topic. So its last answer tells everything,
and each earlier one must be how that begins: what was read once never changes.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from dataclasses import dataclass

from harness.check import Verdict, delivery
from harness.history import History, Op
from targets.cluster.tenures import end_of

DELIVER = "deliver"
REWRITTEN = "rewritten"


@dataclass(frozen=True)
class Everywhere:
    """The check that `everywhere` makes."""

    name: str = "everywhere"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        reads: dict[tuple[str, str], list[Op]] = {}
        for op in history.ops:
            if op.f == DELIVER and op.outcome == "ok":
                reads.setdefault((op.key, op.value), []).append(op)
        last: set[int] = set()
        for (topic, node), ops in reads.items():
            ops.sort(key=end_of)
            last.add(ops[-1].index)
            for one, later in itertools.pairwise(ops):
                if one.end is not None and one.end > later.start:
                    continue  # at the same time: either may have been the first
                if later.result[: len(one.result)] != one.result:
                    text = f"{node} first read topic {topic} one way, and then another way."
                    return Verdict(self.name, "invalid", text, anomaly=REWRITTEN, ops=len(ops))
        kept = [op for op in history.ops if op.f != DELIVER or op.index in last]
        verdict = delivery()(dataclasses.replace(history, ops=kept))
        seconds = time.monotonic() - began
        return dataclasses.replace(verdict, check=self.name, seconds=seconds)


def everywhere() -> Everywhere:
    """Check that every acknowledged message reached every node once, in the order of its publisher,
    and that no node's topic was ever rewritten.

    Ops: `publish` (topic, message) and `deliver` (topic, the node's name), which answers with the
    whole topic. What is judged, and the anomalies, are those of `delivery` and `rewritten`. Nodes
    that are killed forget their topics: not for those.
    """
    return Everywhere()
