"""The workload whose elements are added once."""

from __future__ import annotations

import itertools
import random

import pytest

from harness import Client, sets
from harness.errors import UsageError


class Bag(Client):
    async def add(self, element: int) -> None: ...

    async def read(self) -> list[int]:
        return []


class Half(Client):
    async def add(self, element: int) -> None: ...


def test_no_element_comes_twice() -> None:
    workload = sets(Bag, clients=3, read=0.5)
    asked = [
        list(itertools.islice(workload.requests(random.Random(client), client, {}), 200))
        for client in range(3)
    ]
    added = [one.values for ops in asked for one in ops if one.f == "add"]
    assert len(added) == len(set(added))
    reads = [one for ops in asked for one in ops if one.f == "read"]
    assert len(reads) + len(added) == 600
    assert 200 < len(reads) < 400
    assert {(one.key, one.values) for one in reads} == {(None, ())}


def test_without_reads_the_set_is_read_at_the_end_alone() -> None:
    workload = sets(Bag)
    ops = itertools.islice(workload.requests(random.Random(1), 0, {}), 100)
    assert {one.f for one in ops} == {"add"}
    assert [one.f for one in workload.final] == ["read"]


def test_what_cannot_be_meant_is_refused() -> None:
    for share in (-0.1, 1.0):
        with pytest.raises(UsageError, match="adds nothing"):
            sets(Bag, read=share)
    with pytest.raises(UsageError, match="Half has no method 'read'"):
        sets(Half)
