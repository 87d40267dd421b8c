"""Stacks whose elements went in only once: taken apart from the outside in.

In the manner of Z. H. Lee and U. Mathur, "Efficient decrease-and-conquer linearizability
monitoring" (OOPSLA 2025): find elements whose removal leaves the answer as it is, until none is
left or none can be removed. The argument for these steps:

1. An element whose push and pop overlap may be pushed and popped in one moment: remove it. All
   others are *surely inside* for a while, from the end of the push to the start of the pop.
2. A gap in which no element is surely inside splits the others: each has either begun both its ops
   before it, or ended none. If there is a legal order of all, its two halves one after the other
   are legal, too, and the stack is empty in the gap. So each connected stretch of "surely inside"
   is judged for itself, and pops that found nothing only need such a gap.
3. In a connected stretch the stack is never empty in between, so one element lies at the bottom all
   the time: its push began before any other op ended, and its pop ended after every other op had
   begun. If no element is like that, no order is legal. Any one that is can be removed: around a
   legal order of the others it makes one of all.

Elements that nobody popped count as popped after everything. Each round of `_peeled` removes all
such elements at once, in arrays; when rounds get little done (deep stacks), `_nesting` goes on one
element at a time. O(n log n), but for the sums over stretches in `_nesting`.

Pops without an answer may have taken elements that nobody else did. That is decided if it makes no
difference, or if a plausible assignment works; else the answer is None.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from harness.check.budget import Budget
from harness.check.monitors._codes import Ints
from harness.check.monitors._due import due
from harness.check.monitors._elements import Elements, false_empty, gather
from harness.check.monitors._judgement import LEGAL, Judgement, illegal, told
from harness.check.monitors._nesting import unnested
from harness.history import Op

_MIN_SHARE = 20  # rounds over everything go on while they remove one in so many elements
_MAX_PAIRS = 2000  # elements among which a pair is looked for that proves the point


def judge(ops: Sequence[Op], initial: Any, budget: Budget) -> Judgement | None:
    """Judge the ops of one stack; None if an element went in twice, or pending pops matter."""
    elements = gather(ops, initial, budget, put="push", take="pop")
    if not isinstance(elements, Elements):
        return elements
    budget.demand()
    left = np.flatnonzero(elements.takes < 0)
    if not len(elements.spare) or not len(left):
        return _judged(elements, budget)
    if _judged(elements, budget).legal:
        return LEGAL
    starts = elements.starts[elements.spare]
    for taken in _guesses(elements, left, starts, budget):
        guess = elements.only(np.arange(len(elements.takes)))
        guess.take_start[left] = taken
        if _judged(guess, budget).legal:
            return LEGAL
    # Even if all could be popped by the earliest of these pops?
    elements.take_start[left] = starts[0]
    wrong = _judged(elements, budget)
    return None if wrong.legal else wrong


def _judged(elements: Elements, budget: Budget) -> Judgement:
    """The judgement when every pop is known."""
    wrong = false_empty(elements)
    if wrong is not None:
        return wrong
    budget.demand()
    others = np.flatnonzero(elements.put_end < elements.take_start)
    others = others[np.argsort(elements.put_end[others])]
    while len(others):
        budget.demand()
        kept, stuck = _peeled(elements, others)
        if stuck is not None:
            return _stuck(elements, stuck)
        slow = _MIN_SHARE * (len(others) - len(kept)) < len(others)
        others = kept
        if slow:
            stuck = unnested(elements.only(others), budget)
            return LEGAL if stuck is None else _stuck(elements, others[stuck])
    return LEGAL


def _peeled(elements: Elements, others: Ints) -> tuple[Ints, Ints | None]:
    """Without those that may lie at the bottom of their stretch; or a stretch that has none.

    `others` are elements in order of the ends of their pushes.
    """
    begins = elements.put_end[others]
    reach = np.maximum.accumulate(elements.take_start[others])
    heads = np.flatnonzero(np.append(True, begins[1:] > reach[:-1]))
    tails = np.append(heads[1:], len(others))
    sizes = tails - heads
    first_end, last_start = np.repeat(begins[heads], sizes), np.repeat(reach[tails - 1], sizes)
    lowest = (elements.put_start[others] < first_end) & (elements.take_end[others] > last_start)
    found = np.logical_or.reduceat(lowest, heads)
    if not found.all():
        stretch = int(np.argmin(found))
        return others, others[heads[stretch] : tails[stretch]]
    return others[~lowest], None


def _guesses(elements: Elements, left: Ints, starts: Ints, budget: Budget) -> Iterator[Ints]:
    """Plausible starts of pops for the elements that nobody is known to have popped.

    An element must be out before one below it is popped, and before a pop that found nothing ends.
    """
    moments = due(elements, left, budget)
    urgent = np.argsort(moments, kind="stable")
    urgent = urgent[moments[urgent] < elements.infinity][: len(starts)]
    taken = np.full(len(left), elements.infinity)
    taken[urgent] = starts[: len(urgent)]
    yield taken
    taken = np.full(len(left), elements.infinity)
    free = starts.tolist()
    for number in urgent:
        place = bisect_left(free, int(moments[number])) - 1
        if place >= 0:
            taken[number] = free.pop(place)
    yield taken


def _stuck(elements: Elements, stretch: Ints) -> Judgement:
    """Why no element of a connected stretch can lie at its bottom."""
    pair = _crossed(elements, stretch[:_MAX_PAIRS])
    if pair is not None:
        below, above = pair
        pop = elements.op(elements.takes, below)
        assert pop is not None
        sentence = (
            f"{told(pop)}, but {elements.inside(above)} had been put on top of {pop.result!r} and "
            "was still there."
        )
        ops = [elements.op(of, one) for one in pair for of in (elements.puts, elements.takes)]
        return illegal("out-of-order", sentence, ops)
    first = int(stretch[np.argmin(elements.put_end[stretch])])
    last = int(stretch[np.argmax(elements.take_start[stretch])])
    put, take = elements.op(elements.puts, first), elements.op(elements.takes, last)
    since = "from the beginning" if put is None else f"since {told(put)}"
    until = "to the end" if take is None else f"until {told(take)}"
    sentence = (
        f"The stack was never empty {since} {until}, but no element can have been at its bottom "
        "all that time: none was put there first and taken last."
    )
    return illegal("order-cycle", sentence, [put, take])


def _crossed(elements: Elements, stretch: Ints) -> tuple[int, int] | None:
    """Two elements of which one was certainly put on the other, and the other taken from below."""
    put_start, put_end = elements.put_start[stretch], elements.put_end[stretch]
    take_start, take_end = elements.take_start[stretch], elements.take_end[stretch]
    for number in range(len(stretch)):
        above = put_end[number] < put_start
        above &= (put_end < take_start[number]) & (take_end[number] < take_start)
        if above.any():
            return int(stretch[number]), int(stretch[np.argmax(above)])
    return None
