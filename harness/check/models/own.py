"""Models of people's own: a plain class is enough."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from harness.check.models._model import Model, UnfitOpError
from harness.errors import UsageError, with_place
from harness.history import History, Op, hashable


class OwnModel(Model):
    """A model made of `spec`, an object (or class) with `initial` or `init()`, `step(state, op)`,
    and perhaps `partition(op)`, `outcomes(state, op)`, `name`."""

    def __init__(self, spec: Any) -> None:
        self.spec = spec() if isinstance(spec, type) else spec
        kind = type(self.spec).__name__
        if not callable(getattr(self.spec, "step", None)):
            raise UsageError(f"{kind} is no model: it has no step(state, op).", do=_DO)
        if callable(getattr(self.spec, "init", None)):
            self.initial = self.spec.init()
        elif hasattr(self.spec, "initial"):
            self.initial = self.spec.initial
        else:
            raise UsageError(f"{kind} is no model: it has neither initial nor init().", do=_DO)
        self.name = getattr(self.spec, "name", "") or _dashed(kind)  # type: ignore[misc]
        self._step = self.spec.step
        self._outcomes = getattr(self.spec, "outcomes", None)
        self._hashed(self.initial)

    def step(self, state: Any, op: Op) -> Any:
        try:
            after = self._step(state, op)
        except UnfitOpError:
            raise
        except Exception as error:
            raise self._failed(error, state, op) from error
        for wrong in (None, True, False):
            # Forgotten, or meant for INCONSISTENT: a sound model that uses these begins with one.
            if after is wrong and not isinstance(self.initial, type(wrong)):
                raise UsageError(
                    f"{self.name}.step returned {after} for {op.f} {op.value!r} in the state "
                    f"{state!r}.",
                    do="Return the state after the op, or INCONSISTENT where a sound object cannot "
                    "have answered that; raise UnfitOpError for an op that the model does not "
                    "know.",
                )
        return self._hashed(after)

    def outcomes(self, state: Any, op: Op) -> Iterable[Any]:
        if self._outcomes is None:
            return super().outcomes(state, op)
        try:
            return list(map(self._hashed, self._outcomes(state, op)))
        except Exception as error:
            raise self._failed(error, state, op) from error

    def parts(self, history: History) -> Mapping[Hashable, Sequence[Op]]:
        partition = getattr(self.spec, "partition", None)
        if partition is None:
            return super().parts(history)
        parts: dict[Hashable, list[Op]] = {}
        for op in history.ops:
            parts.setdefault(hashable(partition(op)), []).append(op)
        return parts

    def _failed(self, error: Exception, state: Any, op: Op) -> UsageError:
        if isinstance(error, UsageError):
            return error
        return UsageError(
            f"The model {self.name} failed at {op.f} {op.value!r} in the state {state!r}.",
            why=with_place(error),
            do="Correct the model; for an op that it does not know, let it raise UnfitOpError.",
        )

    def _hashed(self, state: Any) -> Any:
        try:
            hash(state)
        except TypeError as error:
            raise UsageError(
                f"The model {self.name} has the state {state!r}, which cannot be remembered.",
                why=str(error),
                do="Let states be tuples, frozensets or frozen dataclasses, not lists or dicts.",
            ) from None
        return state


_DO = "Give it `initial` and `step(self, state, op)`, which returns the next state or INCONSISTENT."


def _dashed(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
