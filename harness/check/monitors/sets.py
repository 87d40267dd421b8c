"""Sets to which each element was added at most once, and from which it was removed at most once.

Source: P. Abdulla, S. Grahn, B. Jonsson, S. Krishna, O. Mishra, "Efficient linearizability
monitoring" (PLDI 2025), which judges elements one by one. Here adds and removes may also be blind
(no answer, or one that says nothing), or pending.

An element is in from its add to its remove. Ops that saw it there (`contains` true, an add that
changed nothing) need a moment in between; those that saw it missing need one outside. An add or
remove that changed nothing is no more than such an observation. So there are four cases, of which
one must hold: the element was never in; it was added and stayed, perhaps after the remove, which
then saw it missing; or it was added and removed. In the last, take the latest moment for the add
and the earliest for the remove that those who saw it there allow: that leaves the most room for
those who saw it missing. Moments are gaps between records, as in `_elements`. O(n).

Histories with reads of the whole set are left to the search, and so are those in which an element
may have been added or removed twice, unless another element alone is illegal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.check.budget import Budget
from harness.check.monitors._codes import Codes, Ints, array, pieces, times
from harness.check.monitors._judgement import LEGAL, Judgement, illegal, told
from harness.history import Op, hashable

_ADD, _REMOVE, _THERE, _MISSING = range(4)
_EARLY = -10  # before everything
_SHOWN = 5


@dataclass
class _Ops:
    """Ops of one kind: the number of their element, their times and their places."""

    elements: Ints
    starts: Ints
    ends: Ints
    places: Ints
    changed: NDArray[np.bool_]

    def only(self, kept: NDArray[np.bool_]) -> _Ops:
        return _Ops(
            self.elements[kept],
            self.starts[kept],
            self.ends[kept],
            self.places[kept],
            self.changed[kept],
        )


def judge(ops: Sequence[Op], initial: Any, budget: Budget) -> Judgement | None:
    """Judge the ops of one set, or None if they read all of it or an element is ambiguous."""
    found = _illegal_element(ops, initial, budget)
    if isinstance(found, Judgement) or found is None:
        return found
    return _told(ops, found, initial, budget)


def _illegal_element(ops: Sequence[Op], initial: Any, budget: Budget) -> Judgement | _Found | None:
    codes = Codes()
    beginning = {codes.of(element) for element in initial or ()}
    kinds: list[int] = []
    elements: list[int] = []
    places: list[int] = []
    changed: list[bool] = []
    for first, piece in pieces(ops, budget):
        for place, op in enumerate(piece, first):
            outcome = op.outcome
            if outcome == "fail":
                continue
            says = outcome == "ok" and isinstance(op.result, bool)
            if op.f in ("add", "remove"):
                says = says and not isinstance(op.value, bool)  # (else it is only echoed)
                kind = _ADD if op.f == "add" else _REMOVE
                if says and not op.result:
                    kind = _THERE if op.f == "add" else _MISSING
            elif op.f not in ("read", "contains") or op.value is None:
                return None
            elif says:
                kind = _THERE if op.result else _MISSING
            elif outcome == "ok" and op.result is not None:
                return None
            else:
                continue
            kinds.append(kind)
            elements.append(codes.of(op.value))
            places.append(place)
            changed.append(says and op.result)
    columns = array(elements, budget), array(places, budget), array(kinds, budget)
    return _judged(ops, len(codes), beginning, columns, np.array(changed, dtype=np.bool_), budget)


@dataclass
class _Found:
    """An illegal element, with the adds, the removes, and those who saw it there or missing."""

    element: int
    kinds: tuple[_Ops, ...]


@dataclass
class _Case:
    """What is known of every element, by its number: when it was added and removed (`infinity` for
    the ends of pending ops), whether it was, and the extremes of those who saw it or missed it."""

    add: _Change
    remove: _Change
    there_first_end: Ints
    there_last_start: Ints
    missing_last_start: Ints


@dataclass
class _Change:
    start: Ints
    end: Ints
    count: Ints
    pending: NDArray[np.bool_]
    changed: NDArray[np.bool_]

    @classmethod
    def of(cls, found: _Ops, elements: int, infinity: int) -> _Change:
        change = cls(
            np.full(elements, _EARLY),
            np.full(elements, infinity),
            np.bincount(found.elements, minlength=elements),
            np.zeros(elements, dtype=np.bool_),
            np.zeros(elements, dtype=np.bool_),
        )
        change.start[found.elements] = found.starts
        change.end[found.elements] = found.ends
        change.pending[found.elements] = found.ends == infinity
        change.changed[found.elements] = found.changed
        return change


def _judged(
    ops: Sequence[Op],
    elements: int,
    beginning: set[int],
    columns: tuple[Ints, Ints, Ints],
    changed: NDArray[np.bool_],
    budget: Budget,
) -> Judgement | _Found | None:
    starts, ends, infinity = times(ops, budget)
    of, places, kinds = columns
    every = _Ops(of, starts[places], ends[places], places, changed)
    budget.demand()
    adds, removes, there, missing = (
        every.only(kinds == kind) for kind in (_ADD, _REMOVE, _THERE, _MISSING)
    )
    budget.demand()
    add, remove = (_Change.of(kind, elements, infinity) for kind in (adds, removes))
    first = np.array(sorted(beginning), dtype=np.int64)
    add.start[first], add.end[first], add.pending[first] = _EARLY, _EARLY + 1, False
    add.count[first] += 1
    case = _Case(
        add,
        remove,
        np.full(elements, infinity),
        np.full(elements, _EARLY),
        np.full(elements, _EARLY),
    )
    np.minimum.at(case.there_first_end, there.elements, there.ends)
    np.maximum.at(case.there_last_start, there.elements, there.starts)
    np.maximum.at(case.missing_last_start, missing.elements, missing.starts)
    budget.demand()
    clear = (add.count < 2) & (remove.count < 2)
    legal = _never_in(case, infinity) | _stayed(case) | _added_and_removed(case, missing)
    wrong = np.flatnonzero(clear & ~legal)
    budget.demand()
    if len(wrong):
        return _Found(int(wrong[0]), (adds, removes, there, missing))
    return LEGAL if clear.all() else None


def _never_in(case: _Case, infinity: int) -> NDArray[np.bool_]:
    # (A pending add that nobody saw may as well have stayed, at the very end.)
    unseen = (case.there_first_end == infinity) & ~case.remove.changed
    never: NDArray[np.bool_] = unseen & (case.add.count == 0)
    return never


def _stayed(case: _Case) -> NDArray[np.bool_]:
    """Added, and not removed, or removed before that (which then changed nothing)."""
    add, remove = case.add, case.remove
    latest = np.minimum(add.end, case.there_first_end)
    earliest = np.maximum(add.start, case.missing_last_start)
    kept = (remove.count == 0) | remove.pending
    before = (remove.count > 0) & ~remove.changed & (remove.start < latest)
    fits: NDArray[np.bool_] = (add.count > 0) & (earliest < latest) & (kept | before)
    return fits


def _added_and_removed(case: _Case, missing: _Ops) -> NDArray[np.bool_]:
    add, remove = case.add, case.remove
    added = np.minimum(add.end, case.there_first_end) - 1
    removed = np.maximum(remove.start, case.there_last_start)
    those = missing.elements
    within = (missing.starts > added[those]) & (missing.ends <= removed[those])
    unfit = np.bincount(those[within], minlength=len(added)) > 0
    fits: NDArray[np.bool_] = (add.count > 0) & (remove.count > 0) & ~unfit
    return fits & (added >= add.start) & (removed < remove.end) & (add.start < remove.end)


def _told(ops: Sequence[Op], found: _Found, initial: Any, budget: Budget) -> Judgement:
    """The few ops that suffice to show that one element is illegal."""
    adds, removes, there, missing = (
        [ops[place] for place in places] for places in _extremes(found)
    )
    proof = [*adds, *removes, *there, *missing]
    value = proof[0].value
    beginning = [element for element in initial or () if hashable(element) == hashable(value)]
    if not adds and not beginning:
        seen = next(op for op in (*there, *removes) if op.outcome == "ok")
        return illegal("read-from-nowhere", f"{told(seen)}, but nobody ever added it.", [seen])
    for op in (*missing, *there, *removes):
        less = sorted((other for other in proof if other is not op), key=_start)
        if isinstance(_illegal_element(less, beginning, budget), _Found):
            proof = less
    proof = sorted(proof, key=_start)[:_SHOWN]
    kind = "lost" if any(op in missing for op in proof) else "stale-read"
    once = "there from the beginning" if beginning else "added only once"
    tale = "; ".join(told(op) for op in proof)
    sentence = f"{value!r} was {once} and removed at most once, and no order of these fits: {tale}."
    return illegal(kind, sentence, proof)


def _extremes(found: _Found) -> list[list[int]]:
    """The places of the ops on which the answer depends, for each kind."""
    adds, removes, there, missing = (
        kind.only(kind.elements == found.element) for kind in found.kinds
    )
    seen = []
    if len(there.places):
        seen = [int(there.ends.argmin()), int(there.starts.argmax())]
    missed = []
    if len(missing.places):
        missed = [int(missing.starts.argmax())]
        added = min([*adds.ends.tolist(), *there.ends.tolist()], default=0)
        removed = max([*removes.starts.tolist(), *there.starts.tolist()], default=0)
        within = np.flatnonzero((missing.starts >= added) & (missing.ends <= removed))
        missed += within[:1].tolist()
    return [
        adds.places.tolist(),
        removes.places.tolist(),
        there.places[sorted(set(seen))].tolist(),
        missing.places[sorted(set(missed))].tolist(),
    ]


def _start(op: Op) -> int:
    return op.index
