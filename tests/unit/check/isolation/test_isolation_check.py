"""What the checks of isolation do at the edges: unfit histories, limits, evidence, options."""

from __future__ import annotations

import gc
import subprocess
import sys
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check import Check
from harness.check.budget import Budget
from harness.check.isolation import list_append, rw_register
from harness.history import History, Op
from tests.support.databases import Database, StaleReads, simulate
from tests.support.transactions import after, at_once, txn

BOTH = pytest.mark.parametrize("make", [list_append, rw_register])


def history(*texts: str) -> History:
    return History(at_once(*texts))


@BOTH
def test_nothing_was_tested(make: Any) -> None:
    empty = [[], [_op([])], [_op([["r", "x", None]])], [_op([["r", "x", None]]) for _ in range(3)]]
    for ops in empty:
        verdict = make()(History(ops))
        assert (verdict.result, verdict.anomaly) == ("unknown", "empty-transaction-graph")
        assert "Nothing was tested" in verdict.summary


JUNK = st.sampled_from(
    [None, True, 0, -1, 1.5, "x", "r", "append", "w", [], {}, [1], ["r"], ["w", "x"], float("nan")]
)
MICROS = st.lists(
    st.tuples(
        st.sampled_from(["r", "append", "w", "read"]) | JUNK,
        st.sampled_from(["x", "y"]) | JUNK,
        st.integers(0, 3) | st.lists(st.integers(0, 3) | JUNK, max_size=3) | JUNK,
    ).map(list)
    | JUNK,
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(MICROS | JUNK, st.sampled_from(["ok", "fail", "info"])), max_size=5),
    st.booleans(),
)
def test_no_history_makes_them_raise(txns: list[tuple[Any, Any]], realtime: bool) -> None:
    ops = [
        Op(n, "txn", None, told, outcome, told, n, n + 1, 2 * n, 2 * n + 1)
        for n, (told, outcome) in enumerate(txns)
    ]
    checks: list[Check] = [
        list_append(),
        list_append("strong-session-serializable", transaction_order={0: 1, 2: 0}),
        rw_register(),
        rw_register(initial=0, sequential_keys=True, linearizable_keys=True, wfr_keys=True),
    ]
    for check in checks:
        verdict = check(History(ops, realtime=realtime))
        assert "\n" not in verdict.summary
        assert verdict.summary.endswith(".")
        assert (verdict.result == "invalid") == bool(verdict.evidence)
        assert len(verdict.evidence.splitlines()) <= 15
        verdict.to_json()


@pytest.mark.parametrize(
    ("make", "texts", "why"),
    [
        (list_append, ["wx1", "rx1"], "neither"),
        (rw_register, ["ax1", "rx=1"], "neither"),
        (list_append, ["ax1", "ax1"], "written once only"),
        (list_append, ["!ax1", "ax1"], "written once only"),
        (list_append, ["ax1 rx=3"], "no list"),
        (rw_register, ["wx1", "?wx1", "rx=1"], "written once only"),
        (partial(rw_register, initial=1), ["wx1", "rx=1"], "written once only"),
    ],
)
def test_histories_that_do_not_fit(make: Any, texts: list[str], why: str) -> None:
    verdict = make()(history(*texts))
    assert (verdict.result, verdict.anomaly) == ("unknown", None)
    assert why in verdict.summary


def test_a_value_written_again_that_nobody_read_or_that_failed_the_first_time() -> None:
    assert rw_register()(history("wx1", "wx1", "wx2", "rx=2")).valid
    assert rw_register()(history("!wx1", "wx1", "rx=1")).valid
    assert rw_register()(history("wx1 wx2 wx1", "rx=1")).valid


@BOTH
def test_an_answer_that_is_missing(make: Any) -> None:
    write = "append" if make is list_append else "w"
    writer = _op([[write, "x", 1]])
    writer.result = None
    reader = _op([["r", "x", [1] if make is list_append else 1]])
    assert make()(History([writer, reader])).valid
    reader.value, reader.result = [["r", "x", None]], None
    assert "not in the history" in make()(History([writer, reader])).summary


@BOTH
def test_keys_and_values_that_cannot_be_hashed(make: Any) -> None:
    lists = make is list_append
    write = "append" if lists else "w"
    key = {"table": [1, 2]}
    ops = [
        _op([[write, key, [1]]]),
        _op([["r", key, [[1]] if lists else [1]], ["r", "y", None]]),
        _op([[write, "y", {"a": 1}]]),
    ]
    assert make("serializable")(History(ops)).valid
    ops[1].result = [["r", key, [[2]] if lists else [2]], ["r", "y", None]]
    verdict = make("serializable")(History(ops))
    assert verdict.anomalies[0] == "phantom-read"
    assert "nobody ever" in verdict.summary


