"""Counters, banks and unique ids."""

from __future__ import annotations

from itertools import chain, combinations
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check.verdict import Verdict
from harness.check.workloads import bank, counter, unique_ids
from harness.history import History, Op
from tests.support.histories import history
from tests.support.overlaps import OUTCOMES, overlapping
from tests.support.services import Call, RefusedError, drive


def did(f: str, value: Any = None, result: Any = None, kind: str = "ok") -> list[tuple[Any, ...]]:
    return [(0, "invoke", f, value), (0, kind, f, result)]


def judged(check: Any, *lines: list[tuple[Any, ...]]) -> Verdict:
    verdict: Verdict = check(history(*chain.from_iterable(lines)))
    return verdict


def test_reads_of_a_counter_lie_within_its_bounds() -> None:
    assert judged(counter(), did("add", 2), did("read", None, 2)).valid
    low = judged(counter(), did("add", 2), did("read", None, 1))
    assert (low.result, low.anomaly) == ("invalid", "lost-increment")
    assert "read 1 of key 'x' on node-0" in low.summary
    assert "but at least 2 had been acknowledged" in low.summary
    high = judged(counter(), did("add", 2), did("read", None, 3))
    assert (high.anomaly, "but 2 is the most" in high.summary) == ("phantom-increment", True)
    assert judged(counter(), did("inc"), did("dec", 3), did("read", None, -2)).valid
    assert judged(counter(initial=5), did("inc"), did("read", None, 6)).valid
    assert judged(
        counter(), did("add", 2, kind="fail"), did("add", 1), did("read", None, 3)
    ).anomaly
    beside = [(1, "invoke", "add", 4), *did("read", None, 4), (1, "ok", "add", 4)]
    assert judged(counter(), beside).valid


def test_a_counter_without_reads_or_adds_tests_nothing() -> None:
    assert judged(counter(), did("add", 2)).result == "unknown"
    assert judged(counter(), did("read", None, 0)).result == "unknown"
    assert judged(counter(), did("read", None, 1)).anomaly == "phantom-increment"
    assert judged(counter(), did("add", 2), did("read", None, None)).result == "unknown"


FIELDS = st.one_of(
    st.builds(
        lambda f, value, outcome: {"f": f, "value": value, "outcome": outcome},
        st.sampled_from(["add", "dec"]),
        st.integers(-2, 3),
        OUTCOMES,
    ),
    st.builds(lambda off: {"f": "read", "result": off}, st.sampled_from([0, 0, 0, 0, 1, -1])),
)


def sums(history: History, read: Op) -> set[int]:
    """All sums that some choice of the adds which may have happened leads to."""
    must, may = 0, []
    for op in history.ops:
        amount = (op.value or 0) * (1 if op.f == "add" else -1)
        if op.f == "read" or op.outcome == "fail" or op.index > (read.end_index or 0):
            continue
        if op.outcome == "ok" and (op.end_index or 0) < read.index:
            must += amount
        else:
            may.append(amount)
    choices = chain.from_iterable(combinations(may, n) for n in range(len(may) + 1))
    return {must + sum(choice) for choice in choices}


@settings(max_examples=200, deadline=None)
@given(overlapping(FIELDS, most=8))
def test_the_bounds_are_those_of_all_choices(history: History) -> None:
    kinds = set()
    for place, op in enumerate(history.ops):
        if op.f == "read":
            # Most are right on a bound, the others one beside it.
            op.result += (min, max)[place % 2](sums(history, op))
            kinds |= {"lost-increment"} if op.result < min(sums(history, op)) else set()
            kinds |= {"phantom-increment"} if op.result > max(sums(history, op)) else set()
    assert set(counter()(history).anomalies) == kinds


class Count:
    """A counter; its bug: two increments that meet count as one."""

    def __init__(self, bug: bool) -> None:
        self.bug = bug
        self.total = 0
        self.last = 0

    def answer(self, call: Call, process: int, now: int) -> Any:
        if call.f == "read":
            return self.total
        if not self.bug or now - self.last > 3_000_000:
            self.total += call.value
        self.last = now
        return None


@pytest.mark.parametrize("bug", [False, True])
def test_a_counter_that_loses_increments_is_caught(bug: bool) -> None:
    def calls(rng: Random, number: int) -> Call:
        return Call("add", rng.randint(1, 3)) if rng.random() < 0.7 else Call("read")

    for seed in range(4):
        verdict = counter()(drive(Count(bug), calls, seed=seed))
        assert verdict.anomalies == (["lost-increment"] if bug else [])


def balances(told: Any) -> list[tuple[Any, ...]]:
    return did("read", None, told)


