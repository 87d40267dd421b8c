"""The search agrees with the definition on every small history that Hypothesis can think of."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check import linearizable
from harness.check.budget import Budget
from harness.check.models import INCONSISTENT, CasRegister, Entry, Model, Register
from harness.check.search import Found, Search
from harness.history import MISMATCH, History, Op, Record, RecordType
from tests.support.brute import has_legal_order

MAX_OPS = 7


@st.composite
def histories(draw: st.DrawFn, functions: tuple[str, ...], values: int) -> History:
    """Up to `MAX_OPS` ops of some processes. A large `values` makes most written values unique."""
    value = st.integers(0, values)
    seen = st.none() | value
    records: list[Record] = []
    open_ops: dict[int, tuple[str, object]] = {}
    fresh = draw(st.integers(1, 4))
    idle, begun = list(range(fresh)), 0
    while open_ops or begun < MAX_OPS:
        begin = begun < MAX_OPS and idle and (not open_ops or draw(st.booleans()))
        index = len(records)
        if begin:
            process = idle.pop(draw(st.integers(0, len(idle) - 1)))
            f = draw(st.sampled_from(functions))
            asked = {"read": st.none(), "write": value, "cas": st.tuples(seen, value)}[f]
            open_ops[process] = (f, draw(asked))
            records.append(Record(index, index, process, "invoke", f, "x", open_ops[process][1]))
            begun += 1
            continue
        process = draw(st.sampled_from(sorted(open_ops)))
        f, asked_value = open_ops.pop(process)
        kinds: list[RecordType] = ["ok", "ok", "ok", "info", "fail"]
        kind = draw(st.sampled_from(kinds))
        error = MISMATCH if kind == "fail" and f == "cas" and draw(st.booleans()) else None
        answer = draw(seen) if f == "read" and kind == "ok" else asked_value
        records.append(Record(index, index, process, kind, f, "x", answer, error=error))
        if kind == "info":
            process = fresh
            fresh += 1
        idle.append(process)
        if begun == MAX_OPS and draw(st.booleans()):
            break  # (what is still open stays pending)
    return History.of(records)


REGISTER = histories(("read", "write"), 2)
CAS_REGISTER = histories(("read", "write", "cas"), 2) | histories(("read", "write", "cas"), 6)


class Plain(Model):
    """A register without any of the register's shortcuts: the search on its own."""

    name = "plain"
    initial = None

    def step(self, state: Any, op: Op) -> Any:
        return CasRegister().step(state, op)

    def told(self, ops: Sequence[Op]) -> Sequence[Op]:
        told = [op for op in ops if op.outcome != "fail" or op.error == MISMATCH]
        return [op for op in told if op.outcome != "info" or op.f != "read"]

    def entries(self, told: Sequence[Op]) -> list[Entry]:
        return [Entry(op, op, op.index, op.end_index) for op in told]


@pytest.mark.parametrize("model", [Register(), CasRegister()], ids=lambda model: model.name)
def test_register_models_agree_with_the_definition_on_reads_and_writes(model: Model) -> None:
    @settings(max_examples=100, deadline=None)
    @given(REGISTER)
    def agrees(history: History) -> None:
        _assert_agreement(model, history, legal=has_legal_order(history.ops))

    agrees()


@settings(max_examples=120, deadline=None)
@given(CAS_REGISTER, st.sampled_from([None, 0]))
def test_cas_register_agrees_with_the_definition(history: History, initial: int | None) -> None:
    legal = has_legal_order(history.ops, initial)
    _assert_agreement(CasRegister(initial), history, legal)


@settings(max_examples=80, deadline=None)
@given(CAS_REGISTER)
def test_without_mismatches_a_refused_cas_says_nothing(history: History) -> None:
    legal = has_legal_order(history.ops, mismatches=False)
    _assert_agreement(CasRegister(mismatches=False), history, legal)


@settings(max_examples=80, deadline=None)
@given(CAS_REGISTER)
def test_the_search_alone_agrees_with_the_definition(history: History) -> None:
    _assert_agreement(Plain(), history, has_legal_order(history.ops))


