"""Compare-and-sets that were refused: each saw that a value was not there, at some moment.

Without them the register is legal (see `registers`). A refused `cas [e, n]` is in trouble only if
nothing can keep it outside the time between the write of e and the next write. Three answers:

- illegal, if e was surely there all the time: someone saw it or wrote it before the op began, and
  someone saw it after the op ended; or someone did before, and no write can come between;
- legal, if an order of the blocks is found into which all refused ones fit. For a given order that
  is decided exactly: an observer may stand wherever real time lets it stand, but not in its own
  value's stretch; taking the first such place for each, in order of their starts, leaves the most
  room for those that must come later. The first order tried has every block as early as it can be.
  Where an op does not fit, its value is moved behind its start, or another write between the two,
  at random, and so on for some rounds (`_fitting`). Pending writes that nobody saw take part, as
  they may have replaced a value;
- None otherwise, for the search.

O(n log n) time a round.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.check.budget import Budget
from harness.check.monitors import _register_words as words
from harness.check.monitors._blocks import Chained, clash, disorder, zones
from harness.check.monitors._codes import Ints
from harness.check.monitors._fitting import Fit, Layout, Refused, with_writes
from harness.check.monitors._judgement import LEGAL, Judgement

_ROUNDS = 30


@dataclass
class Unseen:
    """The starts of pending ops whose values nobody saw. `useful` are those of writes that are sure
    to end the stretch of another value and to begin none that a refused op expected."""

    starts: Ints
    useful: Ints


def judge(
    refused: Refused,
    chained: Chained,
    slots: tuple[Ints, Ints],
    unseen: Unseen,
    tell: words.Teller,
    budget: Budget,
) -> Judgement | None:
    """Judge the refused ops of a register that is legal without them.

    `slots` are the last start and first end of each slot.
    """
    if not len(refused.groups):
        return LEGAL
    wrong = _surely_there(refused, chained, slots, unseen, tell)
    if wrong is not None:
        return wrong
    budget.demand()
    slots = _tightened(refused, chained, slots, budget)
    infinity = int(slots[1].max()) + 1
    if disorder(chained, *slots, infinity) or clash(chained, *slots):
        return None  # (illegal, but by a proof too long to be told)
    slots, chained = with_writes(slots, chained, unseen.useful)
    layout = Layout(chained, slots)
    for _ in range(_ROUNDS):
        budget.demand()
        fit = Fit(refused, layout.order(), slots)
        blocked = fit.blocked()
        budget.demand()
        if not blocked:
            blocked = fit.out_of_turn(budget)
        if not blocked:
            return LEGAL
        if not layout.make_room(refused, blocked):
            return None
    return None


def _surely_there(
    refused: Refused,
    chained: Chained,
    slots: tuple[Ints, Ints],
    unseen: Unseen,
    tell: words.Teller,
) -> Judgement | None:
    group = refused.groups
    after = _following(chained)[group]
    settled, held = _known(refused, after, slots)
    before = settled < refused.starts
    wrong = np.flatnonzero(before & (refused.ends < held))
    if len(wrong):
        at = wrong[0]
        return tell.still_there(int(refused.places[at]), int(settled[at]), int(held[at]))
    first, last = zones(chained, *slots)
    block_of = np.empty_like(chained.order)
    block_of[chained.order] = chained.block
    begins = slots[0][2 * chained.order[chained.heads]]
    by_end = np.argsort(first, kind="stable")
    ends, begins = first[by_end], begins[by_end]
    place_of = np.empty_like(by_end)
    place_of[by_end] = np.arange(len(by_end))
    infinity = np.iinfo(np.int64).max
    earliest = np.minimum.accumulate(np.append(begins, infinity)[::-1])[::-1]
    free = unseen.starts.min(initial=infinity)
    for at in np.flatnonzero(before & (after < 0)):
        own = block_of[group[at]]
        end, place = refused.ends[at], int(place_of[own])
        later = int(np.searchsorted(ends, last[own]))  # from here on, blocks that may follow
        beside = begins[later:place].min(initial=end)
        if earliest[max(later, place + 1)] > end and beside >= end and free > end:
            return tell.never_replaced(int(refused.places[at]), int(settled[at]))
    return None


def _following(chained: Chained) -> Ints:
    """The group that replaces each one within its block, or -1."""
    order, block = chained.order, chained.block
    following = np.full(len(order), -1)
    following[order[:-1]] = np.where(block[1:] == block[:-1], order[1:], -1)
    return following


def _known(refused: Refused, after: Ints, slots: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """For each refused op, when its value was there for certain, and until when it was seen."""
    last_start, first_end = slots
    group = refused.groups
    settled = np.minimum(first_end[2 * group], first_end[2 * group + 1])
    replaced = np.where(after >= 0, last_start[2 * after], -3)
    return settled, np.maximum(last_start[2 * group + 1], replaced)


def _tightened(
    refused: Refused, chained: Chained, slots: tuple[Ints, Ints], budget: Budget
) -> tuple[Ints, Ints]:
    """The slots with what the refused ops say of the writers, where there is only one way.

    If the value was there before such an op began, the compare-and-set that replaced it took effect
    before the op ended; if the value was seen after it, its writer did so after the op began.
    """
    last_start, first_end = slots[0].copy(), slots[1].copy()
    group = refused.groups
    after = _following(chained)[group]
    for _ in range(_ROUNDS):
        budget.demand()
        settled, held = _known(refused, after, (last_start, first_end))
        over = (settled < refused.starts) & (after >= 0)
        early = refused.ends < held
        ends, starts = first_end.sum(), last_start.sum()
        np.minimum.at(first_end, 2 * after[over], refused.ends[over])
        np.maximum.at(last_start, 2 * group[early], refused.starts[early])
        if first_end.sum() == ends and last_start.sum() == starts:
            break
    return last_start, first_end
