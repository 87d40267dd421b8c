"""A set that is read all the time: when did each element become visible, and was it ever lost?"""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from harness.check._findings import Findings, brief, judge, told_op
from harness.check._text import many, span
from harness.check.verdict import Verdict
from harness.check.workloads._elements import Element, elements_of, missed_by, shown_by, strange
from harness.check.workloads._ops import Moments, answered, at, by_key, collection, missing, moments
from harness.history import History, Op

QUANTILES = (0, 0.5, 0.95, 0.99, 1)


@dataclass(frozen=True)
class SetFull:
    """The check that `set_full` makes."""

    linearizable: bool

    @property
    def name(self) -> str:
        return "set-full(linearizable)" if self.linearizable else "set-full"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        when = moments(history)
        found = Findings("lost", "of-refused", "unexpected", "duplicated", "stale")
        tally = _Tally()
        for key, ops in by_key(op for op in history.ops if op.f in ("add", "read")).items():
            reads = [op for op in answered(ops, ("read",)) if collection(op.result) is not None]
            elements, refused = elements_of(ops, when)
            for read in reads:
                strange(read, elements, refused, key, found)
            shown_by(elements, reads, when)
            missed_by(elements, reads, when)
            for element in elements.values():
                self._judge(element, when, key, found, tally)
        unknown = None
        if not tally.stable:
            unknown = missing("no element was seen by the reads (expected: add, and read all)")
        if not history.realtime:
            unknown = missing("it is not known when the ops began")
        told = (
            f"{many(tally.attempted, 'element')}, {tally.stable} stable, {tally.stale} of them "
            f"stale for a while, {tally.never_read} never read"
        )
        return judge(
            self.name,
            began,
            found,
            ops=len(history),
            told=told,
            unknown=unknown,
            data=tally.data(),
        )

    def _judge(
        self, one: Element, when: Moments, key: Hashable, found: Findings, tally: _Tally
    ) -> None:
        known, present, absent = one.known, one.present, one.absent
        tally.attempted += 1
        stale = known is not None and absent is not None and when.before(known, absent)
        if present is not None and (absent is None or when.start(absent) < when.start(present)):
            tally.stable += 1
            tally.stable_s.append(_apart_s(known, absent) if stale else 0.0)
            tally.stale += stale
            if stale and self.linearizable and absent is not None and known is not None:
                sentence = (
                    f"{told_op(absent, 'read the set')}{at(key)} without {brief(one.value)}, "
                    "which was there before"
                )
                found.add("stale", sentence, known, absent)
        elif stale and known is not None and absent is not None:
            tally.lost_s.append(0.0 if present is None else _apart_s(known, present))
            did = "added" if known.f == "add" else "read"
            sentence = (
                f"{told_op(known, f'{did} {brief(one.value)}')}{at(key)}, and it is gone since "
                f"the read of process {absent.process} at {span(absent)}"
            )
            seen = [present] if present is not None and present is not known else []
            found.add("lost", sentence, known, *seen, absent)
        else:
            tally.never_read += 1


def set_full(*, linearizable: bool = False) -> SetFull:
    """Check that each element, once visible, stays so, and tell how long it took.

    Ops: `add` (value: the element) and `read` (answers with the list of all elements). An element
    is known from the end of its add, or of the first read that shows it, if that is earlier. It is
    stable if the read that began last of those which could show it does, lost if it is known, and
    a read that began afterwards misses it, and no later one shows it. A stable element is stale if
    a read that began when it was known misses it; with `linearizable`, that is wrong too. All else
    is never read.

    Anomalies: `lost`; `of-refused`, shown though every add of it certainly failed; `unexpected`,
    shown and never added; `duplicated`, twice in one read; `stale`. `data` has the quantiles 0,
    .5, .95, .99 and 1 of the seconds until elements were stable or lost.

    Source: Jepsen, `checker/set-full`, which ignores elements that nobody added. `unknown`: no
    element is stable and none lost, or the invocations are not recorded. O(n log n) in the sizes
    of all reads together.

    Example: add 1 ok, read [1], read [] is `invalid`, `lost`; read [] and then read [1] is `valid`
    with one stale element, and `invalid` with `linearizable=True`.
    """
    return SetFull(linearizable)


@dataclass
class _Tally:
    attempted: int = 0
    stable: int = 0
    stale: int = 0
    never_read: int = 0
    stable_s: list[float] = field(default_factory=list)
    lost_s: list[float] = field(default_factory=list)

    def data(self) -> dict[str, Any]:
        """The counts, and the quantiles of the times."""
        told: dict[str, Any] = {
            "attempted": self.attempted,
            "stable": self.stable,
            "stale_elements": self.stale,
            "never_read": self.never_read,
        }
        for name in ("stable_s", "lost_s"):
            values = sorted(getattr(self, name))
            if values:
                last = len(values) - 1
                told[name] = {
                    str(point): values[min(last, int(len(values) * point))] for point in QUANTILES
                }
        return told


def _apart_s(known: Op | None, read: Op | None) -> float:
    """Seconds from when the element was known to just after the read began."""
    if known is None or read is None or known.end is None:
        return 0.0
    return max(0, read.start + 1 - known.end) / 1e9
