"""Models: what a sound system may answer, one op at a time.

A model says where an object begins and what each op makes of its state. The search in
`harness.check.search` finds out whether some order of the ops satisfies it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from harness.errors import UsageError
from harness.history import MISMATCH, History, Op, hashable


class _Mark:
    """A value that equals nothing but itself and reads well in messages."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


INCONSISTENT: Final = _Mark("inconsistent")
"""What `Model.step` returns where the op cannot have had this outcome in this state."""

UNSEEN: Final = _Mark("a value that nobody read")
"""Stands for every written value that no op observes or expects: which one makes no difference."""


class UnfitOpError(ValueError):
    """The history holds an op that the model does not know."""


@dataclass(slots=True, eq=False)
class Entry:
    """An op as the search sees it.

    It takes effect once between `start` and `end` (indexes of records); with `end` None it takes
    effect at any later time or never. `observes` promises that it never changes a state. `source`
    is the op as recorded, `op` the same with values that the model can compare.
    """

    op: Op
    source: Op
    start: int
    end: int | None
    observes: bool = False


class Model(ABC):
    """A sequential specification. Subclass it to judge objects other than registers."""

    name: ClassVar[str]
    initial: Hashable

    overwrites: ClassVar[bool] = False
    """True promises that an effect which the very next op does not need can be left out. It holds
    where a state is only the last value written, and saves most of the work on pending ops."""

    @abstractmethod
    def step(self, state: Any, op: Op) -> Any:
        """The state after `op`, or `INCONSISTENT`. States are hashable; must not depend on time.

        An `info` op is asked for the effect it has if it has one.
        """

    def parts(self, history: History) -> Mapping[Hashable, Sequence[Op]]:
        """The independent objects of a history: by default, its keys."""
        return history.by_key()

    def entries(self, ops: Iterable[Op]) -> list[Entry]:
        """What the search has to order: by default, every op but the failed ones.

        Raises `UnfitOpError` for an op that the model does not know.
        """
        return [Entry(op, op, op.index, op.end_index) for op in ops if op.outcome != "fail"]


@dataclass(frozen=True)
class Register(Model):
    """One value that is read and written."""

    initial: Hashable = None
    name: ClassVar[str] = "register"
    functions: ClassVar[tuple[str, ...]] = ("read", "write")
    overwrites: ClassVar[bool] = True

    def step(self, state: Any, op: Op) -> Any:
        if op.f == "read":
            return state if state == op.result else INCONSISTENT
        return op.value

    def entries(self, ops: Iterable[Op]) -> list[Entry]:
        """Drops what says nothing and gives writers the latest end that their readers allow."""
        entries = [self._entry(op) for op in ops if self._says_something(op)]
        _hide_unseen(entries)
        _tighten(entries, self.initial)
        return entries

    def _says_something(self, op: Op) -> bool:
        if op.f not in self.functions:
            raise UnfitOpError(f"{op.f!r} is none of {', '.join(self.functions)}")
        return op.outcome == "ok" or (op.outcome == "info" and op.f != "read")

    def _entry(self, op: Op) -> Entry:
        comparable = replace(op, value=hashable(op.value), result=hashable(op.result))
        observes = op.f == "read" or op.outcome == "fail"
        return Entry(comparable, op, op.index, op.end_index, observes)


@dataclass(frozen=True)
class CasRegister(Register):
    """A register with compare-and-set: `cas` with the value `[expected, new]`.

    With `mismatches`, a cas that was refused because the expected value was not there counts as
    having seen just that. Without, it says nothing, like every other failed op.
    """

    mismatches: bool = True
    name: ClassVar[str] = "cas-register"
    functions: ClassVar[tuple[str, ...]] = ("read", "write", "cas")

    def step(self, state: Any, op: Op) -> Any:
        if op.f == "read":
            return state if state == op.result else INCONSISTENT
        if op.f == "write":
            return op.value
        expected, new = op.value
        if op.outcome == "fail":
            return state if state != expected else INCONSISTENT
        return new if state == expected else INCONSISTENT

    def _says_something(self, op: Op) -> bool:
        if op.f == "cas" and not (isinstance(op.value, list | tuple) and len(op.value) == 2):
            raise UnfitOpError(f"the value of a cas must be [expected, new], not {op.value!r}")
        refused = op.f == "cas" and op.outcome == "fail" and op.error == MISMATCH
        return super()._says_something(op) or (refused and self.mismatches)


def named(model: str, *, initial: Any = None, mismatches: bool = True) -> Model:
    """The model called `model`: "register" or "cas-register". Raises `UsageError` if unknown."""
    if model == Register.name:
        return Register(hashable(initial))
    if model == CasRegister.name:
        return CasRegister(hashable(initial), mismatches)
    raise UsageError(
        f"There is no model {model!r}.",
        do=f'Use "{Register.name}", "{CasRegister.name}", or an instance of a harness.check.Model.',
    )


def expects(op: Op) -> Any:
    """The value that a read saw or a cas replaced if it took effect; `UNSEEN` for a write."""
    if op.f == "read":
        return op.result
    return op.value[0] if op.f == "cas" else UNSEEN


def writes(op: Op) -> Any:
    """The value that a write or cas leaves if it takes effect; `UNSEEN` for an observation."""
    if op.f == "read" or op.outcome == "fail":
        return UNSEEN
    return op.value[1] if op.f == "cas" else op.value


def _hide_unseen(entries: Iterable[Entry]) -> None:
    # Pending writes of values that nobody looked for become twins, and the search tries only one
    # of several twins. (They cannot be left out: a refused cas may need some other value there.)
    sought = {expects(entry.op) for entry in entries}
    for entry in entries:
        op = entry.op
        if not entry.observes and writes(op) not in sought:
            op.value = (op.value[0], UNSEEN) if op.f == "cas" else UNSEEN


def _tighten(entries: Iterable[Entry], initial: Hashable) -> None:
    # A value with one possible source was written before the first op that certainly saw it
    # ended. That turns most pending ops, which could go anywhere, into ordinary ones; and a
    # pending cas that must have happened has certainly seen its expected value in turn.
    writers: dict[Any, list[Entry]] = defaultdict(list)
    for entry in entries:
        if not entry.observes:
            writers[writes(entry.op)].append(entry)
    writers.pop(UNSEEN, None)
    writers.pop(initial, None)
    witnesses = [entry for entry in entries if entry.end is not None and entry.op.outcome == "ok"]
    while witnesses:
        witness = witnesses.pop()
        sources = writers.get(expects(witness.op), ())
        if len(sources) != 1 or sources[0] is witness:
            continue
        source, end = sources[0], witness.end
        if end is None or end < source.start:
            continue  # (seen before it was written: for the search to find out)
        if source.end is None or end < source.end:
            source.end = end
            witnesses.append(source)
