"""The verdicts agree with the definitions on every small history that Hypothesis can think of."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check.isolation import list_append, rw_register
from harness.history import History, Op
from tests.support.serial_orders import serializable, snapshot_isolated

KEYS = "xy"
EXAMPLES = 250


@st.composite
def observed_lists(draw: st.DrawFn, most: int = 4) -> History:
    """Transactions whose reads are prefixes of one order of appends for each key, any order that
    is. A last one reads all, so that the orders are known."""
    shapes = draw(
        st.lists(
            st.lists(st.sampled_from(["rx", "ry", "ax", "ay"]), min_size=1, max_size=3),
            min_size=2,
            max_size=most,
        )
    )
    appended: dict[str, list[int]] = {key: [] for key in KEYS}
    txns: list[list[list[Any]]] = []
    for shape in shapes:
        micros: list[list[Any]] = []
        for f, key in shape:
            value = len(appended[key]) + 1
            if f == "a":
                appended[key].append(value)
            micros.append([{"a": "append", "r": "r"}[f], key, value])
        txns.append(micros)
    order = {key: draw(st.permutations(values)) for key, values in appended.items()}
    for micros in txns:
        for micro in micros:
            if micro[0] == "r":
                # (Near the end, where most of what is right lies.)
                micro[2] = order[micro[1]][: draw(st.integers(0, len(order[micro[1]])))]
    ops = _overlapping(draw, txns)
    end = 4 * len(ops)
    ops.append(_op([["r", key, list(order[key])] for key in KEYS], len(ops), end, end + 1))
    return History(ops)


@st.composite
def mostly_sound(draw: st.DrawFn, registers: bool) -> History:
    """Transactions carried out one after another, of which one read or another is then wrong, some
    are without an answer and some failed."""
    shapes = draw(
        st.lists(
            st.lists(st.sampled_from(["rx", "ry", "wx", "wy"]), min_size=1, max_size=3),
            min_size=2,
            max_size=5,
        )
    )
    held: dict[str, list[int]] = {key: [] for key in KEYS}
    count = dict.fromkeys(KEYS, 0)
    txns: list[list[list[Any]]] = []
    outcomes: list[str] = []
    for shape in shapes:
        outcome = draw(st.sampled_from(["ok", "ok", "ok", "ok", "info", "info", "fail"]))
        lost = outcome == "fail" or (outcome == "info" and draw(st.booleans()))
        state = {key: list(values) for key, values in held.items()}
        micros: list[list[Any]] = []
        for f, key in shape:
            if f == "w":
                count[key] += 1
                state[key].append(count[key])
                micros.append(["w" if registers else "append", key, count[key]])
                continue
            told = state[key]
            if draw(st.integers(0, 2)) == 2:
                told = told[: draw(st.integers(0, len(told)))]
            micros.append(["r", key, (told[-1] if told else None) if registers else list(told)])
        if not lost:
            held = state
        txns.append(micros)
        outcomes.append(outcome)
    ops = _overlapping(draw, txns)
    for op, outcome in zip(ops, outcomes, strict=True):
        op.outcome = outcome  # type: ignore[assignment]
        if outcome != "ok":
            op.result = None
        if outcome == "info":
            op.end = op.end_index = None
    return History(ops)


def _judge(history: History, seen: Counter[tuple[str, bool]]) -> None:
    """Lists of which all is known: their verdicts are exact."""
    expected = {
        "serializable": serializable(history.ops),
        "strict-serializable": serializable(history.ops, realtime=True),
        "snapshot-isolation": snapshot_isolated(history.ops),
    }
    for model, legal in expected.items():
        verdict = list_append(model)(history)
        if verdict.result == "unknown":
            assert legal
            assert verdict.anomaly == "empty-transaction-graph"
        else:
            assert verdict.result == ("valid" if legal else "invalid"), (model, verdict)
            seen[model, legal] += 1


def test_lists_of_known_order_are_judged_exactly() -> None:
    seen: Counter[tuple[str, bool]] = Counter()

    @settings(max_examples=130, deadline=None, derandomize=True)
    @given(observed_lists())
    def agrees(history: History) -> None:
        _judge(history, seen)

    agrees()
    assert min(seen.values()) >= 12
    assert len(seen) == 6


def test_snapshots_and_serial_orders_are_told_apart() -> None:
    stream, seen = random.Random(4), Counter[tuple[str, bool]]()
    for _ in range(EXAMPLES):
        _judge(_reading_and_writing(stream), seen)
    assert len(seen) == 6
    skews = seen["snapshot-isolation", True] - seen["serializable", True]
    assert skews >= 20


def _reading_and_writing(stream: random.Random) -> History:
    """Transactions that read one thing and append to another, of snapshots that may be old."""
    order: dict[str, list[int]] = {key: [] for key in KEYS}
    states: list[dict[str, list[int]]] = [{key: [] for key in KEYS}]
    ops: list[Op] = []
    for place in range(stream.randint(2, 4)):
        seen = states[max(0, len(states) - stream.choice([1, 1, 2, 2, 3]))]
        micros: list[list[Any]] = [
            ["r", key, list(seen[key])] for key in KEYS if stream.random() < 0.7
        ]
        key = stream.choice(KEYS)
        order[key].append(len(order[key]) + 1)
        micros.append(["append", key, len(order[key])])
        states.append({key: list(values) for key, values in order.items()})
        ops.append(_op(micros, place, 4 * place, 4 * place + stream.choice([1, 6, 11])))
    end = 4 * len(ops) + 12
    ops.append(_op([["r", key, list(order[key])] for key in KEYS], len(ops), end, end + 1))
    return History(ops)


@pytest.mark.parametrize("registers", [False, True])
def test_what_has_a_serial_order_is_never_invalid(registers: bool) -> None:
    seen: dict[tuple[bool, str], int] = {}

    @settings(max_examples=160, deadline=None, derandomize=True)
    @given(mostly_sound(registers))
    def agrees(history: History) -> None:
        ops = history.ops
        plain = serializable(ops, registers=registers)
        strict = plain and serializable(ops, registers=registers, realtime=True)
        isolated = plain or snapshot_isolated(ops, registers=registers)
        for model, legal in (
            ("serializable", plain),
            ("strict-serializable", strict),
            ("snapshot-isolation", isolated),
        ):
            check = rw_register(model) if registers else list_append(model)
            result = check(history).result
            assert not (legal and result == "invalid"), (model, check(history))
            seen[legal, result] = seen.get((legal, result), 0) + 1
        if registers and strict:
            check = rw_register(linearizable_keys=True, wfr_keys=True, sequential_keys=True)
            assert check(history).result != "invalid", check(history)

    agrees()
    assert seen.get((True, "valid"), 0) >= 50
    assert seen.get((False, "invalid"), 0) >= 10


def _overlapping(draw: st.DrawFn, txns: list[list[list[Any]]]) -> list[Op]:
    """Transactions in the order given, each of which may last beyond the next ones."""
    ops = []
    for place, micros in enumerate(txns):
        begin = 4 * place
        ops.append(_op(micros, place, begin, begin + draw(st.sampled_from([1, 1, 6, 11]))))
    return ops


def _op(micros: list[list[Any]], process: int, begin: int, end: int) -> Op:
    asked = [[f, key, None if f == "r" else value] for f, key, value in micros]
    # (Ends are odd and beginnings even; two that end together are told apart by the process.)
    return Op(process, "txn", None, asked, "ok", micros, begin, end, begin, end)
