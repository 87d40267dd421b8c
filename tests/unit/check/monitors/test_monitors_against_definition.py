"""Every monitor agrees with the definition on small histories, good and bad."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check.budget import Budget
from harness.check.monitors import Judgement, decide, stacks
from harness.history import Op
from tests.support.oracle_objects import (
    KINDS,
    Described,
    beginning,
    has_order,
    shuffled,
    simulated,
    with_refusals,
)

MAX_OPS = 8


def judged(kind: str, ops: list[Op], initial: Any = None) -> Judgement | None:
    return decide(Described(kind, initial), ops, Budget(60, 2**32))


def from_clients(kind: str, stream: random.Random, initial: Any) -> list[Op]:
    return simulated(
        kind,
        stream,
        stream.randint(2, MAX_OPS),
        clients=stream.randint(1, 5),
        initial=initial,
        lies=stream.choice([0, 0.1, 0.3, 0.3]),
        lost=stream.choice([0, 0.1, 0.3]),
        failed=stream.choice([0, 0.1]),
        repeats=stream.choice([0, 0, 0, 0.1]),
    )


def from_anywhere(kind: str, stream: random.Random, initial: Any) -> list[Op]:
    return shuffled(kind, stream, stream.randint(2, MAX_OPS), initial=initial)


SOURCES = [from_clients, from_anywhere]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_the_definition(
    kind: str, source: Callable[[str, random.Random, Any], list[Op]]
) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 2**32))
    def agrees(seed: int) -> None:
        _assert_agreement(kind, source, seed)

    agrees()


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_decides_most_of_a_healthy_mix(
    kind: str, source: Callable[[str, random.Random, Any], list[Op]]
) -> None:
    found = Counter(_assert_agreement(kind, source, seed) for seed in range(600))
    assert found[True] >= 60
    assert found[False] >= 20
    assert found[None] <= 30


def test_refused_updates_agree_with_the_definition() -> None:
    found: Counter[bool | None] = Counter()
    for seed in range(700):
        stream = random.Random(seed)
        lost = stream.choice([0, 0.2])
        ops = simulated("cas-register", stream, 6, lies=0, failed=0, lost=lost)
        ops = with_refusals(ops, stream, stream.randint(1, 4))
        judgement = judged("cas-register", ops)
        if judgement is not None:
            assert judgement.legal == has_order("cas-register", ops, None), seed
        found[None if judgement is None else judgement.legal] += 1
    assert min(found[True], found[False]) >= 80
    assert found[None] <= 46


def test_deep_stacks_agree_with_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "_MIN_SHARE", 0)  # (one round, then one element at a time)
    found: Counter[bool | None] = Counter()
    for seed in range(600):
        stream = random.Random(seed)
        ops = shuffled("stack", stream, 14, initial=())
        judgement = judged("stack", ops, ())
        if judgement is not None:
            assert judgement.legal == has_order("stack", ops, ()), seed
        found[None if judgement is None else judgement.legal] += 1
    assert min(found[True], found[False]) >= 80


def test_one_element_at_a_time_comes_to_the_same_as_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: Counter[bool] = Counter()
    for seed in range(800):
        answers = []
        for share in (0, 10**9):
            monkeypatch.setattr(stacks, "_MIN_SHARE", share)
            stream = random.Random(seed)
            ops = simulated("stack", stream, 60, clients=8, initial=(), lies=0, lost=0, failed=0)
            for op in ops:
                assert op.end_index is not None
                op.index, op.end_index = 10 * op.index, 10 * op.end_index
            for number, op in enumerate(stream.sample(ops, 3), 1):  # faster than they were
                assert op.end_index is not None
                op.end_index = op.index + (op.end_index - op.index) // 30 * 10 + number
            judgement = judged("stack", ops, ())
            assert judgement is not None
            answers.append(judgement.legal)
        assert answers[0] == answers[1], seed
        found[answers[0]] += 1
    assert min(found[True], found[False]) >= 20, found


def _assert_agreement(
    kind: str, source: Callable[[str, random.Random, Any], list[Op]], seed: int
) -> bool | None:
    stream = random.Random(seed)
    initial = beginning(kind, stream)
    ops = source(kind, stream, initial)
    judgement = judged(kind, ops, initial)
    if judgement is None:
        return None
    assert judgement.legal == has_order(kind, ops, initial), judgement.sentence
    if judgement.legal:
        assert judgement == Judgement(True)
    else:
        _assert_evidence(judgement, ops)
    return judgement.legal


def _assert_evidence(judgement: Judgement, ops: list[Op]) -> None:
    assert judgement.kind
    assert judgement.sentence is not None
    assert judgement.sentence.endswith(".")
    assert 1 <= len(judgement.ops) <= 5
    assert all(any(op is other for other in ops) for op in judgement.ops)
    indexes = [op.index for op in judgement.ops]
    assert indexes == sorted(set(indexes))
