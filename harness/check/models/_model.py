"""What a model is to the search, and what the models share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from harness.history import History, Op


class Mark:
    """A value that equals nothing but itself and reads well in messages."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


INCONSISTENT: Final = Mark("inconsistent")
"""What `Model.step` returns where the op cannot have had this outcome in this state."""

UNSEEN: Final = Mark("a value that nobody read")
"""Stands for every written value that no op observes or expects: which one makes no difference."""


class UnfitOpError(ValueError):
    """The history holds an op that the model does not know."""


@dataclass(slots=True, eq=False)
class Entry:
    """An op as the search sees it.

    It takes effect once between `start` and `end` (indexes of records); with `end` None it takes
    effect at any later time or never. `observes` promises that it never changes a state. `source`
    is the op as recorded, `op` the same with values that the model can compare. Of several that may
    be next, the one with the least `urgency` is tried first; None stands for `end`.
    """

    op: Op
    source: Op
    start: int
    end: int | None
    observes: bool = False
    urgency: int | None = None


class Model(ABC):
    """A sequential specification.

    The smallest model is a plain class with `initial` and `step` (see `as_model`); this is what
    the search works with, and what the models of this package extend.
    """

    name: ClassVar[str]
    initial: Hashable

    overwrites: ClassVar[bool] = False
    """True promises that an effect which the very next op does not need can be left out. It holds
    where a state is only the last value written, and saves most of the work on pending ops."""

    by_process: ClassVar[bool] = True
    """False promises that `step` looks at nothing but `f`, `value`, `result` and `outcome` of an
    op. Then several equal ops without an answer cost no more than one."""

    @abstractmethod
    def step(self, state: Any, op: Op) -> Any:
        """The state after `op`, or `INCONSISTENT`. States are hashable; must not depend on time.

        An `info` op is asked for the effect it has if it has one.
        """

    def outcomes(self, state: Any, op: Op) -> Iterable[Any]:
        """The states to which an `info` op may lead, where there can be several."""
        after = self.step(state, op)
        return () if after is INCONSISTENT else (after,)

    def start(self, told: Sequence[Op]) -> Any:
        """The state that `initial` is, where `told` are the ops to come."""
        return self.initial

    def parts(self, history: History) -> Mapping[Hashable, Sequence[Op]]:
        """The independent objects of a history: by default, its keys."""
        return history.by_key()

    def told(self, ops: Sequence[Op]) -> Sequence[Op]:
        """The ops that say something, with the model's own word for each `f`: by default, all but
        the failed ones. Raises `UnfitOpError` for an op that the model does not know."""
        return [op for op in ops if op.outcome != "fail"]

    def split(self, told: Sequence[Op]) -> Iterable[Sequence[Op]]:
        """The ops of one part in groups that have nothing to do with each other."""
        return (told,)

    def entries(self, told: Sequence[Op]) -> list[Entry]:
        """What the search has to order, of the ops that `told` lets through."""
        return [Entry(op, op, op.index, op.end_index) for op in told if op.outcome != "fail"]

    def shown(self, state: Any, told: Sequence[Op]) -> str:
        """A state in words, within a sentence like `… leaves 3`."""
        return repr(state)


def words(**functions: str) -> Mapping[str, str]:
    """Each spelling of `f` with the model's own word, from `read="get r"`."""
    spelled = {word: word for word in functions}
    for word, others in functions.items():
        spelled.update(dict.fromkeys(others.split(), word))
    return spelled


READ: Final = "r get"
WRITE: Final = "w put"


def respelled(ops: Sequence[Op], functions: Mapping[str, str]) -> Sequence[Op]:
    """The ops with the model's own word for each `f`. Raises `UnfitOpError` for unknown ones."""
    used = {op.f for op in ops}
    for f in used:
        if f not in functions:
            known = ", ".join(dict.fromkeys(functions.values()))
            raise UnfitOpError(f"{f!r} is none of {known}")
    if all(functions[f] == f for f in used):
        return ops
    return [op if functions[op.f] == op.f else replace(op, f=functions[op.f]) for op in ops]


def lend_ends(
    entries: Iterable[Entry],
    gives: Callable[[Op], Hashable],
    needs: Callable[[Op], Iterable[Hashable]],
    initially: Container[Hashable],
) -> None:
    """Give what must have happened the latest end that its observers allow.

    A value with one possible source (`gives`; `UNSEEN` for no value) was there before the first op
    that certainly saw it (`needs`) ended. That turns most pending ops, which could go anywhere,
    into ordinary ones; and one that must have happened has certainly seen in turn what it needs.
    O(n + what is needed).
    """
    sources: dict[Hashable, list[Entry]] = defaultdict(list)
    for entry in entries:
        value = UNSEEN if entry.observes else gives(entry.op)
        if value is not UNSEEN and value not in initially:
            sources[value].append(entry)
    only = {value: givers[0] for value, givers in sources.items() if len(givers) == 1}
    witnesses = [entry for entry in entries if entry.end is not None and entry.op.outcome == "ok"]
    while witnesses:
        witness = witnesses.pop()
        end = witness.end
        for value in needs(witness.op):
            source = only.get(value)
            if source is None or source is witness or end is None or end < source.start:
                continue  # (seen before it was there: for the search to find out)
            if source.end is None or end < source.end:
                source.end = end
                witnesses.append(source)
