"""Dots against plain Python sets of pairs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primitives.crdt import Dots

quick = settings(deadline=None, max_examples=50)

dots = st.tuples(st.sampled_from(["a#1", "b#1", "c#2"]), st.integers(1, 12))
sets = st.frozensets(dots, max_size=30)


@quick
@given(sets, dots)
def test_membership_and_length(held, dot):
    made = Dots(held)
    assert set(made) == held
    assert len(made) == len(held)
    assert (dot in made) == (dot in held)
    assert bool(made) == bool(held)


@quick
@given(sets, sets)
def test_union_and_difference(one, other):
    united = Dots(one)
    united.update(Dots(other))
    assert united == Dots(one | other)
    assert Dots(one).without(Dots(other)) == Dots(one - other)


@quick
@given(sets)
def test_intervals_are_canonical_and_survive_json(held):
    made = Dots(held)
    assert Dots.from_json(json.loads(json.dumps(made.to_json()))) == made
    for ranges in made.to_json().values():
        assert all(low <= high for low, high in zip(ranges[::2], ranges[1::2], strict=True))
        assert all(a + 1 < b for a, b in zip(ranges[1::2], ranges[2::2], strict=False))


@quick
@given(sets, st.sampled_from(["a#1", "d#1"]))
def test_the_next_dot_is_new_and_greatest(held, replica):
    made = Dots(held)
    name, n = made.next(replica)
    assert name == replica
    assert n == 1 + max((m for other, m in held if other == replica), default=0)


def test_a_prefix_is_one_interval_whatever_its_length():
    assert Dots(("a#1", n) for n in range(1, 1001)).to_json() == {"a#1": [1, 1000]}


def test_a_copy_is_independent():
    made = Dots([("a#1", 1)])
    twin = made.copy()
    twin.add(("a#1", 2))
    assert ("a#1", 2) not in made


@pytest.mark.parametrize("ranges", [[], [1], [2, 1], [0, 1], [1, 2, 3, 4], [1, True], ["1", 2], 3])
def test_malformed_intervals_are_refused(ranges):
    with pytest.raises(ValueError, match="not ascending intervals"):
        Dots.from_json({"a#1": ranges})