def test_the_total_stays_the_same() -> None:
    transfer = did("transfer", {"from": 1, "to": 2, "amount": 3})
    verdict = judged(bank(), balances({1: 5, 2: 5}), transfer, balances({1: 2, 2: 8}))
    assert (verdict.result, verdict.data["total"], verdict.data["transfers"]) == ("valid", 10, 1)
    wrong = judged(bank(), balances({"1": 5, "2": 5}), balances({"1": 2, "2": 5}))
    assert (wrong.result, wrong.anomaly) == ("invalid", "wrong-total")
    assert "read balances of 7 in all instead of 10 on node-0 at 0.200-0.300 s" in wrong.summary
    assert judged(bank(total=8), balances([4, 4]), balances([3, 5])).valid
    assert judged(bank(total=9), balances([4, 4])).anomaly == "wrong-total"


def test_accounts_and_balances() -> None:
    first = balances({"a": 5, "b": 0})
    assert judged(bank(), first, balances({"a": 5, "b": 0, "c": 0})).anomaly == "unexpected-account"
    assert judged(bank(), first, balances({"a": 4})).anomaly == "wrong-total"
    assert judged(bank(), first, balances({"a": 5})).result == "valid"
    assert judged(bank(accounts=["a", "b", "c"]), first).anomaly == "missing-account"
    assert judged(bank(), first, balances({"a": 5, "b": None})).anomaly == "nil-balance"
    assert judged(bank(), first, balances({"a": 6, "b": -1})).anomaly == "negative-balance"
    assert judged(bank(negative_balances=True), first, balances({"a": 6, "b": -1})).valid
    assert judged(bank(), balances(None), first, balances("?")).data["reads"] == 1
    assert judged(bank(), balances([["a", 0.1], ["b", 0.2]]), balances({"b": 0.1, "a": 0.2})).valid
    thirds = [0.1, 0.2, 0.3]
    assert judged(bank(), balances(thirds), balances(thirds[::-1])).valid
    assert judged(bank(), did("transfer")).result == "unknown"
    assert (
        judged(bank(), [(0, "invoke", "read", None), (0, "info", "read", None)]).result == "unknown"
    )


def test_the_first_answer_is_the_one_that_ended_first() -> None:
    overlapped = [(1, "invoke", "read", None), *balances({"a": 5}), (1, "ok", "read", {"a": 4})]
    assert "balances of 4 in all instead of 5" in judged(bank(), overlapped).summary


class Accounts:
    """Four accounts; its bug: reads see money in flight."""

    def __init__(self, bug: bool) -> None:
        self.bug = bug
        self.amounts = [10, 10, 10, 10]
        self.flying: list[tuple[int, int, int]] = []

    def answer(self, call: Call, process: int, now: int) -> Any:
        if call.f == "read":
            return {str(place): amount for place, amount in enumerate(self.amounts)}
        self.amounts[call.value["to"]] += sum(
            amount for to, amount, _since in self.flying if to == call.value["to"]
        )
        self.flying = [one for one in self.flying if one[0] != call.value["to"]]
        if self.amounts[call.value["from"]] < call.value["amount"]:
            raise RefusedError
        self.amounts[call.value["from"]] -= call.value["amount"]
        if self.bug:
            self.flying.append((call.value["to"], call.value["amount"], now))
        else:
            self.amounts[call.value["to"]] += call.value["amount"]
        return None


@pytest.mark.parametrize("bug", [False, True])
def test_a_bank_with_money_in_flight_is_caught(bug: bool) -> None:
    def calls(rng: Random, number: int) -> Call:
        if number == 0 or rng.random() < 0.4:
            return Call("read")
        one, other = rng.sample(range(4), 2)
        return Call("transfer", {"from": one, "to": other, "amount": rng.randint(1, 4)})

    for seed in range(4):
        verdict = bank(total=40)(drive(Accounts(bug), calls, seed=seed))
        assert verdict.anomalies == (["wrong-total"] if bug else [])


def test_ids_are_given_once() -> None:
    ids = [did("generate", None, one) for one in (7, 8, 7, [1, "a"], [1, "a"])]
    assert judged(unique_ids(), *ids[:2]).valid
    verdict = judged(unique_ids(), *ids)
    assert (verdict.result, verdict.data["duplicated"]) == ("invalid", 2)
    assert "was given 7 on node-0" in verdict.summary
    assert judged(unique_ids(), ids[0], did("generate", kind="fail")).result == "unknown"


class Ids:
    """Ids from the clock and a count; its bug leaves the count out."""

    def __init__(self, bug: bool) -> None:
        self.bug = bug
        self.count = 0

    def answer(self, call: Call, process: int, now: int) -> Any:
        self.count += 1
        return [now // 5_000_000, 0 if self.bug else self.count]


@pytest.mark.parametrize("bug", [False, True])
def test_ids_from_the_clock_alone_are_caught(bug: bool) -> None:
    recorded = drive(Ids(bug), lambda rng, number: Call("generate"))
    assert unique_ids()(recorded).anomalies == (["duplicated"] if bug else [])
