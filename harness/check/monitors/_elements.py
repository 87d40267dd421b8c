"""What queues and stacks have in common: elements that go in and come out, and answers of "empty".

Every element went in at most once, so each take has one put. An element is *surely inside* from the
end of its put to the start of its take. One that nobody took, and that nobody knows to have gone
in, never is: the end of its put lies behind everything, and so it is in nobody's way.

Moments are the gaps between two records: gap g follows record g, and an op takes effect in one of
the gaps from its start up to, not including, its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.check.budget import Budget
from harness.check.monitors._codes import Codes, Ints, array, pieces, times
from harness.check.monitors._judgement import Judgement, illegal, told, when
from harness.history import MISMATCH, Op

_NONE = -1
_EMPTY = "empty"
_SHOWN = 3  # elements of a longer cover


@dataclass
class Elements:
    """The elements with the times of their puts and takes.

    `puts` and `takes` are places in the sequence of ops; -1 is one that stands for the beginning or
    that never came. Takes that never came begin at `infinity`, behind everything, where pending ops
    end; only the ends of those takes are greater. `empties` are the places of the takes that found
    nothing, `spare` those of takes of which nobody knows what they took, in order of their starts.
    `starts` and `ends` are those of all ops.
    """

    ops: Sequence[Op]
    put_start: Ints
    put_end: Ints
    take_start: Ints
    take_end: Ints
    puts: Ints
    takes: Ints
    empties: Ints
    spare: Ints
    starts: Ints
    ends: Ints
    infinity: int

    def op(self, places: Ints, element: int) -> Op | None:
        """The put or the take of an element."""
        place = int(places[element])
        return None if place == _NONE else self.ops[place]

    def only(self, kept: NDArray[Any]) -> Elements:
        """The same with some of the elements, in the order of `kept` if that is places."""
        return replace(
            self,
            put_start=self.put_start[kept],
            put_end=self.put_end[kept],
            take_start=self.take_start[kept],
            take_end=self.take_end[kept],
            puts=self.puts[kept],
            takes=self.takes[kept],
        )

    def inside(self, element: int) -> str:
        """Since when and until when an element was surely inside, in words."""
        put, take = self.op(self.puts, element), self.op(self.takes, element)
        known = put if put is not None else take
        if known is None:
            return "an element of the beginning that was never taken"
        value = known.value if put is not None else known.result
        since = "from the beginning" if put is None else f"put {when(put)}"
        until = "never taken" if take is None else f"taken {when(take)}"
        return f"{value!r} ({since}, {until})"


def gather(
    ops: Sequence[Op], initial: Any, budget: Budget, *, put: str, take: str
) -> Elements | Judgement | None:
    """The elements; an illegal judgement if one came from nowhere, or twice, or before it went in;
    None if one went in twice or if there is an op of another kind."""
    codes = Codes()
    put_of: list[int] = []
    beginning = list(initial or ())
    for element in beginning:
        if codes.of(element) != len(put_of):
            return None
        put_of.append(_NONE)
    taken: list[int] = []
    empties: list[int] = []
    spare: list[int] = []
    for first, piece in pieces(ops, budget):
        for place, op in enumerate(piece, first):
            if op.f == put:
                if op.outcome == "fail":
                    continue
                if op.value is None or codes.of(op.value) != len(put_of):
                    return None
                put_of.append(place)
            elif op.f != take:
                return None
            elif op.outcome == "info":
                spare.append(place)
            elif op.outcome == "fail":
                if op.error in (MISMATCH, _EMPTY):
                    empties.append(place)
            elif op.result is None:
                empties.append(place)
            else:
                taken.append(place)
    take_of = [_NONE] * len(put_of)
    for place in taken:
        value = ops[place].result
        element = codes.of(value)
        if element >= len(put_of):
            if value == _EMPTY:
                empties.append(place)
                continue
            return _from_nowhere(ops, ops[place], put)
        if take_of[element] != _NONE:
            earlier, put_place = ops[take_of[element]], put_of[element]
            sentence = f"{told(earlier)}, and {told(ops[place])}, but it was put there only once."
            return illegal(
                "duplicated",
                sentence,
                [None if put_place == _NONE else ops[put_place], earlier, ops[place]],
            )
        take_of[element] = place
    budget.demand()
    return _elements(ops, len(beginning), put_of, take_of, empties, spare, budget)


def _elements(
    ops: Sequence[Op],
    beginning: int,
    put_of: list[int],
    take_of: list[int],
    empties: list[int],
    spare: list[int],
    budget: Budget,
) -> Elements | Judgement:
    puts, takes = array(put_of, budget), array(take_of, budget)
    starts, ends, infinity = times(ops, budget)
    budget.demand()
    if not len(ops):
        starts, ends = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    before = 2 * np.arange(len(puts)) - 2 * beginning
    elements = Elements(
        ops=ops,
        put_start=np.where(puts == _NONE, before, starts[puts]),
        put_end=np.where(puts == _NONE, before + 1, ends[puts]),
        take_start=np.where(takes == _NONE, infinity, starts[takes]),
        take_end=np.where(takes == _NONE, infinity + 1, ends[takes]),
        puts=puts,
        takes=takes,
        empties=array(sorted(empties), budget),
        spare=array(spare, budget),
        starts=starts,
        ends=ends,
        infinity=infinity,
    )
    budget.demand()
    early = np.flatnonzero(elements.take_end < elements.put_start)
    if len(early):
        put, take = ops[puts[early[0]]], ops[takes[early[0]]]
        sentence = f"{told(take)}, but nobody had begun to put it there: {told(put)}."
        return illegal("taken-before-put", sentence, [take, put])
    return elements


def false_empty(elements: Elements) -> Judgement | None:
    """A take that found nothing though at every moment of it some element was surely inside.

    If there is none, every such take has a moment at which each element may be either not yet in or
    out again. O(n log n).
    """
    if not len(elements.empties):
        return None
    covers = np.flatnonzero(elements.put_end < elements.take_start)
    covers = covers[np.argsort(elements.put_end[covers])]
    if not len(covers):
        return None
    begins, reach = elements.put_end[covers], np.maximum.accumulate(elements.take_start[covers])
    heads = np.flatnonzero(np.append(True, begins[1:] > reach[:-1]))
    stretch_begins, stretch_ends = begins[heads], reach[np.append(heads[1:], len(covers)) - 1]
    ops = elements.ops
    starts, ends = elements.starts[elements.empties], elements.ends[elements.empties]
    around = np.searchsorted(stretch_begins, starts) - 1
    wrong = np.flatnonzero((around >= 0) & (stretch_ends[np.maximum(around, 0)] >= ends))
    if not len(wrong):
        return None
    op = ops[elements.empties[wrong[0]]]
    chain = _chain(covers, begins, elements.take_start[covers], starts[wrong[0]], ends[wrong[0]])
    names = [elements.inside(element) for element in chain[:_SHOWN]]
    rest = f" and {len(chain) - _SHOWN} more" if len(chain) > _SHOWN else ""
    ops_of = [elements.op(elements.puts, element) for element in chain[:_SHOWN]]
    ops_of += [elements.op(elements.takes, element) for element in chain[:1]]
    sentence = f"{told(op)}, but all that time something was in it: {', '.join(names)}{rest}."
    return illegal("false-empty", sentence, [op, *ops_of])


def _chain(covers: Ints, begins: Ints, reaches: Ints, start: int, end: int) -> list[int]:
    """The fewest elements that together cover the time from start to end. O(n)."""
    chain: list[int] = []
    at, best, reached = 0, -1, start
    while reached < end:
        while at < len(covers) and begins[at] <= reached:
            if best < 0 or reaches[at] > reaches[best]:
                best = at
            at += 1
        chain.append(int(covers[best]))
        reached = reaches[best]
    return chain


def _from_nowhere(ops: Sequence[Op], take: Op, put: str) -> Judgement:
    failed = [op for op in ops if op.f == put and op.outcome == "fail" and op.value == take.result]
    if failed:
        sentence = f"{told(take)}, but the only op that ever put it there had failed."
        return illegal("read-from-nowhere", sentence, [failed[0], take])
    return illegal("read-from-nowhere", f"{told(take)}, but nobody ever put it there.", [take])
