"""Writes that are seen in the wrong order: long forks, comments, sequential."""

from __future__ import annotations

from itertools import chain, combinations
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check.verdict import Verdict
from harness.check.workloads import comments, long_fork, sequential
from harness.history import History
from tests.support.histories import history
from tests.support.overlaps import OUTCOMES, overlapping
from tests.support.services import Call, drive


def did(f: str, value: Any = None, result: Any = None, process: int = 0) -> list[tuple[Any, ...]]:
    return [(process, "invoke", f, value), (process, "ok", f, result)]


def judged(check: Any, *lines: list[tuple[Any, ...]]) -> Verdict:
    verdict: Verdict = check(history(*chain.from_iterable(lines)))
    return verdict


def saw(**state: Any) -> list[tuple[Any, ...]]:
    steps = [["r", key, value] for key, value in state.items()]
    return did("read", [[f, key, None] for f, key, _value in steps], steps)


def wrote(key: str, value: Any = 1, kind: str = "ok") -> list[tuple[Any, ...]]:
    return [(0, "invoke", "write", [["w", key, value]]), (0, kind, "write", [["w", key, value]])]


def test_two_reads_that_order_two_writes_differently() -> None:
    verdict = judged(long_fork(), saw(x=1, y=None), saw(y=1, x=None))
    assert (verdict.result, verdict.anomaly) == ("invalid", "long-fork")
    assert "saw ['x'] and not ['y'] on node-0" in verdict.summary
    assert judged(long_fork(), saw(x=1, y=None), saw(y=None, x=None), saw(y=1, x=1)).valid
    assert judged(long_fork(), wrote("x"), wrote("y"), saw(x=1, y=None), saw(y=1, x=None)).anomaly


def test_groups_that_overlap_are_compared_by_what_they_share() -> None:
    three = [saw(x=1, y=None, z=None), saw(x=None, y=1), saw(a=1, b=1)]
    assert judged(long_fork(), *three).anomaly == "long-fork"
    assert judged(long_fork(), saw(x=1, z=None), saw(x=None, y=1)).valid


def test_values_that_cannot_be_told_apart_are_unknown() -> None:
    twice = [wrote("x"), wrote("x", 2), saw(x=1, y=None), saw(y=1, x=None)]
    assert judged(long_fork(), *twice).result == "unknown"
    assert judged(long_fork(), saw(x=1, y=None), saw(x=2, y=None)).result == "unknown"
    failed = [wrote("x"), wrote("x", 2, "fail"), saw(x=1, y=None), saw(y=1, x=None)]
    assert judged(long_fork(), *failed).result == "invalid"
    assert judged(long_fork(), wrote("x"), saw(x=1)).result == "unknown"
    assert judged(long_fork(), did("read", None, 7), did("read", None, [])).result == "unknown"


def test_long_forks_end_when_the_time_is_over() -> None:
    groups = [saw(**{f"k{n}": 1, f"k{n + 1}": None, "a": 1, "b": None}) for n in range(300)]
    verdict = judged(long_fork(timeout=0.001), *groups)
    assert (verdict.result, "timeout=" in verdict.summary) == ("unknown", True)


STATES = st.dictionaries(st.sampled_from("abcd"), st.sampled_from([None, 1]), min_size=1)


@settings(max_examples=200, deadline=None)
@given(st.lists(STATES, max_size=6))
def test_long_forks_are_those_of_all_pairs(states: list[dict[str, Any]]) -> None:
    fork = False
    for one, other in combinations(states, 2):
        common = one.keys() & other.keys()
        ahead = any(one[key] and not other[key] for key in common)
        fork |= ahead and any(other[key] and not one[key] for key in common)
    verdict = judged(long_fork(), *(saw(**state) for state in states))
    assert (verdict.result == "invalid") == fork


class Replicas:
    """Two replicas; sound ones get every write at once, the others their own first."""

    def __init__(self, bug: bool) -> None:
        self.bug = bug
        self.log: list[tuple[Any, str, int]] = []

    def answer(self, call: Call, process: int, now: int) -> Any:
        (f, key, _value), *_rest = call.value
        if f == "w":
            self.log.append((key, call.node or "", now))
            return call.value
        late = 40_000_000 if self.bug else 0
        there = {k for k, node, since in self.log if node == call.node or since + late <= now}
        return [["r", key, 1 if key in there else None] for _f, key, _value in call.value]


@pytest.mark.parametrize("bug", [False, True])
def test_replicas_that_see_their_own_writes_first_are_caught(bug: bool) -> None:
    def calls(rng: Random, number: int) -> Call:
        node, group = rng.choice(["n1", "n2"]), number // 10
        if number % 10 < 2:
            return Call("txn", [["w", 2 * group + number % 10, 1]], node=("n1", "n2")[number % 2])
        return Call("txn", [["r", 2 * group + n, None] for n in range(2)], node=node)

    results = {long_fork()(drive(Replicas(bug), calls, seed=seed)).result for seed in range(5)}
    assert ("invalid" in results) == bug
    assert bug or results == {"valid"}


