"""Registers whose values were written once: Gibbons and Korach's zones, and compare-and-set.

Source: P. Gibbons, E. Korach, "Testing shared memories", SIAM J. Comput. 26 (1997), section 4, for
reads and writes. Of an op we know the value that it saw and the one that it left, and so the write
whose value it saw. That gives, in this order:

1. **What happened.** An op without an answer whose value nobody saw is left out: if an order holds
   it, that order without it is legal as well, since what follows it is a write (a compare-and-set
   that expects its value would be a witness). One whose value was seen did happen, and a
   compare-and-set that happened saw its expected value, and so on. It keeps its open end.
2. **Blocks.** The write of a value and all who saw it stand together in every legal order, as
   nothing can bring the value back. A compare-and-set is the last that saw its expected value and
   the first of its new one, so it ties both groups into one block, with a fixed order of groups
   inside: chains, as no two can replace the same value. What the register held at first is a group
   whose write ended before everything.
3. **Within a block** the order is legal iff no op of an earlier slot (write, its readers, the
   compare-and-set that replaced it, its readers, …) began after one of a later slot had ended.
4. **Between blocks**, A must come before B iff an op of A ended before one of B began: iff
   `first_end(A) < last_start(B)`. If there is a cycle, there is one of two blocks: in a shortest
   cycle A → B → C → … with more than two, A → C does not hold, so
   `first_end(B) < last_start(C) <= first_end(A)`; the first ends would fall all the way round. Two
   blocks precede each other iff both zones [first_end, last_start] are forward and overlap, or one
   is forward and holds the other, backward one. Otherwise blocks in any such order are a legal
   order of the ops.

Refused compare-and-sets are looked at last (`refusals`). O(n log n) time, O(n) memory, in arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.check.budget import Budget
from harness.check.monitors import _register_words as words
from harness.check.monitors import refusals
from harness.check.monitors._blocks import chain, clash, disorder
from harness.check.monitors._codes import Codes, Ints, array, pieces, times
from harness.check.monitors._fitting import Refused
from harness.check.monitors._judgement import LEGAL, Judgement
from harness.history import MISMATCH, Op, hashable

_NONE = -1
_INITIAL = 0  # the number of the initial value, and of its group


@dataclass
class Rows:
    """What the ops saw and left, as numbers of values (-1: nothing); `ends` of pending ops lie
    behind everything. `places` are those in the sequence of ops."""

    sees: Ints
    leaves: Ints
    starts: Ints
    ends: Ints
    places: Ints

    def only(self, kept: NDArray[np.bool_]) -> Rows:
        """The rows that are kept."""
        columns = (self.sees, self.leaves, self.starts, self.ends, self.places)
        return Rows(*(column[kept] for column in columns))


def judge(
    ops: Sequence[Op], initial: Any, budget: Budget, *, compares: bool, mismatches: bool
) -> Judgement | None:
    """Judge the ops of one register, or None if values are ambiguous."""
    codes = Codes()
    codes[hashable(initial)] = _INITIAL
    gathered = _gather(ops, initial, codes, budget, compares, mismatches)
    if gathered is None:
        return None
    sees, leaves, places, refused = gathered
    starts, ends, infinity = times(ops, budget)
    rows = Rows(sees, leaves, starts[places], ends[places], places)
    budget.demand()
    pending = rows.ends == infinity
    happened, seen = _happened(rows, pending, len(codes))
    left = np.bincount(rows.leaves[rows.leaves != _NONE], minlength=len(codes))
    left[_INITIAL] += 1
    if np.any(left[seen] > 1):
        return None
    budget.demand()
    every = rows
    rows = rows.only(happened)
    writers = np.flatnonzero(rows.leaves != _NONE)
    # Group 0 is the initial value's; the others are numbered like their writers, from 1.
    group_of = np.full(len(codes), _NONE)
    group_of[rows.leaves[writers]] = np.arange(1, len(writers) + 1)
    if left[_INITIAL] == 1:
        group_of[_INITIAL] = 0
    group_seen = np.where(rows.sees == _NONE, _NONE, group_of[rows.sees])
    unwritten = np.flatnonzero((rows.sees != _NONE) & (group_seen == _NONE))
    if len(unwritten):
        return words.unwritten(ops, int(rows.places[unwritten[0]]))
    budget.demand()
    parents = np.concatenate(([_NONE], group_seen[writers]))
    replaced = np.sort(parents[parents != _NONE])
    twice = replaced[1:][replaced[1:] == replaced[:-1]]
    tell = words.Teller(ops, rows.places, rows.starts, rows.ends, writers, group_seen)
    if len(twice):
        return tell.replaced_twice(int(twice[0]))
    chained = chain(parents)
    if chained.looped is not None:
        return tell.looped(chained.looped)
    budget.demand()
    slots = _slots(rows, writers, group_seen, infinity)
    broken = disorder(chained, *slots, infinity)
    if broken is not None:
        return tell.disorder(*broken)
    budget.demand()
    pair = clash(chained, *slots)
    if pair is not None:
        return tell.clash(*pair)
    budget.demand()
    if not refused:
        return LEGAL
    if np.any(left[[code for _, code in refused]] > 1):
        return None
    unseen = every.only(~happened)
    expected = np.unique([code for _, code in refused])
    useful = (unseen.sees == _NONE) & ~np.isin(unseen.leaves, expected)
    return refusals.judge(
        Refused.of(refused, group_of, starts, ends),
        chained,
        slots,
        refusals.Unseen(unseen.starts, unseen.starts[useful]),
        tell,
        budget,
    )


def _gather(
    ops: Sequence[Op],
    initial: Any,
    codes: Codes,
    budget: Budget,
    compares: bool,
    mismatches: bool,
) -> tuple[Ints, Ints, Ints, list[tuple[int, int]]] | None:
    """What the ops saw and left and their places, and the refused compare-and-sets as (place,
    expected value)."""
    sees: list[int] = []
    leaves: list[int] = []
    places: list[int] = []
    refused: list[tuple[int, int]] = []
    blank = initial is not None
    for first, piece in pieces(ops, budget):
        for place, op in enumerate(piece, first):
            f, outcome = op.f, op.outcome
            if f == "read":
                if outcome != "ok" or (blank and op.result is None):
                    continue
                saw, left = codes.of(op.result), _NONE
            elif f == "write":
                if outcome == "fail":
                    continue
                saw, left = _NONE, codes.of(op.value)
            elif f == "cas" and compares:
                if not (isinstance(op.value, list | tuple) and len(op.value) == 2):
                    return None
                saw, left = codes.of(op.value[0]), codes.of(op.value[1])
                if outcome == "fail":
                    if mismatches and op.error == MISMATCH:
                        refused.append((place, saw))
                    continue
                if saw == left:  # it says what a read says
                    if outcome == "info":
                        continue
                    left = _NONE
            else:
                return None
            sees.append(saw)
            leaves.append(left)
            places.append(place)
    return array(sees, budget), array(leaves, budget), array(places, budget), refused


def _happened(
    rows: Rows, pending: NDArray[np.bool_], values: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows must have happened, and which values were seen."""
    happened = ~pending
    seen = np.zeros(values, dtype=np.bool_)
    witnessed = rows.sees[happened]
    seen[witnessed[witnessed != _NONE]] = True
    candidates: dict[int, list[int]] = {}
    for row in np.flatnonzero(pending).tolist():
        candidates.setdefault(int(rows.leaves[row]), []).append(row)
    todo = [value for value in candidates if seen[value]]
    while todo:
        for row in candidates.pop(todo.pop(), ()):
            happened[row] = True
            value = int(rows.sees[row])
            if value != _NONE and not seen[value]:
                seen[value] = True
                if value in candidates:
                    todo.append(value)
    return happened, seen


def _slots(rows: Rows, writers: Ints, group_seen: Ints, infinity: int) -> tuple[Ints, Ints]:
    """The last start and the first end of each slot: 2g for the writer of group g, 2g+1 for those
    who only read its value. Empty slots have a start before everything and an end behind it."""
    last_start = np.full(2 * len(writers) + 2, -3)
    first_end = np.full(2 * len(writers) + 2, infinity)
    last_start[0], first_end[0] = -2, -1
    last_start[2::2], first_end[2::2] = rows.starts[writers], rows.ends[writers]
    reads = np.flatnonzero(rows.leaves == _NONE)
    slot = 2 * group_seen[reads] + 1
    np.maximum.at(last_start, slot, rows.starts[reads])
    np.minimum.at(first_end, slot, rows.ends[reads])
    return last_start, first_end
