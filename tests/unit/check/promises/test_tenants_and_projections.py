"""Tenants see their own data only, and read models follow in time."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check.promises import projection_lag, tenant_isolation
from harness.errors import UsageError
from harness.history import History, Op
from tests.support.overlaps import overlapping
from tests.support.services import MS, Call, drive
from tests.support.timelines import op, run


def listed(tenant: str, *items: Any, at: float = 1) -> Op:
    return op("list", tenant, "ok", at, result=list(items))


OF_A, OF_B = {"id": 1, "tenant": "a"}, {"id": 2, "tenant": "b"}


def test_a_leak_is_shown() -> None:
    verdict = tenant_isolation()(run([listed("a", OF_A, OF_B), listed("b", OF_B)]))
    assert (verdict.result, verdict.anomaly) == ("invalid", "leak")
    assert "answered 'a' with {'id': 2, 'tenant': 'b'} on node-1" in verdict.summary
    assert "which belongs to 'b'" in verdict.summary
    assert tenant_isolation()(run([listed("a", OF_A, {"id": 9}), listed("b", OF_B)])).valid


def test_tags_are_fields_or_functions() -> None:
    ops = [op("get", "a", "ok", 1, result="a/1"), op("get", "b", "ok", 2, result="a/2")]
    check = tenant_isolation(lambda item: item.partition("/")[0])
    assert check(run(ops)).anomaly == "leak"
    owner = [listed("a", {"owner": "a"}), listed("b", {"owner": "b"})]
    assert tenant_isolation("owner")(run(owner)).valid
    assert tenant_isolation()(run(owner)).result == "unknown"
    with pytest.raises(UsageError):
        tenant_isolation("")


def test_one_tenant_or_no_data_tests_nothing() -> None:
    assert tenant_isolation()(run([listed("a", OF_A)])).result == "unknown"
    assert tenant_isolation()(run([listed("a"), listed("b")])).result == "unknown"
    assert tenant_isolation()(run([op("list", "a", "info", 1)])).result == "unknown"


class Notes:
    """Notes by tenant; its bug keys a cache of answers by place alone."""

    def __init__(self, bug: bool) -> None:
        self.bug = bug
        self.notes: dict[Any, list[Any]] = {}
        self.cache: dict[Any, Any] = {}

    def answer(self, call: Call, process: int, now: int) -> Any:
        mine = self.notes.setdefault(call.key, [])
        if call.f == "add":
            mine.append({"id": call.value, "tenant": call.key})
            return None
        if self.bug and call.value in self.cache:
            return self.cache[call.value]
        self.cache[call.value] = mine[-5:]
        return mine[-5:]


@pytest.mark.parametrize("bug", [False, True])
def test_a_cache_without_tenants_is_caught(bug: bool) -> None:
    def calls(rng: Random, number: int) -> Call:
        return Call(rng.choice(["add", "page"]), number % 40, key=rng.choice("abc"))

    histories = [drive(Notes(bug), calls, seed=seed) for seed in range(5)]
    results = {tenant_isolation()(history).result for history in histories}
    assert results == {"invalid" if bug else "valid"}


def command(version: Any, at: float, **more: Any) -> Op:
    return op("command", "k", "ok", at, result=version, **more)


def query(version: Any, at: float, **more: Any) -> Op:
    return op("query", "k", "ok", at, result=version, **more)


LAG = projection_lag(within=0.5)


def test_what_was_acknowledged_is_shown_in_time() -> None:
    verdict = LAG(run([command(4, 1), command(5, 1.2), query(4, 1.5), query(5, 2)]))
    assert verdict.valid
    assert verdict.check == "projection_lag(within=0.5s)"
    assert verdict.data["lag_s"]["1"] == pytest.approx(0.8)
    late = LAG(run([command(5, 1), query(4, 2)]))
    assert (late.result, late.anomaly) == ("invalid", "late")
    assert "was shown version 4 of 'k' on node-1 at 2.000-2.010 s, though 5" in late.summary
    dicts = [command({"version": 5}, 1), query({"version": 4, "balance": 7}, 2)]
    assert LAG(run(dicts)).anomalies == ["late"]
    assert LAG(run([op("command", "k", "info", 1, result=5), query(4, 2)])).result == "unknown"


def test_a_node_never_shows_less_than_before() -> None:
    ops = [command(3, 0), query(7, 2), query(6, 3)]
    verdict = LAG(run(ops))
    assert (verdict.result, verdict.anomaly) == ("invalid", "went-back")
    assert verdict.summary.startswith("Process 0 was shown version 6 of 'k' on node-1 at 3.000")
    others = [command(3, 0), query(7, 2), query(6, 3, node="node-2")]
    assert LAG(run(others)).valid
    beside = [command(3, 0), query(7, 2, took_s=2), query(6, 3)]
    assert LAG(run(beside)).valid


def test_without_a_late_query_nothing_is_tested() -> None:
    assert LAG(run([command(5, 1), query(4, 1.2)])).result == "unknown"
    assert LAG(run([command(None, 1), query(4, 9)])).result == "unknown"
    with pytest.raises(UsageError):
        projection_lag(within=1, commands=())


FIELDS = st.fixed_dictionaries(
    {
        "f": st.sampled_from(["command", "query"]),
        "result": st.integers(1, 4),
        "outcome": st.sampled_from(["ok", "ok", "fail"]),
        "node": st.sampled_from(["node-1", "node-2"]),
    }
)


@settings(max_examples=150, deadline=None)
@given(overlapping(FIELDS, most=8), st.integers(1, 30))
def test_it_agrees_with_the_definitions(history: History, tens: int) -> None:
    within = tens * 1_000_000  # ns; durations are whole milliseconds
    scaled = [op for op in history.ops if op.outcome == "ok"]
    for one in scaled:
        one.start, one.end = one.start * 1000, (one.end or 0) * 1000
    verdict = projection_lag(within=within / 1e9)(History(scaled))
    kinds = set()
    for one in scaled:
        for two in scaled:
            if two.f == "query" and one.result > two.result:
                if one.f == "command" and two.start - (one.end or 0) >= within:
                    kinds.add("late")
                if one.f == "query" and one.node == two.node and (one.end or 0) < two.start:
                    kinds.add("went-back")
    assert set(verdict.anomalies) == kinds


class Ledger:
    """Commands, and a read model 20 ms behind; its bug is to begin again now and then."""

    def __init__(self, bug: bool) -> None:
        self.bug = bug
        self.applied: list[int] = []
        self.asked = 0

    def answer(self, call: Call, process: int, now: int) -> int:
        if call.f == "command":
            self.applied.append(now)
            return len(self.applied)
        self.asked += 1
        if self.bug and self.asked % 10 == 0:
            return 0
        return sum(moment <= now - 20 * MS for moment in self.applied)


@pytest.mark.parametrize("bug", [False, True])
def test_a_projection_that_begins_again_is_caught(bug: bool) -> None:
    def calls(rng: Random, number: int) -> Call:
        return Call(rng.choice(["command", "query"]), key="k")

    histories = [drive(Ledger(bug), calls, seed=seed) for seed in range(5)]
    anomalies = [projection_lag(within=0.02)(history).anomalies for history in histories]
    assert all(("went-back" in kinds) == bug for kinds in anomalies)
    assert bug or not any(anomalies)