@settings(max_examples=100, deadline=None)
@given(CAS_REGISTER)
def test_a_prefix_is_a_legal_order(history: History) -> None:
    model = CasRegister()
    found = searched(model, history)
    state = model.initial
    for place, entry in enumerate(found.prefix):
        state = model.step(state, entry.op)
        assert state is not INCONSISTENT
        assert not any(
            _ended_before(later.source, entry.source) for later in found.prefix[place + 1 :]
        )
    placed = {entry.source.index for entry in found.prefix}
    assert len(placed) == len(found.prefix)
    if found.answer == "illegal":
        assert found.blocked is not None
        blocked = found.blocked.source
        assert blocked.index not in placed
        before = {op.index for op in history.ops if _tells(op) and _ended_no_later(op, blocked)}
        assert before <= placed


def searched(model: Model, history: History) -> Found:
    told = model.told(history.ops)
    search = Search(model, model.entries(told), model.start(told))
    return search.advance(10**6, Budget(60, 2**30))


def _tells(op: Op) -> bool:
    return op.outcome == "ok" or op.error == MISMATCH


def _ended_no_later(op: Op, other: Op) -> bool:
    assert other.end_index is not None
    return op.end_index is not None and op.end_index < other.end_index


def _ended_before(op: Op, other: Op) -> bool:
    return op.end_index is not None and op.end_index < other.index


def _assert_agreement(model: Model, history: History, legal: bool) -> None:
    if not any(op.outcome == "ok" for op in model.told(history.ops)):
        return
    verdict = linearizable(model)(history)
    assert verdict.result == ("valid" if legal else "invalid")


@pytest.mark.parametrize("values", [2, 3, 9])
@pytest.mark.parametrize("initial", [None, 0])
def test_simulated_histories_agree_with_the_definition(values: int, initial: int | None) -> None:
    stream = random.Random(f"{values} {initial}")
    results = set()
    for _ in range(250):
        history = _simulated(stream, 8, values, initial, lost=0.4)
        legal = has_legal_order(history.ops, initial)
        _assert_agreement(CasRegister(initial), history, legal)
        results.add(legal)
    assert results == {True, False}


@pytest.mark.parametrize("values", [3, 40])
def test_longer_simulated_histories_agree_with_and_without_the_shortcuts(values: int) -> None:
    stream = random.Random(values)
    results = set()
    for _ in range(100):
        history = _simulated(stream, 25, values, None, lost=0.25)
        verdict = linearizable("cas-register")(history)
        assert verdict.result == linearizable(Plain())(history).result
        results.add(verdict.result)
    assert {"valid", "invalid"} <= results


def _simulated(
    stream: random.Random, ops: int, values: int, initial: int | None, *, lost: float
) -> History:
    """A sound register under concurrent clients, some of whose answers are then falsified.

    An op without an answer took effect at any moment after its start, or never.
    """
    records: list[Record] = []
    state = initial
    doing: dict[int, tuple[str, Any]] = {}
    done: dict[int, tuple[RecordType, str, Any, str | None]] = {}
    late: list[tuple[str, Any]] = []
    idle, fresh, begun = list(range(4)), 4, 0
    lie = stream.random() < 0.4

    def take_effect(f: str, value: Any) -> tuple[RecordType, str, Any, str | None]:
        nonlocal state
        if f == "read":
            return "ok", f, state, None
        if f == "cas" and state != value[0]:
            return "fail", f, value, MISMATCH
        state = value[1] if f == "cas" else value
        return "ok", f, value, None

    while begun < ops or doing or done:
        at = len(records)
        if late and stream.random() < 0.15:
            take_effect(*late.pop(stream.randrange(len(late))))
        choice = stream.random()
        if idle and begun < ops and choice < 0.4:
            process, begun = idle.pop(), begun + 1
            f = stream.choice(["read", "read", "write", "cas"])
            pair = [stream.randrange(values), stream.randrange(values)]
            doing[process] = (f, {"read": None, "write": pair[0], "cas": pair}[f])
            records.append(Record(at, at, process, "invoke", f, "x", doing[process][1]))
        elif doing and choice < 0.7:
            process = stream.choice(sorted(doing))
            f, value = doing.pop(process)
            if f != "read" and stream.random() < lost:
                late.append((f, value))
                done[process] = ("info", f, value, "timeout")
            else:
                done[process] = take_effect(f, value)
        elif done:
            process = stream.choice(sorted(done))
            kind, f, value, error = done.pop(process)
            if lie and f == "read" and stream.random() < 0.3:
                value = stream.randrange(values)
            records.append(Record(at, at, process, kind, f, "x", value, error=error))
            idle.append(process if kind != "info" else fresh)
            fresh += kind == "info"
    return History.of(records)
