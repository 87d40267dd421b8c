"""From a history to what it says about the order of its transactions, for each kind of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from harness.check.budget import Budget
from harness.check.isolation import (
    list_cases,
    list_reasons,
    list_versions,
    lists,
    register_cases,
    register_edges,
    register_times,
    registers,
)
from harness.check.isolation.graph import Builder
from harness.check.isolation.register_versions import Assumptions, version_steps
from harness.check.isolation.transactions import Inference, UnfitError, plain
from harness.history import History, Op, hashable

Found = TypeVar("Found")


class Unset:
    """The initial value of registers that nobody has named."""


UNSET: Final = Unset()


@dataclass(frozen=True)
class ListInference:
    """Infers from appends to lists, which hold nothing at first."""

    def __call__(self, history: History, budget: Budget) -> Inference:
        found = _hashed(
            lambda ops: list_versions.versions(lists.collect(ops, budget), budget),
            history.ops,
            as_lists=True,
        )
        given = found.lists
        cases = list_cases.find_cases(found, budget)
        builder = Builder(len(given.ops))
        list_versions.add_dependencies(builder, found, budget)
        return Inference(
            given.ops,
            builder,
            cases,
            lambda a, b, label: list_reasons.because(found, a, b, label),
        )


@dataclass(frozen=True)
class RegisterInference:
    """Infers from writes of registers, which hold `initial` at first (None if unset)."""

    assumed: Assumptions
    initial: Any = UNSET

    def __call__(self, history: History, budget: Budget) -> Inference:
        known = not isinstance(self.initial, Unset)
        initial = hashable(self.initial) if known else None
        given = _hashed(
            lambda ops: registers.collect(ops, initial, budget), history.ops, as_lists=False
        )
        register_cases.find_cases(given, known, budget)
        steps = version_steps(given, self.assumed, budget)
        builder = Builder(len(given.ops))
        register_edges.add_dependencies(builder, given, steps, budget)
        return Inference(
            given.ops,
            builder,
            given.cases,
            lambda a, b, label: register_edges.because(given, steps, a, b, label),
            None if self.assumed.linearizable else (self._keys_judged(given), self._stricter),
        )

    def _keys_judged(self, given: registers.Registers) -> Callable[[History, Budget], None]:
        return lambda _history, budget: register_times.judge_keys(given, budget)

    def _stricter(self, history: History, budget: Budget) -> Inference:
        assumed = replace(self.assumed, linearizable=True, wfr=True)
        inference = replace(self, assumed=assumed)(history, budget)
        inference.cases.first.pop("cyclic-versions", None)  # (whose keys were judged before)
        return inference


def _hashed(
    collect: Callable[[Sequence[Op]], Found], ops: Sequence[Op], *, as_lists: bool
) -> Found:
    """Collect; and where keys or values cannot be hashed, which is rare, again with such as can."""
    try:
        return collect(ops)
    except TypeError:
        pass
    try:
        return collect(list(plain(ops, as_lists=as_lists)))
    except TypeError as error:
        raise UnfitError(f"a key or a value is of no use as such: {error}") from None
