"""By when elements that nobody is known to have popped must be out of a stack."""

from __future__ import annotations

import numpy as np

from harness.check.budget import Budget
from harness.check.monitors._codes import Ints
from harness.check.monitors._elements import Elements


def due(elements: Elements, left: Ints, budget: Budget) -> Ints:
    """For each of `left`, the moment before which it is out for certain, or infinity.

    That is the first end of a pop of an element below it, or of a pop that found nothing. One is
    below if its push had ended before that of the other began, and its pop began after that one had
    ended. A sweep in the order of the pushes with a Fenwick tree over the starts of the pops:
    O(n log n).
    """
    taken = np.flatnonzero(elements.takes >= 0)
    taken = taken[np.argsort(elements.put_end[taken])]
    starts = np.sort(elements.take_start[taken])
    count = len(taken)
    # The latest start is the first in the tree, so that "all later starts" are a beginning of it.
    ranks = (count - np.searchsorted(starts, elements.take_start[taken])).tolist()
    asked = left[np.argsort(elements.put_start[left])]
    later = (count - np.searchsorted(starts, elements.put_end[asked], "right")).tolist()
    put_ends, take_ends = elements.put_end[taken].tolist(), elements.take_end[taken].tolist()
    least = [elements.infinity] * (count + 1)
    found: list[int] = []
    entered = 0
    for put_start, place in zip(elements.put_start[asked].tolist(), later, strict=True):
        budget.worked(20)
        while entered < count and put_ends[entered] < put_start:
            budget.worked(5)
            _enter(least, ranks[entered], take_ends[entered])
            entered += 1
        found.append(_least(least, place))
    moments = np.full(len(elements.takes), elements.infinity)
    moments[asked] = found
    out: Ints = np.minimum(moments[left], _found_empty(elements, elements.put_end[left]))
    return out


def _enter(least: list[int], rank: int, end: int) -> None:
    while rank < len(least):
        if end < least[rank]:
            least[rank] = end
        rank += rank & -rank


def _least(least: list[int], place: int) -> int:
    found = least[0]
    while place:
        if least[place] < found:
            found = least[place]
        place &= place - 1
    return found


def _found_empty(elements: Elements, moments: Ints) -> Ints:
    """The first end of a pop that found nothing and began after each moment."""
    starts, ends = elements.starts[elements.empties], elements.ends[elements.empties]
    order = np.argsort(starts)
    soonest = np.minimum.accumulate(np.append(ends[order], elements.infinity)[::-1])[::-1]
    found: Ints = soonest[np.searchsorted(starts[order], moments, "right")]
    return found
