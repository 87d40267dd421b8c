"""Registers: one value, read, written, compared and set; and several of them at once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from harness.check.models._model import (
    INCONSISTENT,
    READ,
    UNSEEN,
    WRITE,
    Entry,
    Model,
    UnfitOpError,
    lend_ends,
    respelled,
    words,
)
from harness.history import MISMATCH, Op, hashable


@dataclass(frozen=True)
class Register(Model):
    """One value that is read and written. A read of None says nothing unless `initial` is None."""

    initial: Hashable = None
    name: ClassVar[str] = "register"
    functions: ClassVar[Mapping[str, str]] = words(read=READ, write=WRITE)
    overwrites: ClassVar[bool] = True
    by_process: ClassVar[bool] = False

    def step(self, state: Any, op: Op) -> Any:
        if op.f == "read":
            return state if state == op.result else INCONSISTENT
        return op.value

    def told(self, ops: Sequence[Op]) -> Sequence[Op]:
        ops, blank = respelled(ops, self.functions), self.initial is not None
        return [
            op
            for op in ops
            if (op.outcome == "ok" and not (blank and op.f == "read" and op.result is None))
            or (op.outcome == "info" and op.f != "read")
        ]

    def entries(self, told: Sequence[Op]) -> list[Entry]:
        """Drops what says nothing and gives writers the latest end that their readers allow."""
        entries = [_entry(op) for op in told]
        _hide_unseen(entries)
        lend_ends(entries, writes, lambda op: (expects(op),), (self.initial,))
        return entries


@dataclass(frozen=True)
class CasRegister(Register):
    """A register with compare-and-set: `cas` with the value `[expected, new]`.

    With `mismatches`, a cas that was refused because the expected value was not there counts as
    having seen just that. Without, it says nothing, like every other failed op.
    """

    mismatches: bool = True
    name: ClassVar[str] = "cas-register"
    functions: ClassVar[Mapping[str, str]] = words(read=READ, write=WRITE, cas="")

    def step(self, state: Any, op: Op) -> Any:
        if op.f == "read":
            return state if state == op.result else INCONSISTENT
        if op.f == "write":
            return op.value
        expected, new = op.value
        if op.outcome == "fail":
            return state if state != expected else INCONSISTENT
        return new if state == expected else INCONSISTENT

    def told(self, ops: Sequence[Op]) -> Sequence[Op]:
        ops, blank = respelled(ops, self.functions), self.initial is not None
        for op in ops:
            if op.f == "cas" and not (isinstance(op.value, list | tuple) and len(op.value) == 2):
                raise UnfitOpError(f"the value of a cas must be [expected, new], not {op.value!r}")
        return [
            op
            for op in ops
            if (op.outcome == "ok" and not (blank and op.f == "read" and op.result is None))
            or (op.outcome == "info" and op.f != "read")
            or (op.error == MISMATCH and op.f == "cas" and self.mismatches)
        ]


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


def _entry(op: Op) -> Entry:
    observes = op.f == "read" or op.outcome == "fail"
    if not all(type(value) in _PLAIN for value in (expects(op), writes(op))):
        comparable = replace(op, value=hashable(op.value), result=hashable(op.result))
        return Entry(comparable, op, op.index, op.end_index, observes)
    return Entry(op, op, op.index, op.end_index, observes)


_PLAIN = frozenset({int, str, type(None), type(UNSEEN), float, bool})  # already hashable


def _hide_unseen(entries: Iterable[Entry]) -> None:
    # Pending writes of values that nobody looked for become twins, and the search tries only one
    # of several twins. (They cannot be left out: a refused cas may need some other value there.)
    sought = {expects(entry.op) for entry in entries}
    for entry in entries:
        op = entry.op
        if not entry.observes and writes(op) not in sought:
            hidden = (op.value[0], UNSEEN) if op.f == "cas" else UNSEEN
            entry.op = replace(op, value=hidden)
