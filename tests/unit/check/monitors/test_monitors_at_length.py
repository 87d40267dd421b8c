"""Long histories: sound ones are legal, one lie is found, and the budget is looked at all along."""

from __future__ import annotations

import random
from typing import Any, cast

import pytest

from harness.check.budget import Budget, OverBudgetError
from harness.check.monitors import Judgement, decide
from harness.history import Op
from tests.support.oracle_objects import KINDS, Described, simulated

OPS = 3000


def sound(kind: str, seed: int, **more: Any) -> tuple[Described, list[Op]]:
    initial: Any = None if kind.endswith("register") else frozenset() if kind == "set" else ()
    stream = random.Random(seed)
    ops = simulated(
        kind, stream, OPS, clients=20, initial=initial, lies=0, failed=0.02, **{"lost": 0} | more
    )
    return Described(kind, initial), ops


@pytest.mark.parametrize("lost", [0, 0.01])
@pytest.mark.parametrize("kind", KINDS)
def test_sound_histories_are_legal(kind: str, lost: float) -> None:
    for seed in range(3):
        model, ops = sound(kind, seed, lost=lost)
        judgement = decide(model, ops, Budget(60, 2**32))
        if kind == "stack" and lost:
            assert judgement is None or judgement.legal  # (pending pops are hard)
        else:
            assert judgement == Judgement(True)


@pytest.mark.parametrize("kind", KINDS)
def test_one_lie_is_found(kind: str) -> None:
    model, ops = sound(kind, 1)
    late = ops[2 * OPS // 3 :]
    told = [
        op for op in late if op.outcome == "ok" and op.f in ("read", "dequeue", "pop", "contains")
    ]
    if kind == "set":
        seen = next(op for op in told if op.result is False)
        seen.value, seen.result = "never added", True
    elif kind.endswith("register"):
        old = next(op for op in ops if op.f == "write" and op.outcome == "ok")
        told[0].result = old.value
    else:
        told[0].result = next(op.result for op in ops if op.f == told[0].f and op.result)
    judgement = decide(model, ops, Budget(60, 2**32))
    assert judgement is not None
    assert not judgement.legal
    assert any(op in late for op in judgement.ops)


def test_a_deep_stack_is_taken_apart() -> None:
    count = 3000
    ops = [_op(2 * n, 2 * n + 1, "push", n) for n in range(count)]
    ops += [_op(2 * n, 2 * n + 1, "pop", None, 2 * count - 1 - n) for n in range(count, 2 * count)]
    assert decide(Described("stack", ()), ops, Budget(60, 2**32)) == Judgement(True)
    ops[-1].result, ops[-5].result = ops[-5].result, ops[-1].result
    judgement = decide(Described("stack", ()), ops, Budget(60, 2**32))
    assert judgement is not None
    assert judgement.kind == "out-of-order"


class Spent:
    """A budget that is spent at the n-th look."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def demand(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise OverBudgetError("time")


@pytest.mark.parametrize("kind", KINDS)
def test_the_budget_is_heeded_at_every_look(kind: str) -> None:
    model, ops = sound(kind, 2)
    for looks in range(1000):
        try:
            decide(model, ops, cast(Budget, Spent(looks)))
            break
        except OverBudgetError:
            pass
    assert 5 <= looks < 999


def _op(start: int, end: int, f: str, value: Any, result: Any = None) -> Op:
    return Op(0, f, "x", value, "ok", result, start, end, start, end)
