"""Queues whose elements went in only once.

Sources: T. Henzinger, A. Sezgin, V. Vafeiadis, "Aspect-oriented linearizability proofs" (CONCUR
2013), section 3; A. Bouajjani, M. Emmi, C. Enea, J. Hamza, "On reducing linearizability to state
reachability" (ICALP 2015), section 5. Ops that all have an outcome are legal iff none of these is
there: an element that came from nowhere, twice, or before it went in; a dequeue that found nothing
while something was surely inside at each of its moments; and, if the queue keeps its order, two
elements of which one went in before the other, and came out after it or never.

Pending enqueues are ops with an open end if their element was dequeued. Pending dequeues may each
have taken one of the elements that nobody else took. Give the earliest of these dequeues to the
element whose enqueue ended first, and so on: an element that was in earlier must be out earlier in
either pattern (the elements that must not overtake it are more, and it covers more), so every other
choice can be exchanged for this one. O(n log n).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.check.budget import Budget
from harness.check.monitors._elements import Elements, false_empty, gather
from harness.check.monitors._judgement import LEGAL, Judgement, illegal, told
from harness.history import Op


def judge(ops: Sequence[Op], initial: Any, budget: Budget, *, ordered: bool) -> Judgement | None:
    """Judge the ops of one queue, or None if an element went in twice. `ordered`: first in, first
    out."""
    elements = gather(ops, initial, budget, put="enqueue", take="dequeue")
    if not isinstance(elements, Elements):
        return elements
    budget.demand()
    _give_spare(elements)
    wrong = _overtaken(elements, budget) if ordered else None
    budget.demand()
    return wrong or false_empty(elements) or LEGAL


def _give_spare(elements: Elements) -> None:
    """Let pending dequeues take the elements that nobody else took, the earliest first."""
    left = np.flatnonzero(elements.takes < 0)
    left = left[np.argsort(elements.put_end[left])][: len(elements.spare)]
    spare = elements.spare[: len(left)]
    elements.takes[left] = spare
    elements.take_start[left] = elements.starts[spare]


def _overtaken(elements: Elements, budget: Budget) -> Judgement | None:
    """An element that went in before another and came out after it, or never."""
    by_end = np.argsort(elements.put_end)
    budget.demand()
    slowest = np.maximum.accumulate(elements.take_start[by_end])
    budget.demand()
    before = np.searchsorted(elements.put_end[by_end], elements.put_start)
    late = np.where(before > 0, slowest[before - 1], -1)
    wrong = np.flatnonzero(late > elements.take_end)
    if not len(wrong):
        return None
    second = int(wrong[0])
    earlier = by_end[: before[second]]
    first = int(earlier[elements.take_start[earlier] == late[second]][0])
    takes, puts = elements.takes, elements.puts
    ops = [elements.op(places, which) for which in (first, second) for places in (puts, takes)]
    overtaking, missing = ops[3], ops[1] is None
    assert overtaking is not None
    fate = "was never taken" if missing else "was only taken after that"
    sentence = (
        f"{told(overtaking)}, but {elements.inside(first)} had been put there before "
        f"{overtaking.result!r} and {fate}."
    )
    return illegal("lost" if missing else "out-of-order", sentence, ops)
