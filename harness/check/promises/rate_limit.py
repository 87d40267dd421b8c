"""Rate limits: never more admitted than allowed, wherever within their ops the admissions lay."""

from __future__ import annotations

import math
import time
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from harness.check._arguments import number, whole, word
from harness.check._findings import Findings, judge, told_op
from harness.check._text import clock, many
from harness.check.budget import TIMEOUT_S, Budget, OverBudgetError, limits
from harness.check.promises._placements import Span, fixed, sliding
from harness.check.verdict import Verdict
from harness.history import MISMATCH, History, Op
from harness.units import Duration, to_seconds

Window: TypeAlias = Literal["sliding", "fixed"]


@dataclass(frozen=True)
class RateLimit:
    """The check that `rate_limit` makes."""

    limit: int
    per_s: float
    error: float
    window: Window
    offset_s: float | None
    at_least: float | None
    f: str
    timeout_s: float
    memory: int

    @property
    def name(self) -> str:
        error = f", error={self.error:g}" if self.error else ""
        fixed = ", fixed" if self.window == "fixed" else ""
        return f"rate_limit({self.limit}/{self.per_s:g}s{error}{fixed})"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        budget = Budget(self.timeout_s, self.memory)
        found = Findings("over-admitted", "over-refused")
        counts = {"admitted": 0, "refused": 0, "needlessly_refused": 0, "most": 0}
        unknown = None
        try:
            for key, ops in History([op for op in history.ops if op.f == self.f]).by_key().items():
                self._judge(key, ops, found, counts, budget)
        except OverBudgetError as error:
            unknown = f"Undecided after {budget.told(error.limit)}."
        if not counts["admitted"]:
            unknown = f"Nothing was tested: no {self.f!r} was admitted."
        elif not counts["refused"] and counts["most"] < self.limit:
            unknown = unknown or (
                f"Nothing was tested: no {self.f!r} was refused, and no window can have held more "
                f"than {many(counts['most'], 'admission')}."
            )
        told = (
            f"{counts['admitted']} admitted, {counts['refused']} refused, "
            f"{counts['needlessly_refused']} of them needlessly"
        )
        return judge(
            self.name, began, found, ops=len(history), told=told, unknown=unknown, data=counts
        )

    def _judge(
        self,
        key: Hashable,
        ops: Sequence[Op],
        found: Findings,
        counts: dict[str, int],
        budget: Budget,
    ) -> None:
        admitted = [op for op in ops if op.outcome == "ok"]
        refused = [op for op in ops if op.outcome == "fail" and op.error == MISMATCH]
        counts["admitted"] += len(admitted)
        counts["refused"] += len(refused)
        self._refusals(key, ops, refused, found, counts)
        per = round(self.per_s * 1e9)
        allowed = math.floor(self.limit * (1 + self.error) + 1e-9)
        spans = [Span(op.start, _end(op), place) for place, op in enumerate(admitted)]
        if self.window == "sliding":
            wrong = sliding(spans, per, allowed, budget)
        else:
            offset = None if self.offset_s is None else round(self.offset_s * 1e9)
            wrong = fixed(spans, per, allowed, offset, budget)
        if wrong is not None:
            involved = sorted((admitted[place] for place in wrong), key=lambda op: op.start)
            last = max(map(_end, involved))
            sentence = (
                f"{len(involved)} ops{_of(key)} were admitted from {clock(involved[0].start)} to "
                f"{clock(last)} s: wherever within them the admissions lay, some window of "
                f"{self.per_s:g} s holds more than {allowed}"
            )
            found.add("over-admitted", sentence, *involved[:1], *involved[-2:])

    def _refusals(
        self,
        key: Hashable,
        ops: Sequence[Op],
        refused: Sequence[Op],
        found: Findings,
        counts: dict[str, int],
    ) -> None:
        """Refusals before which the window cannot have held so many admissions."""
        share = 1.0 if self.at_least is None else self.at_least
        maybe = [op for op in ops if op.outcome != "fail"]
        starts = sorted(op.start for op in maybe)
        ends = sorted(_end(op) for op in maybe if op.outcome == "ok")
        per = round(self.per_s * 1e9)

        def held(op: Op) -> int:
            """How many admissions a window that ends within the op can have held."""
            return bisect_right(starts, _end(op)) - bisect_left(ends, op.start - per)

        for op in maybe:
            counts["most"] = max(counts["most"], held(op))
        for op in refused:
            if held(op) < share * self.limit:
                counts["needlessly_refused"] += 1
                if self.at_least is not None:
                    what = told_op(op, f"was refused{_of(key)}")
                    sentence = (
                        f"{what}, when the last {self.per_s:g} s held "
                        f"{many(held(op), 'admission')} at most"
                    )
                    found.add("over-refused", sentence, op)


def rate_limit(
    limit: int,
    *,
    per: Duration,
    error: float = 0.0,
    window: Window = "sliding",
    offset: Duration | None = None,
    at_least: float | None = None,
    f: str = "request",
    timeout: Duration = TIMEOUT_S,
    memory: int | None = None,
) -> RateLimit:
    """Check that no window of length `per` holds more than `limit` admissions, for each key.

    Ops: those called `f`, with the key that the limit is for. `ok` was admitted; `fail` with the
    error "mismatch" was refused, which counts as an answer; other failures say nothing, and ops of
    unknown outcome are held against nobody. An admission took place at some moment between the
    start and the end of its op. Only if no choice of these moments keeps to the limit is it broken
    (`over-admitted`), which is decided exactly. `error` is the share by which an approximate
    limiter may exceed it.

    `window="sliding"` looks at every `[t, t + per)`; "fixed" at windows that follow each other from
    `offset` on (on the run's clock), at whatever phase suits best if that is not given. A refusal
    is needless if fewer than `limit` admissions can have been in the window before it; these are
    counted, and with `at_least`, a share of the limit, refusals with fewer than that before them
    are wrong (`over-refused`).

    `unknown`: nothing was admitted; nothing was refused and no window can have been full; or a
    limit of time or memory was passed. Usually O(n log n), see `_placements`; fixed windows
    without an offset O(n² log n). Raises `UsageError` for wrong arguments.

    Example: two ops of 10 ms each, both admitted within 100 ms, under `rate_limit(1, per=1)`, and
    a third refused: `invalid`.
    """
    return RateLimit(
        whole(limit, "limit"),
        to_seconds(per, "per"),
        number(error, "error", least=0),
        window if word(window, "window", ("sliding", "fixed")) else "sliding",
        None if offset is None else to_seconds(offset, "offset", allow_zero=True),
        None if at_least is None else number(at_least, "at_least", least=0, most=1),
        word(f, "f"),
        *limits(timeout, memory),
    )


def _end(op: Op) -> int:
    return op.start if op.end is None else op.end


def _of(key: Hashable) -> str:
    return "" if key is None else f" for {key!r}"
