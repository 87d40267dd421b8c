"""Pops without an answer may have taken what nobody else did: by when they must have."""

from __future__ import annotations

import random

import numpy as np

from harness.check.budget import Budget
from harness.check.monitors import stacks
from harness.check.monitors._due import due
from harness.check.monitors._elements import Elements, gather
from tests.support.oracle_objects import simulated


def plenty() -> Budget:
    """A budget runs from when it is made: one for all tests would be spent before they begin."""
    return Budget(60, 2**40)


def test_what_is_due_is_what_comparing_each_with_all_says() -> None:
    early = 0
    for seed in range(120):
        stream = random.Random(seed)
        initial = (91, 92) if seed % 3 == 0 else ()
        ops = simulated("stack", stream, 40, lies=0, failed=0.1, lost=0.15, initial=initial)
        elements = gather(ops, initial, plenty(), put="push", take="pop")
        assert isinstance(elements, Elements)
        left = np.flatnonzero(elements.takes < 0)
        expected = [_compared(elements, element) for element in left.tolist()]
        assert due(elements, left, plenty()).tolist() == expected, seed
        early += sum(moment < elements.infinity for moment in expected)
    assert early >= 50


def _compared(elements: Elements, element: int) -> int:
    begun, ended = elements.put_start[element], elements.put_end[element]
    ends = [elements.infinity]
    for other in np.flatnonzero(elements.takes >= 0).tolist():
        if elements.put_end[other] < begun and elements.take_start[other] > ended:
            ends.append(int(elements.take_end[other]))
    for place in elements.empties.tolist():
        if elements.starts[place] > ended:
            ends.append(int(elements.ends[place]))
    return min(ends)


def test_long_sound_histories_are_decided_in_spite_of_lost_pops() -> None:
    for seed in range(3):
        stream = random.Random(seed)
        ops = simulated("stack", stream, 4000, clients=8, initial=(), lies=0, failed=0, lost=0.01)
        judgement = stacks.judge(ops, (), plenty())
        assert judgement is not None, seed
        assert judgement.legal
