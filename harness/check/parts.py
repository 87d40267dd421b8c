"""The independent objects of a history, judged in turns until one is found to be illegal.

Each object first gets what is cheap: a search of about as many steps as it has ops, and the
monitors, which decide in O(n log n) where values are unambiguous. What is left is searched round
after round with twice the steps each time, so that a hard object does not hide what is plain to see
at another. What is decided frees its memory at once. Turns are counted in steps, not in seconds:
the same history has the same evidence.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.check.budget import Budget
from harness.check.models import (
    CasRegister,
    FifoQueue,
    Model,
    Register,
    Set,
    Stack,
    UnorderedQueue,
)
from harness.check.search import Found, Search
from harness.history import History, Op

if TYPE_CHECKING:
    from harness.check.monitors import Judgement

_FIRST_VISITS = 1000
_OPS_BETWEEN_LOOKS = 2048

_MONITORED = (Register, CasRegister, FifoQueue, UnorderedQueue, Stack, Set)

_FEW_OPS = 5000
"""Ops of a history up to which a short search comes before the monitors. These are faster from some
100 ops of an object on, but have to load NumPy, which takes 0.1 s."""


@dataclass(frozen=True)
class Illegal:
    """An object whose ops have no order. Either a monitor said so, or the search.

    `ops` are those of the object that say something, `everything` all of them.
    """

    key: Hashable
    everything: Sequence[Op]
    ops: Sequence[Op]
    found: Found | None = None
    judgement: Judgement | None = None


@dataclass(frozen=True)
class _Waiting:
    key: Hashable
    everything: Sequence[Op]
    ops: Sequence[Op]
    search: Search


class Parts:
    """The objects of `history` according to `model`.

    `count` is their number, `ops` that of their ops that say something, `tested` whether any of
    these succeeded.
    """

    def __init__(self, model: Model, history: History, budget: Budget) -> None:
        self.count = 0
        self.ops = 0
        self.tested = False
        self._model = model
        self._history = history
        self._budget = budget
        self._few = len(history) <= _FEW_OPS
        self._waiting: list[_Waiting] = []
        self._at: Hashable = None
        self._begun = 0

    def illegal(self) -> Illegal | None:
        """The first object found to be illegal. Raises `UnfitOpError` and `OverBudgetError`."""
        try:
            return self._first_illegal()
        finally:
            for one in self._waiting:
                one.search.close()

    def _first_illegal(self) -> Illegal | None:
        parts = self._model.parts(self._history)
        self.count = len(parts)
        for key, ops in parts.items():
            self._at, self._begun = key, self._begun + 1
            illegal = self._begin(key, ops)
            if illegal is not None:
                return illegal
        visits = 2 * _FIRST_VISITS
        while self._waiting:
            for one in list(self._waiting):
                self._at = one.key
                found = one.search.advance(visits, self._budget)
                if found.answer == "illegal":
                    return Illegal(one.key, one.everything, one.ops, found)
                if found.answer == "legal":
                    self._waiting.remove(one)
            visits *= 2
        return None

    def undecided(self) -> str:
        """What was being looked at when the budget was used up, within a sentence."""
        more = len({one.key for one in self._waiting} | {self._at}) - 1 + self.count - self._begun
        others = f" (and {more} more of {self.count} keys)" if more else ""
        return f"Undecided for key {self._at!r}{others}" if self.count > 1 else "Undecided"

    def _begin(self, key: Hashable, everything: Sequence[Op]) -> Illegal | None:
        ops = self._model.told(_Watched(everything, self._budget))
        self.ops += len(ops)
        self.tested = self.tested or any(op.outcome == "ok" for op in ops)
        judgement = None if self._few else self._judgement(ops)
        if judgement is not None:
            return None if judgement.legal else Illegal(key, everything, ops, judgement=judgement)
        begun = len(self._waiting)
        for group in self._model.split(ops):
            entries = self._model.entries(_Watched(group, self._budget))
            search = Search(self._model, entries, self._model.start(group))
            self._waiting.append(_Waiting(key, everything, group, search))
            found = search.advance(_FIRST_VISITS + 2 * len(entries), self._budget)
            if found.answer == "illegal":
                return Illegal(key, everything, group, found)
            if found.answer == "legal":
                self._waiting.pop()
        if self._few and len(self._waiting) > begun:
            judgement = self._judgement(ops)
            if judgement is not None:
                for one in self._waiting[begun:]:
                    one.search.close()
                del self._waiting[begun:]
                if not judgement.legal:
                    return Illegal(key, everything, ops, judgement=judgement)
        return None

    def _judgement(self, ops: Sequence[Op]) -> Judgement | None:
        if type(self._model) not in _MONITORED:
            return None
        from harness.check.monitors import decide

        return decide(self._model, ops, self._budget)


class _Watched(Sequence[Op]):
    """Ops that cannot be gone through for longer than the budget allows."""

    def __init__(self, ops: Sequence[Op], budget: Budget) -> None:
        self._ops = ops
        self._budget = budget

    def __len__(self) -> int:
        return len(self._ops)

    def __getitem__(self, place: Any) -> Any:
        return self._ops[place]

    def __iter__(self) -> Iterator[Op]:
        for begin in range(0, len(self._ops), _OPS_BETWEEN_LOOKS):
            if begin:
                self._budget.demand()
            yield from self._ops[begin : begin + _OPS_BETWEEN_LOOKS]
