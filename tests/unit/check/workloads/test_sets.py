"""Sets that are read at the end, and sets that are read all the time."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check.verdict import Verdict
from harness.check.workloads import set_, set_full
from harness.history import History
from tests.support.histories import history
from tests.support.overlaps import OUTCOMES, overlapping
from tests.support.services import Call, drive


def add(element: Any, kind: str = "ok", process: int = 0) -> list[tuple[Any, ...]]:
    return [(process, "invoke", "add", element), (process, kind, "add", element)]


def read(elements: Any, process: int = 1) -> list[tuple[Any, ...]]:
    return [(process, "invoke", "read", None), (process, "ok", "read", elements)]


def judged(*lines: list[tuple[Any, ...]]) -> Verdict:
    return set_()(history(*(line for several in lines for line in several)))


def fully(*lines: list[tuple[Any, ...]], linearizable: bool = False) -> Verdict:
    check = set_full(linearizable=linearizable)
    return check(history(*(line for several in lines for line in several)))


def test_all_that_was_added_is_read() -> None:
    verdict = judged(add(1), add(2), add(3, "info", 7), read([2, 1]))
    assert (verdict.result, verdict.check) == ("valid", "set")
    assert verdict.data == {
        "attempted": 3,
        "acknowledged": 2,
        "read": 2,
        "recovered": 0,
        "anomalies": [],
    }
    assert judged(add(1), add(2), add(3, "info", 7), read([2, 1, 3])).data["recovered"] == 1


def test_lost_unexpected_and_refused_elements() -> None:
    verdict = judged(add(1), add(2), read([1]))
    assert (verdict.result, verdict.anomaly) == ("invalid", "lost")
    assert "added 2 on node-0 at 0.200-0.300 s of key 'x'" in verdict.summary
    assert judged(add(1), read([1, 9])).anomalies == ["unexpected"]
    assert judged(add(1), add(2, "fail"), read([1, 2])).anomalies == ["of-refused"]
    assert judged(add(1), add(2, "fail"), add(2, "info", 7), read([1, 2])).valid
    assert judged(add(1), add(2), read([9])).anomalies == ["lost", "unexpected"]


def test_only_the_last_read_counts_and_what_came_before_it() -> None:
    assert judged(add(1), read([]), read([1])).valid
    assert judged(add(1), read([1]), read([])).anomaly == "lost"
    assert judged(add(1), read([1]), add(2)).valid
    beside = [(0, "invoke", "add", 2), *read([1]), (0, "ok", "add", 2)]
    assert judged(add(1), beside).valid
    assert judged(add(1), read([1]), read(None)).valid


def test_an_empty_or_unread_set_tests_nothing() -> None:
    assert judged(add(1)).result == "unknown"
    assert judged(read([])).result == "unknown"
    assert judged(add(1, "fail"), read([])).result == "unknown"


def test_keys_may_be_within_the_values_and_elements_lists() -> None:
    keyed = [(*line[:3], line[3], {"key": None}) for line in add([0, 5]) + add([1, 6])]
    reads = [(*line[:3], line[3], {"key": None}) for line in read([0, [5]]) + read([1, []])]
    assert set_()(history(*keyed, *reads)).data["lost"] == 1
    assert judged(add([0, 5]), add([0, 6]), read([[0, 5], [0, 6]])).valid
    only = History(history(*add(1), *add(2), *read([1])).ops, realtime=False)
    assert set_()(only).anomaly == "lost"


def test_when_elements_are_stable_stale_lost_and_never_read() -> None:
    verdict = fully(add(1), read([]), read([1]), add(2, "info", 7), read([1]))
    assert (verdict.result, verdict.check) == ("valid", "set-full")
    told = {name: verdict.data[name] for name in ("stable", "stale_elements", "never_read")}
    assert told == {"stable": 1, "stale_elements": 1, "never_read": 1}
    assert verdict.data["stable_s"]["1"] == pytest.approx(0.1)
    stale = fully(add(1), read([]), read([1]), linearizable=True)
    assert (stale.check, stale.anomaly) == ("set-full(linearizable)", "stale")
    assert "without 1, which was there before" in stale.summary
    lost = fully(add(1), add(2), read([1, 2]), read([1]))
    assert (lost.result, lost.anomaly, lost.data["lost"]) == ("invalid", "lost", 1)
    assert "it is gone since the read of process 1 at 0.600-0.700 s" in lost.summary
    assert lost.data["lost_s"]["1"] == pytest.approx(0.1)


def test_a_read_beside_the_add_may_miss_it() -> None:
    beside = [(0, "invoke", "add", 2), *read([1]), (0, "ok", "add", 2)]
    verdict = fully(add(1), beside)
    assert (verdict.result, verdict.data["never_read"]) == ("valid", 1)
    # One that sees it shows that it is there: who reads afterwards must see it too.
    seen = [(0, "invoke", "add", 2), *read([1, 2]), *read([1]), (0, "ok", "add", 2)]
    assert fully(add(1), seen).anomaly == "lost"


def test_the_last_read_that_misses_it_counts_even_if_it_began_before_the_add() -> None:
    # It shows in the read of process 2, and not in that of 3, which began later and ended later.
    lines = [
        *[(2, "invoke", "read", None), (3, "invoke", "read", None)],
        *[*read([]), (0, "invoke", "add", 1), (2, "ok", "read", [1]), (0, "ok", "add", 1)],
        (3, "ok", "read", []),
    ]
    verdict = fully(lines)
    assert (verdict.data["stable"], verdict.data["never_read"]) == (0, 1)


def test_duplicated_unexpected_and_refused_elements_of_any_read() -> None:
    assert fully(add(1), read([1, 1]), read([1])).anomalies == ["duplicated"]
    assert fully(add(1), read([1, 9]), read([1])).anomalies == ["unexpected"]
    assert fully(add(1), add(2, "fail"), read([1, 2])).anomalies == ["of-refused"]


def test_nothing_stable_and_nothing_lost_is_unknown() -> None:
    assert fully(add(1)).result == "unknown"
    assert fully(add(1), read(None)).result == "unknown"
    assert fully(read([]), add(1)).result == "unknown"
    only = History(history(*add(1), *read([1])).ops, realtime=False)
    assert set_full()(only).result == "unknown"


def element_or_read(f: str, value: int, seen: list[int], outcome: Any) -> dict[str, Any]:
    if f == "add":
        return {"f": f, "value": value, "outcome": outcome}
    return {"f": f, "result": seen, "outcome": outcome}


FIELDS = st.builds(
    element_or_read,
    st.sampled_from(["add", "read"]),
    st.integers(1, 3),
    st.sampled_from([[], [1], [1, 2], [1, 2, 3], [3, 2, 1], [2, 3], [2, 2], [1, 2, 3, 4]]),
    OUTCOMES,
)


def expected(history: History) -> tuple[set[str], dict[str, int]]:
    """The anomalies of set-full, and how many elements have which fate, by the definitions."""
    adds = [op for op in history.ops if op.f == "add"]
    reads = [op for op in history.ops if op.f == "read" and op.outcome == "ok"]
    maybe = {op.value for op in adds if op.outcome != "fail"}
    kinds: set[str] = set()
    fates = dict.fromkeys(("stable", "stale_elements", "never_read"), 0)
    for op in reads:
        if len(set(op.result)) < len(op.result):
            kinds.add("duplicated")
        for element in set(op.result) - maybe:
            kinds.add("of-refused" if any(a.value == element for a in adds) else "unexpected")
    for element in maybe:
        own = [op for op in adds if op.value == element and op.outcome != "fail"]
        shows = [op for op in reads if element in op.result]
        begun = min(op.index for op in own)
        misses = [op for op in reads if element not in op.result and (op.end_index or 0) > begun]
        present = max((op.index for op in shows), default=-1)
        absent = max((op.index for op in misses), default=-1)
        ends = [op.end_index or 0 for op in (*own, *shows) if op.outcome == "ok"]
        gone = bool(ends) and min(ends) < absent
        if present > absent:
            fates["stable"] += 1
            fates["stale_elements"] += gone
        elif gone:
            kinds.add("lost")
        else:
            fates["never_read"] += 1
    return kinds, fates


@settings(max_examples=250, deadline=None)
@given(overlapping(FIELDS, least=3, most=9, processes=4))
def test_set_full_agrees_with_the_definitions(history: History) -> None:
    verdict = set_full()(history)
    kinds, fates = expected(history)
    assert set(verdict.anomalies) == kinds
    assert {name: verdict.data[name] for name in fates} == fates
    strict = set_full(linearizable=True)(history)
    assert ("stale" in strict.anomalies) == (fates["stale_elements"] > 0)


@settings(max_examples=150, deadline=None)
@given(overlapping(FIELDS, least=3, most=8))
def test_set_agrees_with_the_definitions(history: History) -> None:
    adds = [op for op in history.ops if op.f == "add"]
    reads = [op for op in history.ops if op.f == "read" and op.outcome == "ok"]
    kinds: set[str] = set()
    if reads:
        last = max(reads, key=lambda op: op.end_index or 0)
        for op in adds:
            if op.outcome == "ok" and (op.end_index or 0) < last.index:
                kinds |= set() if op.value in last.result else {"lost"}
        for element in last.result:
            outcomes = {op.outcome for op in adds if op.value == element}
            if not outcomes - {"fail"}:
                kinds.add("of-refused" if outcomes else "unexpected")
    assert set(set_()(history).anomalies) == kinds


class Elements:
    """A set; its bugs: reads of a replica that is behind, and a crash that forgets the last ten."""

    def __init__(self, bug: str) -> None:
        self.bug = bug
        self.elements: list[Any] = []

    def answer(self, call: Call, process: int, now: int) -> Any:
        if call.f == "add":
            self.elements.append(call.value)
            if self.bug == "lost" and len(self.elements) % 40 == 0:
                del self.elements[-10:]
            return None
        behind = 3 if self.bug == "stale" and not call.node else 0
        return self.elements[: len(self.elements) - behind]


@pytest.mark.parametrize("bug", ["", "lost", "stale"])
def test_a_set_with_a_bug_is_caught(bug: str) -> None:
    def calls(rng: Random, number: int) -> Call:
        return Call("add", number) if rng.random() < 0.7 else Call("read")

    for seed in range(4):
        recorded = drive(Elements(bug), calls, seed=seed, final=[Call("read", node="primary")])
        assert set_()(recorded).anomalies == (["lost"] if bug == "lost" else [])
        assert set_full()(recorded).anomalies == (["lost"] if bug == "lost" else [])
        strict = set_full(linearizable=True)(recorded)
        assert (strict.anomaly or "") == bug
