"""The models by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harness.check.models._model import Model
from harness.check.models.counter import Counter
from harness.check.models.kv import KeyValue
from harness.check.models.locks import FencedMutex, Mutex, OwnedMutex
from harness.check.models.multi_register import MultiRegister
from harness.check.models.own import OwnModel
from harness.check.models.queues import FifoQueue, Stack, UnorderedQueue
from harness.check.models.registers import CasRegister, Register
from harness.check.models.sets import Set
from harness.errors import UsageError
from harness.history import hashable

_NUMBER = (int, float)
_KINDS: Final[Mapping[type[Model], tuple[tuple[type, ...], str]]] = {
    # What `initial` may be; registers may hold anything.
    Register: ((object,), "any value"),
    CasRegister: ((object,), "any value"),
    MultiRegister: ((Mapping, list, tuple), "an object of values by key, or a list of such pairs"),
    Mutex: ((bool,), "true for held or false for free"),
    OwnedMutex: ((int,), "the number of the process that holds it"),
    FencedMutex: (_NUMBER, "the last token given"),
    Set: ((list, tuple), "a list of elements"),
    FifoQueue: ((list, tuple), "a list of elements"),
    UnorderedQueue: ((list, tuple), "a list of elements"),
    Stack: ((list, tuple), "a list of elements"),
    Counter: (_NUMBER, "a number"),
    KeyValue: ((str,), "a text"),
}
NAMES: Final = tuple(kind.name for kind in _KINDS)
_ALIASES: Final = {"multiset": UnorderedQueue.name, "bag": UnorderedQueue.name}


def named(model: str, *, initial: Any = None, mismatches: bool = True) -> Model:
    """The model called `model`, one of `NAMES`, with the state `initial` (a JSON value) at the
    beginning; None for the model's own. `mismatches` is for the cas-register. Raises `UsageError`
    for an unknown model or an unfit value."""
    for kind, (types, words) in _KINDS.items():
        if kind.name != _ALIASES.get(model, model):
            continue
        if initial is not None and not _fits(initial, types, kind):
            raise UsageError(
                f"A {model} cannot begin with {initial!r}.", do=f"Give {words} as initial."
            )
        options: dict[str, Any] = {} if initial is None else {"initial": hashable(initial)}
        return (
            CasRegister(mismatches=mismatches, **options)
            if kind is CasRegister
            else kind(**options)
        )
    raise UsageError(
        f"There is no model {model!r}.",
        do=f"Use one of {', '.join(NAMES)}, or a class of your own with initial and step.",
    )


def as_model(thing: Any) -> Model:
    """The model that a `Model`, a plain object with `initial` and `step`, or its class stands for.

    A model of one's own is a plain class:

        class Account:
            initial = 0

            def step(self, state, op):
                if op.f == "balance":
                    return state if op.result == state else INCONSISTENT
                if op.f == "deposit":
                    return state + op.value
                if op.f == "withdraw":
                    return state - op.value if state >= op.value else INCONSISTENT
                raise UnfitOpError(op.f)

    `step` is given an op that succeeded, with what it answered in `op.result`, or one without an
    answer (`op.outcome == "info"`), of which it says what it does if it does anything. States must
    be hashable. Optional are `init()` in place of `initial`; `partition(op)`, the object that an op
    belongs to (else its key); `outcomes(state, op)`, all states to which an op without an answer
    may lead, where there are several; and `name`. Raises `UsageError` for what is no model.
    """
    if isinstance(thing, type) and issubclass(thing, Model):
        return thing()
    return thing if isinstance(thing, Model) else OwnModel(thing)


def _fits(initial: Any, types: tuple[type, ...], kind: type[Model]) -> bool:
    if isinstance(initial, bool) and types in (_NUMBER, (int,)):
        return False
    if kind is MultiRegister and isinstance(initial, list | tuple):
        return all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in initial)
    return isinstance(initial, types)
