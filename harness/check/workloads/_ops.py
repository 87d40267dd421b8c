"""How the checks of workloads read ops: keys within values, collections, what came before what."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from harness.check.budget import Budget
from harness.history import History, Op, hashable

READS = ("read", "r", "get")
WRITES = ("write", "w", "put")

Item = TypeVar("Item")

_LOOK = 256  # items between two looks at the budget
_LISTS = (list, tuple, set, frozenset)


@dataclass(frozen=True)
class Moments:
    """What came before what. The places of records tell it, or the times where there are none.

    Where only completions are known, every op may have begun before all others.
    """

    by_index: bool
    realtime: bool

    def start(self, op: Op) -> int:
        """When the op began at the earliest."""
        if not self.realtime:
            return -1
        return op.index if self.by_index else op.start

    def end(self, op: Op) -> int:
        """When an op with a known outcome had ended."""
        end = op.end_index if self.by_index else op.end
        return op.start if end is None else end

    def before(self, one: Op, other: Op) -> bool:
        """Whether `one` certainly ended before `other` began."""
        return one.outcome != "info" and self.end(one) < self.start(other)


def moments(history: History) -> Moments:
    """How to tell the order of this history's ops. O(n)."""
    by_index = all(op.end_index is not None for op in history.ops if op.outcome != "info")
    return Moments(by_index, history.realtime)


def by_key(ops: Iterable[Op]) -> dict[Hashable, list[Op]]:
    """The ops of each object. Where no op has a key and every value, asked and answered, is a pair
    of a plain key and something (Jepsen's independent tests), the pairs are taken apart. O(n)."""
    listed = list(ops)
    telling = [op for op in listed if op.value is not None or op.outcome == "ok"]
    paired = all(op.key is None and _is_pair(op) for op in telling)
    if paired and any(_pair(op.value) for op in telling):
        listed = [_apart(op) for op in telling]
    return History(listed).by_key()


def watched(items: Iterable[Item], budget: Budget) -> Iterator[Item]:
    """The same, with a look at the budget now and then. Raises `OverBudgetError`."""
    for step, item in enumerate(items):
        if step % _LOOK == 0:
            budget.demand()
        yield item


def collection(value: Any) -> frozenset[Hashable] | None:
    """The elements of a list or set; None if it is neither."""
    if not isinstance(value, _LISTS):
        return None
    try:
        return frozenset(value)
    except TypeError:
        return frozenset(map(hashable, value))


def answered(ops: Iterable[Op], names: Sequence[str]) -> list[Op]:
    """The ops of those names that are `ok`."""
    return [op for op in ops if op.f in names and op.outcome == "ok"]


def at(key: Hashable) -> str:
    """The key within a sentence, if there is one."""
    return "" if key is None else f" of key {key!r}"


def missing(what: str) -> str:
    """The sentence of a verdict where nothing was tested."""
    return f"Nothing was tested: {what}."


def _is_pair(op: Op) -> bool:
    asked = op.value is None or _pair(op.value)
    return asked and (op.outcome != "ok" or _pair(op.result))


def _pair(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and not isinstance(value[0], _LISTS)
        and not isinstance(value[0], dict)
        and value[0] is not None
    )


def _apart(op: Op) -> Op:
    key = (op.result if op.outcome == "ok" else op.value)[0]
    value = op.value[1] if _pair(op.value) else None
    return replace(op, key=key, value=value, result=op.result[1] if op.outcome == "ok" else None)
