"""The search for a legal order: Wing and Gong's algorithm with Lowe's memory.

Source: G. Lowe, "Testing for linearizability" (2017), with A. Horn and D. Kroening's
list of calls and returns ("Faster linearizability checking via P-compositionality", 2015).

The worst case is exponential in the number of ops that overlap (the problem is NP-complete);
with few of them it is near linear in the length. Four observations, each of which leaves the
answer as it is, keep it there:

- an observation that is legal now may as well be made now, so it is never branched on;
- ops that may never happen (`end` None) and are equal are used in order of invocation only;
- a situation is hopeless if one with the same state, the same required ops done and no more of the
  optional ones used was: the earlier one could have gone on in the same way;
- where effects overwrite each other, an optional op is used only if the next op needs it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal, TypeAlias

from harness.check.models import INCONSISTENT, Entry, Model
from harness.history import hashable

Answer: TypeAlias = Literal["legal", "illegal", "time", "states"]

_STEPS_BETWEEN_LOOKS = 128  # at the clock; a step takes some 10 µs

_Path: TypeAlias = "tuple[Entry, _Path] | None"


@dataclass
class Found:
    """What the search says.

    `answer` is `legal`, `illegal`, or the limit that ended it. `blocked` is the entry that got in
    the way: there is a legal order of everything that ended before it, but none that holds
    `blocked` too. `prefix` is such an order, `states` where all such orders can lead.
    """

    answer: Answer
    blocked: Entry | None = None
    prefix: list[Entry] = field(default_factory=list)
    states: set[Any] = field(default_factory=set)
    visited: int = 0


@dataclass(slots=True)
class _Frame:
    state: Any
    low: int  # every required op below this number is done …
    window: int  # … and those above it whose bit is set
    used: int  # optional ops used, one bit each
    path: _Path
    done: list[int]  # required ops that were done on entering, to be undone on leaving
    moves: Iterator[tuple[int, Any]]


def search(model: Model, entries: Sequence[Entry], *, deadline: float, max_states: int) -> Found:
    """Look for a legal order of `entries`.

    `deadline` is on `time.monotonic()`'s clock; `max_states` bounds the situations remembered
    (up to a few hundred bytes each).
    """
    return _Search(model, entries, deadline, max_states).run()


class _Search:
    def __init__(
        self, model: Model, entries: Sequence[Entry], deadline: float, max_states: int
    ) -> None:
        self.model = model
        self.deadline = deadline
        self.max_states = max_states
        self.required = sorted((e for e in entries if e.end is not None), key=lambda e: e.start)
        self.optional = sorted((e for e in entries if e.end is None), key=lambda e: e.start)
        self.twins = _twins(self.optional)
        self.rank, self.following, self.preceding = _link(self.required)
        self.memory: dict[tuple[int, int, Any], list[int]] = {}
        self.remembered = 0
        self.found = Found("illegal")
        self.furthest = -1
        self.furthest_path: _Path = None

    def run(self) -> Found:
        stack: list[_Frame] = []
        entered = self._enter(None, [], self.model.initial, 0, 0, 0)
        while True:
            if entered is not None:
                stack.append(entered)
            if not stack or self.found.answer == "legal" or self._out_of_bounds():
                break
            top = stack[-1]
            move = next(top.moves, None)
            if move is None:
                self._undo(top.done)
                stack.pop()
                entered = None
            else:
                entered = self._follow(top, *move)
        self.found.prefix = _unroll(self.furthest_path)
        return self.found

    def _follow(self, top: _Frame, number: int, state: Any) -> _Frame | None:
        """Do a move. Required ops are numbered from 0 up, optional ones from -1 down."""
        if number >= 0:
            self._lift(number)
            low, window = _mark(top.low, top.window, number)
            path = (self.required[number], top.path)
            return self._enter(path, [number], state, low, window, top.used)
        path = (self.optional[~number], top.path)
        return self._enter(path, [], state, top.low, top.window, top.used | 1 << ~number)

    def _enter(
        self, path: _Path, done: list[int], state: Any, low: int, window: int, used: int
    ) -> _Frame | None:
        """The situation after a move, or None if there is no need to go on from it."""
        self.found.visited += 1
        step, required, following = self.model.step, self.required, self.following
        count = len(required)
        moves: list[tuple[int, Any]] = []
        stuck: list[Entry] = []
        node = following[-1]
        while node < count:  # the calls up to the first return: any of these may be next
            entry = required[node]
            after = step(state, entry.op)
            if after is INCONSISTENT:
                stuck.append(entry)
            elif entry.observes:
                self._lift(node)
                done.append(node)
                low, window = _mark(low, window, node)
                path = (entry, path)
            else:
                moves.append((node, after))
            node = following[node]
        if node == 2 * count:
            self.found.answer = "legal"
            self.furthest_path = path
            return None
        first = node - count
        self._note(first, state, path)
        if self._seen(low, window, state, used):
            self._undo(done)
            return None
        if len(moves) > 1:  # the most urgent one first: it is the likeliest to have been first
            moves.sort(key=lambda move: self.rank[move[0]])
        optional = self._optional_moves(state, used, required[first].end, stuck)
        return _Frame(state, low, window, used, path, done, chain(moves, optional))

    def _optional_moves(
        self, state: Any, used: int, before: int | None, stuck: list[Entry]
    ) -> Iterator[tuple[int, Any]]:
        """The optional ops worth trying. A generator, as most situations never come to it."""
        step = self.model.step
        moves: list[tuple[int, Any]] = []
        waiting = list(stuck)
        for number, (entry, twin) in enumerate(zip(self.optional, self.twins, strict=True)):
            if before is not None and entry.start > before:
                break
            if used >> number & 1 or used & twin != twin:
                continue
            after = step(state, entry.op)
            if after is INCONSISTENT:
                waiting.append(entry)
            elif after != state:
                moves.append((~number, after))
        for number, after in moves:
            if not self.model.overwrites or any(
                step(after, entry.op) is not INCONSISTENT for entry in waiting
            ):
                yield number, after

    def _seen(self, low: int, window: int, state: Any, used: int) -> bool:
        """Whether nothing new can come of this situation; remembers it otherwise."""
        earlier = self.memory.setdefault((low, window, state), [])
        if any(other & ~used == 0 for other in earlier):
            return True
        earlier.append(used)
        self.remembered += 1
        return False

    def _note(self, first: int, state: Any, path: _Path) -> None:
        if self.rank[first] > self.furthest:
            self.furthest, self.furthest_path = self.rank[first], path
            self.found.blocked, self.found.states = self.required[first], {state}
        elif self.rank[first] == self.furthest:
            self.found.states.add(state)

    def _out_of_bounds(self) -> bool:
        if self.remembered > self.max_states:
            self.found.answer = "states"
        elif self.found.visited % _STEPS_BETWEEN_LOOKS == 0 and time.monotonic() > self.deadline:
            self.found.answer = "time"
        else:
            return False
        return True

    def _lift(self, number: int) -> None:
        # The return first: it may stand right behind the call, whose pointer must not go stale.
        following, preceding = self.following, self.preceding
        for node in (number + len(self.required), number):
            before, after = preceding[node], following[node]
            following[before], preceding[after] = after, before

    def _undo(self, done: list[int]) -> None:
        following, preceding = self.following, self.preceding
        for number in reversed(done):
            for node in (number, number + len(self.required)):
                following[preceding[node]] = preceding[following[node]] = node


def _twins(optional: Sequence[Entry]) -> list[int]:
    """For each optional op, the bit of the equal one before it, or 0."""
    latest: dict[tuple[str, Any], int] = {}
    twins = []
    for number, entry in enumerate(optional):
        kind = (entry.op.f, hashable(entry.op.value))
        twins.append(latest.get(kind, 0))
        latest[kind] = 1 << number
    return twins


def _link(required: Sequence[Entry]) -> tuple[list[int], list[int], list[int]]:
    """The place of each return, and a ring of calls (0 … n-1), returns (n … 2n-1) and 2n."""
    count = len(required)
    events: list[tuple[int, int, int]] = []
    for number, entry in enumerate(required):
        assert entry.end is not None
        # An op that got its end from a reader's returns behind that reader, so that what blocks
        # is the reader.
        lent = int(entry.end != entry.source.end_index)
        events += [(entry.start, 0, number), (entry.end, lent, number + count)]
    ring = [node for _, _, node in sorted(events)]
    ring.append(2 * count)
    rank, following, preceding = [0] * count, [0] * len(ring), [0] * len(ring)
    for place, node in enumerate(ring):
        following[ring[place - 1]] = node
        preceding[node] = ring[place - 1]
        if count <= node < 2 * count:
            rank[node - count] = place
    return rank, following, preceding


def _mark(low: int, window: int, number: int) -> tuple[int, int]:
    window |= 1 << (number - low)
    if window & 1:
        ones = (~window & (window + 1)).bit_length() - 1
        return low + ones, window >> ones
    return low, window


def _unroll(path: _Path) -> list[Entry]:
    entries = []
    while path is not None:
        entry, path = path
        entries.append(entry)
    return entries[::-1]
