"""Locks: one that anybody may release, one that only its holder may, and one with tokens."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from harness.check.models._model import (
    INCONSISTENT,
    Entry,
    Model,
    UnfitOpError,
    respelled,
    words,
)
from harness.history import MISMATCH, Op


@dataclass(frozen=True)
class Mutex(Model):
    """A lock that is held or free: `acquire` takes it if it is free, `release` frees it if it is
    held, whoever holds it.

    Refused with `MISMATCH`, they have seen that it was held or free.
    """

    initial: Hashable = False
    name: ClassVar[str] = "mutex"
    functions: ClassVar[Mapping[str, str]] = words(acquire="lock", release="unlock")
    by_process: ClassVar[bool] = False

    def step(self, state: Any, op: Op) -> Any:
        fits = state == (op.f == "release")
        if op.outcome == "fail":
            return INCONSISTENT if fits else state
        return not state if fits else INCONSISTENT

    def told(self, ops: Sequence[Op]) -> Sequence[Op]:
        ops = respelled(ops, self.functions)
        return [op for op in ops if op.outcome != "fail" or op.error == MISMATCH]

    def entries(self, told: Sequence[Op]) -> list[Entry]:
        return [Entry(op, op, op.index, op.end_index, op.outcome == "fail") for op in told]

    def shown(self, state: Any, told: Sequence[Op]) -> str:
        return "it held" if state else "it free"


@dataclass(frozen=True)
class OwnedMutex(Mutex):
    """A lock that only the process that holds it may release; nobody may acquire it twice.

    `initial` is the process that holds it at the beginning, or None.
    """

    initial: Hashable = None
    name: ClassVar[str] = "owned-mutex"
    by_process: ClassVar[bool] = True

    def step(self, state: Any, op: Op) -> Any:
        fits = state is None if op.f == "acquire" else state == op.process
        if op.outcome == "fail":
            return INCONSISTENT if fits else state
        if not fits:
            return INCONSISTENT
        return op.process if op.f == "acquire" else None

    def shown(self, state: Any, told: Sequence[Op]) -> str:
        return "it free" if state is None else f"it with process {state}"


@dataclass(frozen=True)
class FencedMutex(Mutex):
    """An owned mutex whose `acquire` answers a fencing token, a number greater than all before.

    `initial` is the last token given, or None. One that nobody was told may be anything greater
    than those before.
    """

    initial: Hashable = None
    name: ClassVar[str] = "fenced-mutex"
    by_process: ClassVar[bool] = True

    def step(self, state: Any, op: Op) -> Any:
        holder, last = state
        fits = holder is None if op.f == "acquire" else holder == op.process
        if op.outcome == "fail":
            return INCONSISTENT if fits else state
        if not fits:
            return INCONSISTENT
        if op.f == "release":
            return None, last
        if op.value is None:
            return op.process, last
        return (op.process, op.value) if last is None or op.value > last else INCONSISTENT

    def start(self, told: Sequence[Op]) -> Any:
        return None, self.initial

    def entries(self, told: Sequence[Op]) -> list[Entry]:
        entries = []
        for op in told:
            comparable = replace(op, value=_token(op) if op.f == "acquire" else None)
            observes = op.outcome == "fail"
            entries.append(Entry(comparable, op, op.index, op.end_index, observes))
        return entries

    def shown(self, state: Any, told: Sequence[Op]) -> str:
        holder, last = state
        held = "it free" if holder is None else f"it with process {holder}"
        return held if last is None else f"{held}, the last token being {last!r}"


def _token(op: Op) -> Any:
    token = op.value if op.result is None else op.result
    if op.outcome != "ok" or token is None:
        return None
    if isinstance(token, bool) or not isinstance(token, int | float):
        raise UnfitOpError(f"a fencing token is a number, not {token!r}")
    return token
