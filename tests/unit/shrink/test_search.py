"""Searches: what they find still fails, is 1-minimal, and takes few tries."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.shrink.search import Search, ddmin, smallest, without_one

quickly = settings(deadline=None, max_examples=50)

SEARCHES: dict[str, Callable[[int], Search[int]]] = {
    "smallest": lambda n: smallest(range(n)),
    "smallest, three at once": lambda n: smallest(range(n), ways=3),
    "without_one": lambda n: without_one(range(n)),
    "ddmin": lambda n: ddmin(range(n)),
}


def run(search: Search[int], fails: Callable[[set[int]], bool]) -> tuple[list[int], list[set[int]]]:
    """What a search finds with that oracle, and what it tried."""
    tried: list[set[int]] = []
    got: int | None = None
    try:
        while True:
            batch = search.send(got)
            got = None
            for number, part in enumerate(batch):
                assert sorted(part) == part, "the order is kept"
                tried.append(set(part))
                if fails(tried[-1]):
                    got = number
                    break
    except StopIteration as end:
        return end.value, tried


@pytest.mark.parametrize("name", SEARCHES)
@quickly
@given(data=st.data())
def test_what_is_needed_is_found_and_nothing_else(name: str, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 20))
    least = 1 if name == "ddmin" else 0
    needed = data.draw(st.sets(st.integers(0, size - 1), min_size=least))
    found, _ = run(SEARCHES[name](size), lambda part: needed <= part)
    assert set(found) == needed


@pytest.mark.parametrize("name", SEARCHES)
@quickly
@given(data=st.data())
def test_what_is_found_did_fail_whatever_the_oracle_says(name: str, data: st.DataObject) -> None:
    answers = data.draw(st.dictionaries(st.frozensets(st.integers(0, 7)), st.booleans()))
    found, tried = run(SEARCHES[name](8), lambda part: answers.get(frozenset(part), False))
    assert answers.get(frozenset(found)) or (set(found) == set(range(8)))
    assert len(tried) < 200


@quickly
@given(data=st.data())
def test_without_one_is_1_minimal_also_where_less_may_fail_and_more_not(
    data: st.DataObject,
) -> None:
    failing = data.draw(st.sets(st.frozensets(st.integers(0, 5))))
    found, _ = run(without_one(range(6)), lambda part: frozenset(part) in failing)
    assert all(frozenset(found) - {one} not in failing for one in found)


@quickly
@given(st.integers(2, 64), st.data())
def test_smallest_takes_a_bisection_for_each_needed_element(size: int, data: st.DataObject) -> None:
    needed = data.draw(st.sets(st.integers(0, size - 1), max_size=3))
    _, tried = run(smallest(range(size)), lambda part: needed <= part)
    assert len(tried) <= (len(needed) + 1) + len(needed) * math.ceil(math.log2(size))


def test_at_least_one_element_is_kept_where_none_would_mean_nothing() -> None:
    found, tried = run(smallest(range(8), least=1), lambda part: True)
    assert len(found) == 1
    assert all(tried)
    found, tried = run(without_one(range(8), least=1), lambda part: True)
    assert len(found) == 1
    assert all(tried)


def test_ddmin_stops_at_pieces_of_the_finest_size() -> None:
    found, _ = run(ddmin(range(64), finest=8), lambda part: 20 in part)
    assert found == list(range(16, 24))