def test_a_list_that_begins_in_the_middle() -> None:
    assert list_append()(history("<rx78", "<ax1 rx781", "rx781")).valid
    # An empty key, or a read that does not begin so: then 7 and 8 came out of nowhere.
    for texts in (
        ["<rx78", "<ax1 rx781", "ry"],
        ["<rx78", "<ax1", "rx17"],
        ["<rx7", "<ax1", "rx781"],
        ["<ax1", "rx781"],
    ):
        verdict = list_append("read-uncommitted")(history(*texts))
        assert verdict.anomaly == "phantom-read", texts
        assert "nobody" in verdict.summary


def test_a_register_that_begins_in_the_middle() -> None:
    begun = ["<rx=7", "<rx=7 wx1", "rx=1"]
    assert rw_register()(history(*begun)).valid
    assert rw_register(initial=7)(history(*begun)).valid
    for check, texts in (
        (rw_register(initial=0), begun),
        (rw_register(initial=None), begun),
        (rw_register(), [*begun, "ry="]),
        (rw_register(), ["<wx1", "<rx=7", "rx=1"]),
        (rw_register(), ["<rx=7", "<rx=8", "rx=7"]),
    ):
        assert check(history(*texts)).anomaly == "phantom-read", texts


def test_the_initial_value_comes_first() -> None:
    texts = ["wx1 wy1", "rx=1 ry=0"]
    assert rw_register("serializable", initial=0)(history(*texts)).anomalies == ["G-single-item"]
    assert rw_register("serializable")(history(*texts, "ry=")).anomalies == ["phantom-read"]


@pytest.mark.parametrize(
    ("texts", "assumed", "found"),
    [
        (["<wx1", "<wx2 wy1", "rx=1 ry=1"], {}, []),
        (["<wx1", "<wx2 wy1", "rx=1 ry=1"], {"linearizable_keys": True}, ["cyclic-versions"]),
        (["wx1", "rx=1 wx2 wy1", "rx=1 ry=1"], {}, []),
        (["wx1", "rx=1 wx2 wy1", "rx=1 ry=1"], {"wfr_keys": True}, ["G-single-item"]),
        (["<wx1", "wx2 wy1", "ry=1 rx=1"], {"sequential_keys": True}, ["G-single-item"]),
    ],
)
def test_what_is_assumed_of_registers(
    texts: list[str], assumed: dict[str, bool], found: list[str]
) -> None:
    ops = at_once(*texts)
    assert rw_register("serializable", **assumed)(History(ops)).anomalies == found  # type: ignore[arg-type]


def test_a_given_order_is_as_good_as_the_data() -> None:
    ops = at_once("rx ay1", "ax1")
    assert list_append("serializable")(History(ops)).valid
    assert list_append("serializable", transaction_order={0: 1, 10: 2})(History(ops)).valid
    for ranks in ({10: 1, 0: 2}, {21: 1, 20: 2}):  # (by invocation, by completion)
        verdict = list_append("serializable", transaction_order=ranks)(History(ops))
        assert verdict.anomalies == ["G-single-item"]
    assert "in the given order" in verdict.evidence


def test_without_real_time_only_the_data_and_the_processes_count() -> None:
    late = at_once("<ax1", "rx")
    assert not list_append()(History(late)).valid
    assert list_append()(History(late, realtime=False)).valid
    verdict = list_append("strong-session-serializable")(History(late, realtime=False))
    assert verdict.anomalies == ["G-single-item-process"]
    assert "process 0 carried out T1 before T2" in verdict.evidence


def test_several_models_and_anomalies_besides() -> None:
    history_ = history("rx ay1", "ry ax1")
    assert list_append("read-committed")(history_).valid
    assert list_append("read-committed", anomalies=["G2"])(history_).anomalies == ["G2-item"]
    assert not list_append(["read-committed", "serializable"])(history_).valid


def test_unknown_answers_never_make_a_history_illegal() -> None:
    assert list_append()(history("?ax1", "<ax2", "rx2")).valid
    assert list_append()(history("<ax2", "?ax1 rx", "rx21")).valid