def test_who_sees_a_comment_sees_those_before_it() -> None:
    verdict = judged(comments(), did("write", 1), did("write", 2), did("read", None, [2]))
    assert (verdict.result, verdict.anomaly) == ("invalid", "missing-earlier")
    assert "saw 2 of key 'x' without [1] on node-0 at 0.400-0.500 s" in verdict.summary
    assert (
        judged(comments(), did("write", 1), did("write", 2), did("read", None, [1])).valid is False
    )
    assert judged(comments(), did("write", 1), did("write", 2), did("read", None, [1, 2])).valid
    beside = [(1, "invoke", "write", 1), *did("write", 2), (1, "ok", "write", 1)]
    both = judged(comments(), did("write", 0), beside, did("read", None, [0, 2]))
    assert both.valid
    assert judged(comments(), did("write", 1), did("read", None, [1])).result == "unknown"
    assert judged(comments()).result == "unknown"


IDS = st.builds(
    lambda f, seen, outcome: {"f": f, "result": seen, "outcome": outcome},
    st.sampled_from(["write", "write", "read"]),
    st.lists(st.integers(0, 5), max_size=5),
    OUTCOMES,
)


@settings(max_examples=200, deadline=None)
@given(overlapping(IDS, least=3, most=7))
def test_comments_agree_with_the_definition(history: History) -> None:
    for place, op in enumerate(history.ops):
        if op.f == "write":
            op.value, op.result = place, None
    writes = [op for op in history.ops if op.f == "write" and op.outcome != "fail"]
    wrong = any(
        first.value not in read.result
        for read in history.ops
        if read.f == "read" and read.outcome == "ok"
        for second in writes
        if second.value in read.result
        for first in writes
        if first.outcome == "ok" and (first.end_index or 0) < second.index
    )
    assert (comments()(history).result == "invalid") == wrong


class Shards:
    """Comments on two shards; its bug: reads see one of them later than the other."""

    def __init__(self, bug: bool) -> None:
        self.bug = bug
        self.written: list[tuple[int, int]] = []

    def answer(self, call: Call, process: int, now: int) -> Any:
        if call.f == "write":
            self.written.append((call.value, now))
            return None
        late = 30_000_000 if self.bug else 0
        return [one for one, since in self.written if one % 2 or since + late <= now]


@pytest.mark.parametrize("bug", [False, True])
def test_shards_that_are_read_apart_are_caught(bug: bool) -> None:
    def calls(rng: Random, number: int) -> Call:
        return Call("write", number) if rng.random() < 0.5 else Call("read")

    for seed in range(4):
        verdict = comments()(drive(Shards(bug), calls, seed=seed))
        assert verdict.result == ("invalid" if bug else "valid")


def found(*items: Any) -> list[tuple[Any, ...]]:
    return did("read", None, ["k", list(items)])


def test_a_later_write_without_an_earlier_one() -> None:
    verdict = judged(sequential(), found(None, "k1", None), found("k2", "k1", "k0"))
    assert (verdict.result, verdict.anomaly) == ("invalid", "trailing-nil")
    assert "read [None, 'k1', None] on node-0" in verdict.summary
    fine = judged(sequential(), found(None, "k1", "k0"), found(None, None), found("k1", "k0"))
    assert (fine.result, fine.data["all"], fine.data["some"], fine.data["none"]) == (
        "valid",
        1,
        1,
        1,
    )
    assert judged(sequential(), did("read", None, ["k2", None, "k0"])).result == "invalid"
    assert judged(sequential(), found(None, None), did("read", None, 3)).result == "unknown"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.sampled_from([None, "k"]), min_size=3, max_size=4), max_size=4))
def test_sequential_agrees_with_all_pairs(reads: list[list[Any]]) -> None:
    wrong = any(one and not other for seen in reads for one, other in combinations(seen, 2))
    assert (judged(sequential(), *(found(*seen) for seen in reads)).result == "invalid") == wrong


class Chain:
    """Writers write k-0, k-1 …; its bug: a read asks replicas that are not equally far."""

    def __init__(self, bug: bool) -> None:
        self.bug = bug
        self.written: list[tuple[Any, int]] = []

    def answer(self, call: Call, process: int, now: int) -> Any:
        if call.f == "write":
            self.written.append((call.value, now))
            return None
        group, _place = call.value
        seen = []
        for place in (2, 1, 0):
            late = 40_000_000 if self.bug and place == 0 else 0
            there = (group, place) in [one for one, since in self.written if since + late <= now]
            seen.append(f"{group}-{place}" if there else None)
        return [group, seen]


@pytest.mark.parametrize("bug", [False, True])
def test_a_replica_that_is_behind_is_caught(bug: bool) -> None:
    def calls(rng: Random, number: int) -> Call:
        group, place = divmod(number, 6)
        return Call("write", (group, place)) if place < 3 else Call("read", (group, None))

    results = {
        sequential()(drive(Chain(bug), calls, seed=seed, clients=1, lost=0)).result
        for seed in range(4)
    }
    assert ("invalid" in results) == bug
    assert bug or results == {"valid"}
