"""Queues and the stack."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from harness.check.models._model import (
    INCONSISTENT,
    UNSEEN,
    Entry,
    Mark,
    Model,
    UnfitOpError,
    lend_ends,
    respelled,
    words,
)
from harness.history import MISMATCH, Op, hashable

EMPTY = "empty"
"""What a dequeue or pop may answer, or give as its error, that found nothing."""


@dataclass(frozen=True)
class FifoQueue(Model):
    """A queue: `enqueue` at its end, `dequeue` from its front.

    A dequeue that answers None or "empty", or fails with the error "empty" or `MISMATCH`, saw that
    nothing was there. One without an answer may have taken anything. `initial` lists the elements
    at the beginning, the front first.
    """

    initial: Any = ()
    name: ClassVar[str] = "fifo-queue"
    gives: ClassVar[str] = "enqueue"
    takes: ClassVar[str] = "dequeue"
    functions: ClassVar[Mapping[str, str]] = words(enqueue="", dequeue="")
    by_process: ClassVar[bool] = False

    # A state is a text, and an element one character of it: texts of thousands of characters are
    # copied and compared in no time. Elements that nobody dequeued share one character.

    def step(self, state: Any, op: Op) -> Any:
        if op.f == self.gives:
            return self.put(state, op.value)
        if op.outcome == "info":
            return state[1:] if state and state[0] in op.value else INCONSISTENT
        if op.result is None:
            return INCONSISTENT if state else state
        return state[1:] if state.startswith(op.result) else INCONSISTENT

    def put(self, state: str, element: str) -> str:
        """The state with an element more."""
        return state + element

    def start(self, told: Sequence[Op]) -> Any:
        codes, state = _codes(self, told), ""
        for element in _elements(self.initial):
            state = self.put(state, codes.get(element, _OTHER))
        return state

    def told(self, ops: Sequence[Op]) -> Sequence[Op]:
        ops = respelled(ops, self.functions)
        named = any(op.f == self.gives and op.value == EMPTY for op in ops)
        told = []
        for op in ops:
            if op.f == self.takes and op.outcome != "info":
                empty = op.error in (MISMATCH, EMPTY) if op.outcome == "fail" else op.result is None
                if empty or (op.outcome == "ok" and op.result == EMPTY and not named):
                    op = replace(op, outcome="ok", result=None)
            if op.f == self.gives and op.value is None:
                raise UnfitOpError(f"an {self.gives} needs a value")
            if op.outcome != "fail":
                told.append(op)
        return told

    def entries(self, told: Sequence[Op]) -> list[Entry]:
        codes = _codes(self, told)
        spare = _spare(self, told, codes)
        entries = []
        for op in told:
            if op.f == self.gives:
                code = codes.get(hashable(op.value), _OTHER)
                if op.outcome == "info" and code == _OTHER:
                    continue  # (if it happened, nothing became of it)
                comparable = replace(op, value=code)
            elif op.outcome == "info":
                if not spare or not self.matters(told):
                    continue
                comparable = replace(op, value=spare)
            else:
                seen = None if op.result is None else codes[hashable(op.result)]
                comparable = replace(op, value=None, result=seen)
            observes = op.f == self.takes and op.outcome == "ok" and op.result is None
            entries.append(Entry(comparable, op, op.index, op.end_index, observes))
        lend_ends(entries, self._given, self._taken, self.start(told))
        self.urge(entries)
        return entries

    def urge(self, entries: Iterable[Entry]) -> None:
        """Say what to try first: elements were put there in the order in which they were taken, and
        last those that nobody took."""
        takers: dict[str, deque[int]] = defaultdict(deque)
        for entry in entries:
            if entry.op.f == self.takes:
                entry.urgency = 0
                if entry.op.result is not None and entry.end is not None:
                    takers[entry.op.result].append(entry.end)
        for entry in entries:
            if entry.op.f == self.gives:
                left = takers[entry.op.value]
                entry.urgency = left.popleft() if left else sys.maxsize

    def matters(self, told: Sequence[Op]) -> bool:
        """Whether it can make a difference what a dequeue without an answer took."""
        return True

    def shown(self, state: Any, told: Sequence[Op]) -> str:
        elements = {code: element for element, code in _codes(self, told).items()}
        if not state:
            return "it empty"
        return repr([elements.get(code, _UNTAKEN) for code in state])

    def _given(self, op: Op) -> Hashable:
        return op.value if op.f == self.gives and op.value != _OTHER else UNSEEN

    def _taken(self, op: Op) -> Iterable[Hashable]:
        return (op.result,) if op.f == self.takes and op.result is not None else ()


@dataclass(frozen=True)
class Stack(FifoQueue):
    """A stack: `push` on its top, `pop` from there. Else like a `FifoQueue`; `initial` lists the
    elements at the beginning, the top last."""

    name: ClassVar[str] = "stack"
    gives: ClassVar[str] = "push"
    takes: ClassVar[str] = "pop"
    functions: ClassVar[Mapping[str, str]] = words(push="", pop="")

    def put(self, state: str, element: str) -> str:
        return element + state

    def urge(self, entries: Iterable[Entry]) -> None:
        """Nothing: what was put there first is as likely to be taken last."""

    def shown(self, state: Any, told: Sequence[Op]) -> str:
        return super().shown(state[::-1], told)


@dataclass(frozen=True)
class UnorderedQueue(FifoQueue):
    """A queue that gives its elements out in any order, as a multiset (bag) with `put` and `take`
    does. Else like a `FifoQueue`. Where no dequeue found it empty, each element is judged for
    itself."""

    name: ClassVar[str] = "unordered-queue"
    functions: ClassVar[Mapping[str, str]] = words(enqueue="put add insert", dequeue="take")

    def step(self, state: Any, op: Op) -> Any:
        if op.f == self.gives:
            return self.put(state, op.value)
        if op.result is None:
            return INCONSISTENT if state else state
        place = state.find(op.result)
        return INCONSISTENT if place < 0 else state[:place] + state[place + 1 :]

    def outcomes(self, state: Any, op: Op) -> Iterable[Any]:
        if op.f == self.gives:
            return (self.put(state, op.value),)
        places = {code: place for place, code in enumerate(state) if code in op.value}
        return [state[:place] + state[place + 1 :] for place in places.values()]

    def put(self, state: str, element: str) -> str:
        place = bisect_left(state, element)
        return state[:place] + element + state[place:]

    def split(self, told: Sequence[Op]) -> Iterable[Sequence[Op]]:
        if self.matters(told):
            return (told,)
        groups: dict[Hashable, list[Op]] = {}
        for op in told:
            element = op.value if op.f == self.gives else op.result
            if element is not None:  # (else it is a dequeue without an answer)
                groups.setdefault(hashable(element), []).append(op)
        return groups.values()

    def matters(self, told: Sequence[Op]) -> bool:
        # An element more can only be in the way of those that found nothing.
        return any(op.f == self.takes and op.outcome == "ok" and op.result is None for op in told)


_OTHER = chr(0)  # every element that nobody took, as a character …
_UNTAKEN = Mark("another")  # … and in words
_MOST_CODES = 0x10FFFF


def _elements(elements: Any) -> tuple[Hashable, ...]:
    return tuple(map(hashable, elements or ()))


def _codes(model: FifoQueue, told: Iterable[Op]) -> dict[Hashable, str]:
    """A character for each element that was dequeued."""
    codes: dict[Hashable, str] = {}
    for op in told:
        if op.f == model.takes and op.outcome == "ok" and op.result is not None:
            codes.setdefault(hashable(op.result), chr(min(len(codes) + 1, _MOST_CODES)))
    if len(codes) >= _MOST_CODES:
        raise UnfitOpError(f"it has more than {_MOST_CODES} different elements")
    return codes


def _spare(model: FifoQueue, told: Iterable[Op], codes: Mapping[Hashable, str]) -> str:
    """The characters of elements that may be left for dequeues of which nobody knows."""
    left = Counter(codes.get(element, _OTHER) for element in _elements(model.initial))
    for op in told:
        if op.f == model.gives:
            left[codes.get(hashable(op.value), _OTHER)] += 1
        elif op.outcome == "ok" and op.result is not None:
            left[codes[hashable(op.result)]] -= 1
    return "".join(sorted(code for code, count in left.items() if count > 0))
