"""Deep stacks, one element at a time (see `stacks` for what is removed and why).

A connected stretch of elements shrinks from both ends: its first end of a push only grows, its last
start of a pop only falls. So an element becomes fit to lie at the bottom, on either side, once and
for all, and a heap for each side gives the next one. When a stretch splits, the smaller parts get
heaps of their own and the largest keeps the old ones, whose strangers are skipped: O(n log n).
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop
from itertools import pairwise

import numpy as np

from harness.check.budget import Budget
from harness.check.monitors._codes import Ints
from harness.check.monitors._cover import Cover
from harness.check.monitors._elements import Elements

_ROUNDS_BETWEEN_LOOKS = 500


@dataclass(slots=True)
class _Stretch:
    """Elements `first` up to `beyond` in order of the ends of their pushes, some removed by now;
    `last` and down in order of the starts of their pops. The heaps hold the earliest starts of
    pushes and the latest ends of pops, each as a rank."""

    first: int
    beyond: int
    last: int
    count: int
    pushes: list[int]
    pops: list[int]


def unnested(elements: Elements, budget: Budget) -> Ints | None:
    """None if all elements can be removed from the outside in; else those of a stuck stretch.

    The elements come in order of the ends of their pushes, and none can be popped at once.
    """
    return _Nest(elements, budget).run(budget)


class _Nest:
    def __init__(self, elements: Elements, budget: Budget) -> None:
        count = len(elements.puts)
        by_push = np.argsort(elements.put_start)
        by_pop = np.argsort(-elements.take_end, kind="stable")
        by_last = np.argsort(elements.take_start, kind="stable")
        budget.demand()
        self.push_start: list[int] = elements.put_start.tolist()
        self.push_end: list[int] = elements.put_end.tolist()
        budget.demand()
        self.pop_start: list[int] = elements.take_start.tolist()
        self.pop_end: list[int] = elements.take_end.tolist()
        budget.demand()
        self.of_push: list[int] = by_push.tolist()
        self.of_pop: list[int] = by_pop.tolist()
        self.of_last: list[int] = by_last.tolist()
        budget.demand()
        self.push_rank: list[int] = _ranks(by_push)
        self.pop_rank: list[int] = _ranks(by_pop)
        budget.demand()
        # How many of the starts of pops lie before the end of each push, and of the ends of pushes
        # before each start of a pop.
        starts = elements.take_start[by_last]
        self.lasts: list[int] = np.searchsorted(starts, elements.put_end).tolist()
        reach = np.searchsorted(elements.put_end, elements.take_start)
        self.reach: list[int] = reach.tolist()
        budget.demand()
        self.removed = bytearray(count)
        self.fit = bytearray(count)
        self.cover = Cover(reach, count)

    def run(self, budget: Budget) -> Ints | None:
        count = len(self.removed)
        whole = _Stretch(0, count, count - 1, count, [], [])
        self._renew(whole)
        budget.demand()
        todo = self._split(whole, self.cover.open())
        rounds = 0
        while todo:
            stretch = todo.pop()
            while stretch.count:
                rounds += 1
                if rounds % _ROUNDS_BETWEEN_LOOKS == 0:
                    budget.demand()
                bottom = self._bottom(stretch)
                if not bottom:
                    left = range(stretch.first, stretch.beyond)
                    return np.array([e for e in left if not self.removed[e]], dtype=np.int64)
                gaps: list[int] = []
                for element in bottom:
                    self.removed[element] = 1
                    gaps += self.cover.lift(element + 1, self.reach[element])
                stretch.count -= len(bottom)
                if gaps and stretch.count:
                    todo += self._split(stretch, gaps)
                    break
        return None

    def _bottom(self, stretch: _Stretch) -> list[int]:
        """The elements that may lie at the bottom now."""
        removed, fit = self.removed, self.fit
        while removed[stretch.first]:
            stretch.first += 1
        while removed[self.of_last[stretch.last]]:
            stretch.last -= 1
        first_end = self.push_end[stretch.first]
        last_start = self.pop_start[self.of_last[stretch.last]]
        bottom = []
        pushes, pops = stretch.pushes, stretch.pops
        while pushes:
            element = self.of_push[pushes[0]]
            mine = stretch.first <= element < stretch.beyond
            if mine and self.push_start[element] >= first_end:
                break
            heappop(pushes)
            if mine and not removed[element]:
                fit[element] += 1
                if fit[element] == 2:
                    bottom.append(element)
        while pops:
            element = self.of_pop[pops[0]]
            mine = stretch.first <= element < stretch.beyond
            if mine and self.pop_end[element] <= last_start:
                break
            heappop(pops)
            if mine and not removed[element]:
                fit[element] += 1
                if fit[element] == 2:
                    bottom.append(element)
        return bottom

    def _split(self, stretch: _Stretch, gaps: list[int]) -> list[_Stretch]:
        """The parts of a stretch between gaps; gap i is before the i-th element."""
        bounds = [stretch.first, *sorted(g for g in gaps if g > stretch.first), stretch.beyond]
        parts = []
        for first, beyond in pairwise(bounds):
            last = stretch.last if beyond == stretch.beyond else self.lasts[beyond] - 1
            parts.append(_Stretch(first, beyond, last, 0, [], []))
        parts.sort(key=lambda part: part.beyond - part.first)
        largest = parts.pop()
        others = 0
        for part in parts:
            self._renew(part)
            others += part.count
        largest.count = stretch.count - others
        largest.pushes, largest.pops = stretch.pushes, stretch.pops
        return [part for part in (*parts, largest) if part.count]

    def _renew(self, stretch: _Stretch) -> None:
        # What is fit on one side has left the heap of that side. It may come back here: it is fit
        # for as long as it stays, so it must not count twice.
        here = [e for e in range(stretch.first, stretch.beyond) if not self.removed[e]]
        for element in here:
            self.fit[element] = 0
        stretch.count = len(here)
        stretch.pushes = [self.push_rank[e] for e in here]
        stretch.pops = [self.pop_rank[e] for e in here]
        heapify(stretch.pushes)
        heapify(stretch.pops)


def _ranks(order: Ints) -> list[int]:
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    found: list[int] = ranks.tolist()
    return found
