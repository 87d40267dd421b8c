"""Ops as arrays: values as small whole numbers, times, and pieces between looks at the budget."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.check.budget import Budget
from harness.history import Op, hashable

Ints: TypeAlias = NDArray[np.int64]

_OPS_BETWEEN_LOOKS = 20_000  # some 20 ms


class Codes(dict[Hashable, int]):
    """Numbers values in the order in which they are asked for. Values must be hashable."""

    def __missing__(self, value: Hashable) -> int:
        code = self[value] = len(self)
        return code

    def of(self, value: Any) -> int:
        """The number of any JSON value."""
        try:
            return self[value]
        except TypeError:
            return self[hashable(value)]


def pieces(ops: Sequence[Op], budget: Budget) -> Iterator[tuple[int, Sequence[Op]]]:
    """The ops in pieces, each with the place of its first op; looks at the budget in between."""
    for place in range(0, len(ops), _OPS_BETWEEN_LOOKS):
        budget.demand()
        yield place, ops[place : place + _OPS_BETWEEN_LOOKS]
    budget.demand()


def times(ops: Sequence[Op], budget: Budget) -> tuple[Ints, Ints, int]:
    """The starts and the ends of all ops as indexes of records, and what stands for infinity.

    Pending ops end at infinity, which is greater than every index.
    """
    starts, ends = np.empty(len(ops), dtype=np.int64), np.empty(len(ops), dtype=np.int64)
    for first, piece in pieces(ops, budget):
        beyond = first + len(piece)
        starts[first:beyond] = [op.index for op in piece]
        ends[first:beyond] = [-1 if op.end_index is None else op.end_index for op in piece]
    infinity = int(max(starts.max(initial=0), ends.max(initial=0))) + 1
    ends[ends < 0] = infinity
    return starts, ends, infinity


def array(numbers: Sequence[int], budget: Budget) -> Ints:
    """An array of whole numbers, with a look at the budget, as a million of them take a while."""
    budget.demand()
    return np.array(numbers, dtype=np.int64)
