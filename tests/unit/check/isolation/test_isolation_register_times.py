"""Registers in real time: what each key for itself cannot have been is found, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check import linearizable
from harness.check.isolation import rw_register
from harness.history import History, Op
from tests.support.serial_orders import serializable
from tests.support.transactions import txn

KIND = "G-single-item-realtime"
STALE = History(
    [
        txn("wx1", 0, 1, process=0),
        txn("wx2", 2, 3, process=1),
        txn("rx=1", 4, 5, process=2),
    ]
)


@pytest.mark.parametrize(
    ("model", "result"),
    [
        ("strict-serializable", "invalid"),
        ("strong-snapshot-isolation", "invalid"),
        ("strong-session-serializable", "valid"),
        ("serializable", "valid"),
    ],
)
def test_a_stale_read_is_what_strong_models_exclude(model: str, result: str) -> None:
    verdict = rw_register(model)(STALE)
    assert verdict.result == result
    if result == "invalid":
        assert verdict.anomalies == [KIND]
        assert verdict.data["not"] == ["strong-snapshot-isolation"]
        assert "process 2 read 1 at #4-#5" in verdict.summary
        assert [op["name"] for op in verdict.data["ops"]] == ["T1", "T2", "T3"]
        assert len(verdict.evidence.splitlines()) == 4


@pytest.mark.parametrize(
    ("model", "anomalies"),
    [
        ("strict-serializable", ["G2-item-realtime"]),
        ("strong-snapshot-isolation", []),
        ("strong-read-committed", []),
        ("serializable", []),
    ],
)
def test_a_write_skew_shows_where_keys_advance_in_real_time(
    model: str, anomalies: list[str]
) -> None:
    skew = [
        txn("wx1 wy1", 0, 1, process=0),
        txn("rx=1 wy2", 2, 4, process=1),
        txn("ry=1 wx2", 3, 5, process=2),
    ]
    verdict = rw_register(model)(History(skew))
    assert verdict.anomalies == anomalies
    assert verdict.data["not"] == (["strict-serializable"] if anomalies else [])
    if anomalies:
        assert "T1 read 'x' = 1 before T2 wrote 2, so T1 < T2 (rw)" in verdict.evidence
        assert [edge["kind"] for edge in verdict.data["edges"]] == ["rw", "rw"]


def test_without_real_time_nothing_is_held_against_it() -> None:
    assert rw_register()(History(STALE.ops, realtime=False)).result != "invalid"


def test_an_update_is_one_step() -> None:
    lost = [
        txn("wx1", 0, 1, process=0),
        txn("rx=1 wx2", 2, 3, process=1),
        txn("rx=1", 4, 5, process=2),
    ]
    assert rw_register()(History(lost)).anomalies == [KIND]
    beside = [*lost[:2], txn("rx=1", 3, 5, process=2)]
    beside[1].end = beside[1].end_index = 4
    assert rw_register()(History(beside)).valid


@st.composite
def registers_read_at_random(draw: st.DrawFn, micros: int, keys: str) -> History:
    """Up to six transactions that overlap at random, and read any value that anybody writes."""
    shapes = draw(
        st.lists(
            st.lists(
                st.sampled_from([f + key for f in "rrw" for key in keys]),
                min_size=1,
                max_size=micros,
            ),
            min_size=4,
            max_size=7,
        )
    )
    written = dict.fromkeys(keys, 0)
    ops: list[Op] = []
    lasting = [draw(st.integers(0, 3)) for _ in shapes]
    moments = sorted(
        moment
        for place, length in enumerate(lasting)
        for moment in ((2 * place, 0, place), (2 * (place + length), 1, place))
    )
    at = {(place, end): index for index, (_, end, place) in enumerate(moments)}
    for place, shape in enumerate(shapes):
        start, end = at[place, 0], at[place, 1]
        told: list[list[Any]] = []
        for f, key in dict.fromkeys(shape):
            written[key] += f == "w"
            told.append([f, key, written[key] if f == "w" else None])
        pending = draw(st.integers(0, 5)) == 0
        ops.append(
            Op(
                len(ops),
                "txn",
                None,
                [list(micro) for micro in told],
                "info" if pending else "ok",
                None if pending else told,
                start,
                None if pending else end,
                start,
                None if pending else end,
            )
        )
    for op in ops:
        for micro in op.result or ():
            if micro[0] == "r":
                seen = draw(st.integers(0, written[micro[1]]))
                micro[2] = seen or None
    return History(ops)


@settings(max_examples=100, deadline=None)
@given(registers_read_at_random(2, "xy"))
def test_nothing_is_excluded_that_some_order_explains(history: History) -> None:
    verdict = rw_register()(history)
    if serializable(history.ops, registers=True, realtime=True):
        assert verdict.result != "invalid", verdict.evidence


@settings(max_examples=100, deadline=None)
@given(registers_read_at_random(1, "x"))
def test_a_key_of_single_reads_and_writes_is_judged_exactly(history: History) -> None:
    singles = [
        Op(
            op.process,
            {"r": "read", "w": "write"}[op.value[0][0]],
            None,
            op.value[0][2],
            op.outcome,
            op.result and op.result[0][2],
            op.start,
            op.end,
            op.index,
            op.end_index,
        )
        for op in history.ops
    ]
    alone = linearizable("register")(History(singles))
    assert (rw_register()(history).result == "invalid") == (alone.result == "invalid")
