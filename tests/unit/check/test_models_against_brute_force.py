"""Every model agrees with the definition on small histories, good and bad."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from harness.check import linearizable
from harness.check.models import Model, named
from tests.support.brute import OBJECTS

_HISTORIES = 400
_OPS = 7


def model_of(name: str) -> Model:
    described = OBJECTS[name]
    initial = described.initial
    if name == "fenced-mutex":
        initial = initial[1]
    if isinstance(initial, frozenset | tuple):
        initial = list(initial)
    return named(name.split(" ")[0], initial=initial)


@pytest.mark.parametrize("name", OBJECTS)
def test_a_model_agrees_with_the_definition(name: str) -> None:
    stream = random.Random(name)
    described, check = OBJECTS[name], linearizable(model_of(name))
    results: Counter[str] = Counter()
    for number in range(_HISTORIES):
        lies = stream.choice((0, 0.15, 0.3))
        history = described.simulated(stream, _OPS, lies, lost=0.25)
        verdict = check(history)
        results[verdict.result] += 1
        if verdict.result == "unknown":
            assert "Nothing was tested" in verdict.summary
            continue
        assert verdict.valid == described.legal(history.ops), (number, history.ops)
    assert min(results["valid"], results["invalid"]) > _HISTORIES / 10, results