def test_the_evidence_of_a_cycle() -> None:
    verdict = list_append("serializable")(history("ax1 ay1 az1", "rx1 ry"))
    assert verdict.summary == (
        "G-single-item rules out consistent-view and repeatable-read: "
        "T1 < T2 < T1: a cycle of 2 transactions."
    )
    assert [line.strip() for line in verdict.evidence.splitlines()] == [
        "G-single-item: T1 < T2 < T1: a cycle of 2 transactions.",
        "T1  op 0   #0-#20   process 0    append 'x' 1, append 'y' 1 (+1)",
        "T2  op 10  #10-#21  process 1    r 'x' [1], r 'y' []",
        "T2 read 'x' = [1], where T1 had appended 1, so T1 < T2 (wr)",
        "T2 read 'y' = [] before T1 appended 1, so T2 < T1 (rw)",
        "so none of them can have been first.",
    ]
    assert [edge["kind"] for edge in verdict.data["edges"]] == ["wr", "rw"]
    orjson.dumps(verdict.to_json())


def test_the_evidence_of_what_needs_no_cycle() -> None:
    verdict = list_append("read-committed")(history("!ax1", "ax2", "rx12 ry"))
    assert verdict.anomalies == ["dirty-update", "G1a"]
    assert [line.strip() for line in verdict.evidence.splitlines()] == [
        "dirty-update: T2 appended 2 to 'x' on top of 1, which T1 had appended, and T1 failed.",
        "T1  op 0   #0-#30   process 0  failed  append 'x' 1",
        "T2  op 10  #10-#31  process 1          append 'x' 2",
    ]
    assert verdict.data["cases"] == {"dirty-update": 1, "G1a": 1}
    assert verdict.data["ops"][0]["outcome"] == "fail"


def test_a_long_cycle_is_told_in_short() -> None:
    ring = [txn(f"a{chr(97 + n)}1 r{chr(97 + (n + 1) % 26)}1", n, 99 + n) for n in range(26)]
    verdict = list_append("serializable")(History(ring))
    assert verdict.anomalies == ["G1c"]
    assert len(verdict.evidence.splitlines()) <= 15
    assert "a cycle of 26 transactions" in verdict.evidence


FANS = {
    list_append: ([f"rx ay{n}" for n in range(12)], [f"ry ax{n}" for n in range(12)]),
    rw_register: ([f"rx= wy{n}" for n in range(12)], [f"ry= wx{n}" for n in range(12)]),
}


@BOTH
def test_many_who_read_what_many_replaced(make: Any) -> None:
    skewed = history(*FANS[make][0], *FANS[make][1])
    assert make("snapshot-isolation")(skewed).valid
    verdict = make("serializable")(skewed)
    assert verdict.anomalies == ["G2-item"]
    assert "T1 < T2 < T1: a cycle of 2 transactions" in verdict.summary
    assert verdict.evidence.count("(rw)") == 2


@BOTH
def test_many_who_read_and_replaced_the_same(make: Any) -> None:
    empty, write = ("rx", "ax") if make is list_append else ("rx=", "wx")
    both = [f"{empty} {write}{n}" for n in range(12)]
    assert make("serializable")(history(*both)).anomalies == ["lost-update", "G2-item"]
    # One alone does not precede itself, however many readers and blind writers there are.
    readers, writers = [empty] * 12, [f"{write}{n}" for n in range(1, 13)]
    assert make("serializable")(history(both[0], *readers, *writers)).valid


@pytest.mark.parametrize("limit", ["time", "memory"])
def test_over_the_limit_is_unknown(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Budget, "exceeded", lambda _: limit)
    verdict = list_append()(simulate(Database, 1, count=300))
    assert (verdict.result, verdict.anomaly) == ("unknown", None)
    assert {"time": "timeout=", "memory": "memory="}[limit] in verdict.summary
    assert verdict.data["undecided"]
    assert gc.isenabled()


def test_what_was_found_before_the_limit_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.check.budget import OverBudgetError
    from harness.check.isolation import check

    def stop(*_: object) -> None:
        raise OverBudgetError("time")

    monkeypatch.setattr(check, "search", stop)
    verdict = list_append()(history("!ax1", "rx1", "ax2"))
    assert (verdict.result, verdict.anomaly) == ("invalid", "G1a")
    assert "timeout=" in verdict.data["undecided"]
    assert list_append()(history("ax1", "rx1")).result == "unknown"


def test_large_knots_of_cycles_are_decided() -> None:
    verdict = list_append()(simulate(StaleReads, 3, count=1500))
    assert verdict.anomalies == ["G-single-item-realtime"]


def test_in_the_midst_of_much_else() -> None:
    verdict = list_append()(after(simulate(Database, 2, count=500), at_once("ax1 ry1", "ay1 rx1")))
    assert verdict.anomalies == ["G1c"]


def test_importing_the_checks_loads_nothing_heavy() -> None:
    code = "import sys, harness.check.isolation as i; i.list_append; print('numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "False"


def _op(micros: list[list[Any]]) -> Op:
    return Op(0, "txn", None, micros, "ok", micros, 0, 0, 0, 0)
