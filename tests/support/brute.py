"""An oracle for linearizability: tries every order of every choice of the ops that may be missing.

Written from the definition alone and sharing nothing with the search, so that both can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.history import MISMATCH, Op


def has_legal_order(ops: Sequence[Op], initial: Any = None, *, mismatches: bool = True) -> bool:
    """Whether one register's ops have an order. Factorial in their number: for a handful."""
    tellers = [op for op in ops if op.outcome != "fail" or (mismatches and op.error == MISMATCH)]
    return _go_on(tellers, initial)


def _go_on(left: list[Op], state: Any) -> bool:
    if all(op.outcome == "info" for op in left):
        return True
    for chosen in left:
        if any(op.end_index is not None and op.end_index < chosen.index for op in left):
            continue  # something that had ended before it began must come first
        rest = [op for op in left if op is not chosen]
        for possible, after in _outcomes(chosen, state):
            if possible and _go_on(rest, after):
                return True
    return False


def _outcomes(op: Op, state: Any) -> list[tuple[bool, Any]]:
    if op.f == "read":
        return [(op.outcome == "info" or op.result == state, state)]
    if op.f == "write":
        return [(True, op.value)]
    expected, new = op.value
    if op.outcome == "fail":
        return [(state != expected, state)]
    return [(state == expected, new)]
