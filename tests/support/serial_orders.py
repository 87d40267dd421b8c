"""Oracles for isolation: try every order, and every snapshot, by the definitions alone.

They share nothing with the checks. Everything is factorial: for a handful of transactions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations, product
from typing import Any

from harness.history import Op

State = dict[Any, Any]


def serializable(ops: Sequence[Op], *, registers: bool = False, realtime: bool = False) -> bool:
    """Whether the acknowledged transactions, and some of those without answer, have an order in
    which each reads what those before it left; with `realtime`, one that real time allows."""
    for chosen in _choices(ops):
        for order in permutations(chosen):
            if realtime and any(
                b.end_index is not None and b.end_index < a.index
                for place, a in enumerate(order)
                for b in order[place + 1 :]
            ):
                continue
            state: State = {}
            if all(_carry_out(op, state, registers) for op in order):
                return True
    return False


def snapshot_isolated(ops: Sequence[Op], *, registers: bool = False) -> bool:
    """Whether there are an order of commits and, for each transaction, a number of commits that it
    saw, such that all reads are explained and nobody wrote what another had written unseen."""
    for chosen in _choices(ops):
        for order in permutations(chosen):
            states: list[State] = [{}]
            for op in order:
                states.append(dict(states[-1]))
                for f, key, value in _told(op):
                    if f != "r":
                        _write(states[-1], key, value, registers)
            if all(
                any(
                    _carry_out(op, dict(states[seen]), registers)
                    and not any(_keys(op) & _keys(other) for other in order[seen:place])
                    for seen in range(place + 1)
                )
                for place, op in enumerate(order)
            ):
                return True
    return False


def _choices(ops: Sequence[Op]) -> Iterator[list[Op]]:
    sure = [op for op in ops if op.outcome == "ok"]
    open_ops = [op for op in ops if op.outcome == "info"]
    for chosen in product((False, True), repeat=len(open_ops)):
        yield sure + [op for op, taken in zip(open_ops, chosen, strict=True) if taken]


def _told(op: Op) -> Sequence[Any]:
    return op.result if op.outcome == "ok" else op.value


def _keys(op: Op) -> set[Any]:
    return {key for f, key, _ in _told(op) if f != "r"}


def _carry_out(op: Op, state: State, registers: bool) -> bool:
    for f, key, value in _told(op):
        if f != "r":
            _write(state, key, value, registers)
        elif op.outcome == "ok":
            held = state.get(key, None if registers else ())
            if (held if registers else list(held)) != (value if registers else list(value or ())):
                return False
    return True


def _write(state: State, key: Any, value: Any, registers: bool) -> None:
    state[key] = value if registers else (*state.get(key, ()), value)
