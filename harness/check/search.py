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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal, TypeAlias

from harness.check.budget import Budget
from harness.check.models import INCONSISTENT, UNSEEN, Entry, Model
from harness.history import hashable

Answer: TypeAlias = Literal["legal", "illegal"]

_STEPS_BETWEEN_LOOKS = 128  # at clock and memory, which costs as much as a step: some 10 µs
_DICTS = 61
_STATES_KEPT = 64  # for the evidence

_Key: TypeAlias = tuple[int, int, Any]
_Path: TypeAlias = "tuple[Entry, _Path] | None"


@dataclass
class Found:
    """What the search says, or, with `answer` None, how far it came.

    `blocked` is the entry that got in the way: there is a legal order of everything that ended
    before it, but none that holds `blocked` too. `prefix` is such an order, `states` where all such
    orders can lead (of very many, some).
    """

    answer: Answer | None = None
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


class Search:
    """One search for a legal order of `entries` from the state `start`, done bit by bit."""

    def __init__(self, model: Model, entries: Sequence[Entry], start: Any) -> None:
        self.model = model
        self.found = Found()
        self._required = sorted((e for e in entries if e.end is not None), key=lambda e: e.start)
        self._optional = sorted((e for e in entries if e.end is None), key=lambda e: e.start)
        self._twins = _twins(self._optional, apart=model.by_process)
        self._rank, self._following, self._preceding = _link(self._required)
        self._ends = [e.end for e in self._required if e.end is not None]
        self._urgency = [
            end if entry.urgency is None else entry.urgency
            for entry, end in zip(self._required, self._ends, strict=True)
        ]
        self._hinted = any(entry.urgency is not None for entry in entries)
        self._several = type(model).outcomes is not Model.outcomes
        # Many small dicts: one large one would take half as much again whenever it grows.
        self._memory: list[dict[_Key, int | list[int]]] = [{} for _ in range(_DICTS)]
        self._furthest = -1
        self._furthest_path: _Path = None
        self._stack: list[_Frame] = []
        first = self._enter(None, [], start, 0, 0, 0)
        if first is not None:
            self._stack.append(first)

    def advance(self, visits: int, budget: Budget) -> Found:
        """Go on for about `visits` more situations, or to the end. Raises `OverBudgetError`."""
        stack, found = self._stack, self.found
        last = found.visited + visits
        look = found.visited + _STEPS_BETWEEN_LOOKS
        while stack and found.answer is None and found.visited < last:
            if found.visited >= look:
                budget.demand()
                look = found.visited + _STEPS_BETWEEN_LOOKS
            top = stack[-1]
            move = next(top.moves, None)
            if move is None:
                self._undo(top.done)
                stack.pop()
                continue
            entered = self._follow(top, *move)
            if entered is not None:
                stack.append(entered)
        if not stack and found.answer is None:
            found.answer = "illegal"
        if found.answer is not None:
            found.prefix = _unroll(self._furthest_path)
            self.close()
        return found

    def close(self) -> None:
        """Free the memory at once: frames know their search, so that it would take a collection."""
        self._stack.clear()
        self._memory.clear()
        self._furthest_path = None

    def _follow(self, top: _Frame, number: int, state: Any) -> _Frame | None:
        """Do a move. Required ops are numbered from 0 up, optional ones from -1 down."""
        if number >= 0:
            self._lift(number)
            low, window = _mark(top.low, top.window, number)
            path = (self._required[number], top.path)
            return self._enter(path, [number], state, low, window, top.used)
        path = (self._optional[~number], top.path)
        return self._enter(path, [], state, top.low, top.window, top.used | 1 << ~number)

    def _enter(
        self, path: _Path, done: list[int], state: Any, low: int, window: int, used: int
    ) -> _Frame | None:
        """The situation after a move, or None if there is no need to go on from it."""
        self.found.visited += 1
        step, required, following = self.model.step, self._required, self._following
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
            self._furthest_path = path
            return None
        first = node - count
        self._note(first, state, path)
        if self._seen(low, window, state, used):
            self._undo(done)
            return None
        if len(moves) > 1:  # the most urgent one first: it is the likeliest to have been first
            moves.sort(key=lambda move: (move[1] is UNSEEN, self._urgency[move[0]]))
        end = self._ends[first]
        optional = self._optional_moves(state, used, end, stuck)
        waiting = moves[:0]
        if self._hinted:  # what can wait had better do so until the pending ops have been tried
            last = max(end, *(self._urgency[move] for move, _ in moves if move == first), 0)
            waiting = [move for move in moves if self._urgency[move[0]] > last]
            moves = moves[: len(moves) - len(waiting)]
        return _Frame(state, low, window, used, path, done, chain(moves, optional, waiting))

    def _optional_moves(
        self, state: Any, used: int, before: int, stuck: list[Entry]
    ) -> Iterator[tuple[int, Any]]:
        """The optional ops worth trying. A generator, as most situations never come to it."""
        step, outcomes = self.model.step, self.model.outcomes
        moves: list[tuple[int, Any]] = []
        waiting = list(stuck)
        for number, (entry, twin) in enumerate(zip(self._optional, self._twins, strict=True)):
            if entry.start > before:
                break
            if used >> number & 1 or used & twin != twin:
                continue
            if self._several:
                moves += [(~number, after) for after in outcomes(state, entry.op)]
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
        key = (low, window, state)
        memory = self._memory[hash(key) % _DICTS]
        earlier = memory.get(key)
        if earlier is None:
            memory[key] = used
        elif isinstance(earlier, int):  # (a list for each would cost a third more memory)
            if earlier & ~used == 0:
                return True
            memory[key] = [earlier, used]
        else:
            if any(other & ~used == 0 for other in earlier):
                return True
            earlier.append(used)
        return False

    def _note(self, first: int, state: Any, path: _Path) -> None:
        if self._rank[first] > self._furthest:
            self._furthest, self._furthest_path = self._rank[first], path
            self.found.blocked, self.found.states = self._required[first], {state}
        elif self._rank[first] == self._furthest and len(self.found.states) < _STATES_KEPT:
            self.found.states.add(state)

    def _lift(self, number: int) -> None:
        # The return first: it may stand right behind the call, whose pointer must not go stale.
        following, preceding = self._following, self._preceding
        for node in (number + len(self._required), number):
            before, after = preceding[node], following[node]
            following[before], preceding[after] = after, before

    def _undo(self, done: list[int]) -> None:
        following, preceding = self._following, self._preceding
        for number in reversed(done):
            for node in (number, number + len(self._required)):
                following[preceding[node]] = preceding[following[node]] = node


def _twins(optional: Sequence[Entry], *, apart: bool) -> list[int]:
    """For each optional op, the bit of the equal one before it, or 0. With `apart`, ops of
    different processes are not equal."""
    latest: dict[tuple[Any, ...], int] = {}
    twins = []
    for number, entry in enumerate(optional):
        op = entry.op
        kind = (op.f, hashable(op.value), op.process if apart else None)
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
