"""Models of people's own: a plain class is enough."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from harness.check.models._model import Model
from harness.errors import UsageError
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
        return self._hashed(self._step(state, op))

    def outcomes(self, state: Any, op: Op) -> Iterable[Any]:
        if self._outcomes is None:
            return super().outcomes(state, op)
        return map(self._hashed, self._outcomes(state, op))

    def parts(self, history: History) -> Mapping[Hashable, Sequence[Op]]:
        partition = getattr(self.spec, "partition", None)
        if partition is None:
            return super().parts(history)
        parts: dict[Hashable, list[Op]] = {}
        for op in history.ops:
            parts.setdefault(hashable(partition(op)), []).append(op)
        return parts

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
