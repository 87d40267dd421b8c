"""Placing each admission at one moment of its op, so that no window holds more than the limit."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.check.budget import Budget

_LOOK = 512  # placements between two looks at the budget


class Span(NamedTuple):
    """An admission that took place from `start` to `end` (ns), both included; `place` is its place
    in the caller's list."""

    start: int
    end: int
    place: int


def sliding(spans: Sequence[Span], window: int, limit: int, budget: Budget) -> list[int] | None:
    """The places of some admissions that cannot all be right, or None if all can be: if there are
    moments for all of them such that no `[t, t + window)` holds more than `limit`.

    This is scheduling jobs of equal length on `limit` machines: an admission occupies one from its
    moment on for the length of the window. Decided exactly by the barriers algorithm of Simons,
    "Multiprocessor scheduling of unit-time jobs with arbitrary release times and deadlines" (SIAM
    J. Comput. 12, 1983): the one with the earliest end goes first. Where one comes too late, the
    last before it that could have waited must wait until those which could not have begun.

    O(n log n) if nobody has to wait, and then more by what is placed again, at most O(n) times for
    each. Raises `OverBudgetError`.
    """
    line = _Line(spans, window, limit)
    steps = 0
    while line.waiting:
        late = line.place_next()
        steps += 1
        if steps % _LOOK == 0:
            budget.demand()
        if late is not None:
            patient = line.patient(late)
            if patient is None:
                return [span.place for span in (*line.chosen[-limit:], late)]
            line.hold_back(patient, late)
    return None


def fixed(
    spans: Sequence[Span], window: int, limit: int, offset: int | None, budget: Budget
) -> list[int] | None:
    """The same for windows that follow each other from `offset` on; where that is None, they may
    begin at any moment, and every phase that makes a difference is tried.

    By earliest end within each window: O(n log n), for each phase. Raises `OverBudgetError`.
    """
    if offset is not None:
        return _fill(spans, window, limit, offset)
    phases = sorted({moment % window for span in spans for moment in (span.start, span.end)})
    wrong: list[int] | None = None
    for phase in phases:
        budget.demand()
        wrong = _fill(spans, window, limit, phase)
        if wrong is None:
            return None
    return wrong


@dataclass
class _Line:
    """The admissions in the order in which they take place, as far as they are placed."""

    chosen: list[Span]
    moments: list[int]

    def __init__(self, spans: Sequence[Span], window: int, limit: int) -> None:
        self.chosen, self.moments = [], []
        self._window, self._limit = window, limit
        self._coming = sorted(spans)
        heapq.heapify(self._coming)
        self._ready: list[tuple[int, int, int]] = []
        self._barriers: dict[int, int] = {}  # rank: not before this moment

    @property
    def waiting(self) -> bool:
        """Whether there is one that is not placed yet."""
        return bool(self._ready or self._coming)

    def place_next(self) -> Span | None:
        """Place one more. Returns it if it comes too late."""
        rank = len(self.chosen)
        moment = self._barriers.get(rank, 0)
        if rank:
            moment = max(moment, self.moments[-1])
        if rank >= self._limit:
            moment = max(moment, self.moments[rank - self._limit] + self._window)
        if not self._ready:
            moment = max(moment, self._coming[0].start)
        while self._coming and self._coming[0].start <= moment:
            start, end, place = heapq.heappop(self._coming)
            heapq.heappush(self._ready, (end, start, place))
        end, start, place = heapq.heappop(self._ready)
        span = Span(start, end, place)
        if moment > end:
            return span
        self.chosen.append(span)
        self.moments.append(moment)
        return None

    def patient(self, late: Span) -> int | None:
        """The rank of the last one that might have waited longer than `late`."""
        for rank in range(len(self.chosen) - 1, -1, -1):
            if self.chosen[rank].end > late.end:
                return rank
        return None

    def hold_back(self, rank: int, late: Span) -> None:
        """Take back all from `rank` on, and let that rank wait for those that could not."""
        # (They were still to come when that rank was placed, so this is later than it was.)
        self._barriers[rank] = min(span.start for span in (*self.chosen[rank + 1 :], late))
        back = [*self.chosen[rank:], late, *(Span(s, e, place) for e, s, place in self._ready)]
        for span in back:
            heapq.heappush(self._coming, span)
        self._ready = []
        del self.chosen[rank:]
        del self.moments[rank:]


def _fill(spans: Sequence[Span], window: int, limit: int, offset: int) -> list[int] | None:
    coming = sorted(
        ((start - offset) // window, (end - offset) // window, place) for start, end, place in spans
    )
    ready: list[tuple[int, int]] = []
    number, following = 0, 0
    while ready or following < len(coming):
        number = number + 1 if ready else coming[following][0]
        while following < len(coming) and coming[following][0] <= number:
            _first, last, place = coming[following]
            heapq.heappush(ready, (last, place))
            following += 1
        placed = [heapq.heappop(ready)[1] for _round in range(min(limit, len(ready)))]
        if ready and ready[0][0] <= number:
            return [*placed, ready[0][1]]
    return None
