"""What the monitors say of small histories whose answer is plain to see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.check.budget import Budget
from harness.check.monitors import Judgement, decide
from harness.history import MISMATCH, Op
from tests.support.oracle_objects import Described


def op(start: int, end: int | None, f: str, value: Any = None, result: Any = None) -> Op:
    """An op of its own process; without an end nobody knows what became of it."""
    outcome = "info" if end is None else "ok"
    return Op(start, f, "x", value, outcome, result, start, end, start, end)


def refused(start: int, end: int, expected: Any, new: Any) -> Op:
    return Op(
        start, "cas", "x", [expected, new], "fail", None, start, end, start, end, error=MISMATCH
    )


def judged(kind: str, *ops: Op, initial: Any = None) -> Judgement | None:
    return decide(Described(kind, initial), ops, Budget(60, 2**32))


def write(start: int, end: int | None, value: Any) -> Op:
    return op(start, end, "write", value)


def read(start: int, end: int, result: Any) -> Op:
    return op(start, end, "read", None, result)


def cas(start: int, end: int | None, expected: Any, new: Any) -> Op:
    return op(start, end, "cas", [expected, new])


REGISTERS: list[tuple[str, list[Op]]] = [
    ("stale-read", [write(0, 1, 1), write(2, 3, 2), read(4, 5, 1)]),
    ("stale-read", [write(0, 1, 1), read(2, 3, None)]),
    ("stale-read", [write(0, 9, 1), write(1, 8, 2), read(2, 3, 1), read(4, 5, 2), read(6, 7, 1)]),
    ("stale-read", [write(0, 1, 1), cas(2, 3, 1, 2), read(4, 5, 1)]),
    ("read-before-write", [read(0, 1, 1), write(2, 3, 1)]),
    ("read-before-write", [cas(0, 1, 1, 2), read(2, 3, 2), write(4, 5, 1)]),
    ("never-written", [write(0, 1, 1), read(2, 3, 2)]),
    ("lost-update", [write(0, 1, 1), cas(2, 3, 1, 2), cas(4, 5, 1, 3)]),
    ("order-cycle", [cas(0, 2, 1, 2), cas(1, 3, 2, 1)]),
    ("order-cycle", [write(0, 1, 1), write(2, 3, 2), cas(4, 5, 1, 3)]),
    ("refused-though-there", [write(0, 1, 1), refused(2, 3, 1, 2), read(4, 5, 1)]),
    ("refused-though-there", [write(0, 1, 1), refused(2, 3, 1, 2)]),
    ("refused-though-there", [refused(0, 1, None, 2), write(2, 3, 1)]),
]


@pytest.mark.parametrize(("kind", "ops"), REGISTERS)
def test_illegal_registers(kind: str, ops: list[Op]) -> None:
    judgement = judged("cas-register", *ops)
    assert judgement is not None
    assert (judgement.legal, judgement.kind) == (False, kind)


@pytest.mark.parametrize(
    "ops",
    [
        [write(0, 3, 1), write(1, 4, 2), read(5, 6, 1)],
        [read(0, 1, None), write(2, 3, 1)],
        [write(0, None, 1), read(2, 3, None), read(4, 5, 1)],
        [write(0, 1, 1), cas(2, None, 1, 2), read(3, 4, 1), read(5, 6, 2)],
        [cas(0, None, 1, 2), write(3, 4, 1), read(5, 6, 1)],
        [cas(0, 1, None, 1), cas(2, 3, 1, 2), cas(4, 5, 2, 3), read(6, 7, 3)],
        [write(0, 1, 1), cas(2, 3, 1, 1), read(4, 5, 1)],
        [write(0, 1, 1), write(2, 3, 1), write(4, 5, 2), read(6, 7, 2)],
        [write(0, 3, 1), refused(1, 2, 1, 2), read(4, 5, 1)],
        [write(0, 1, 1), write(2, None, 3), refused(4, 5, 1, 2)],
        [write(0, 1, 1), refused(2, 4, 1, 2), cas(3, 5, 1, 3)],
        [write(0, 5, 1), write(1, 4, 2), refused(6, 7, 1, 3)],
        [write(0, 1, [1]), read(2, 3, [1]), write(4, 5, {"a": [2]}), read(6, 7, {"a": [2]})],
    ],
)
def test_legal_registers(ops: list[Op]) -> None:
    assert judged("cas-register", *ops) == Judgement(True)


def test_a_write_without_an_answer_cannot_help_one_refusal_and_spare_another() -> None:
    ops = [refused(0, 3, None, 8), write(2, None, 3), refused(4, 5, 3, 9)]
    judgement = judged("cas-register", *ops)
    assert judgement is None or not judgement.legal


def test_a_chain_of_updates_that_a_slow_read_contradicts() -> None:
    chain = [cas(2 * n, 2 * n + 1, n, n + 1) for n in range(40)]
    late = read(80, 81, 17)
    judgement = judged("cas-register", *chain, late, initial=0)
    assert judgement is not None
    assert judgement.ops[-1] is late
    assert judged("cas-register", *chain, read(80, 81, 40), initial=0) == Judgement(True)


def test_refusals_are_not_heeded_where_the_model_says_so() -> None:
    model = Described("cas-register", None)
    ops = [write(0, 1, 1), refused(2, 3, 1, 2), read(4, 5, 1)]
    model.mismatches = False
    assert decide(model, ops, Budget(60, 2**32)) == Judgement(True)


def test_a_blank_read_says_nothing_of_a_register_that_began_with_a_value() -> None:
    ops = [write(0, 1, 1), read(2, 3, None)]
    assert judged("register", *ops, initial=0) == Judgement(True)


@pytest.mark.parametrize(
    ("model", "ops"),
    [
        ("register", [write(0, 1, 1), write(2, 3, 1), read(4, 5, 1)]),
        ("register", [write(0, 1, None), read(4, 5, None)]),
        ("register", [cas(0, 1, None, 1)]),
        ("cas-register", [op(0, 1, "cas", 1)]),
        ("cas-register", [op(0, 1, "append", 1)]),
        ("fifo-queue", [op(0, 1, "enqueue", 1), op(2, 3, "enqueue", 1)]),
        ("stack", [op(0, 1, "peek", 1)]),
        ("set", [op(0, 1, "read", None, [1])]),
        ("set", [op(0, 1, "add", 1), op(2, 3, "add", 1)]),
        ("counter", [op(0, 1, "add", 1)]),
    ],
)
def test_what_is_ambiguous_or_unknown_is_left_to_the_search(model: str, ops: list[Op]) -> None:
    assert judged(model, *ops) is None


def put(start: int, end: int | None, value: Any) -> Op:
    return op(start, end, "enqueue", value)


def take(start: int, end: int | None, result: Any = None) -> Op:
    return op(start, end, "dequeue", None, result)


QUEUES: list[tuple[str, str | None, list[Op]]] = [
    ("out-of-order", None, [put(0, 1, 1), put(2, 3, 2), take(4, 5, 2), take(6, 7, 1)]),
    ("lost", None, [put(0, 1, 1), put(2, 3, 2), take(4, 5, 2)]),
    ("duplicated", "duplicated", [put(0, 1, 1), take(2, 3, 1), take(4, 5, 1)]),
    ("read-from-nowhere", "read-from-nowhere", [put(0, 1, 1), take(2, 3, 2)]),
    ("taken-before-put", "taken-before-put", [take(0, 1, 1), put(2, 3, 1)]),
    ("false-empty", "false-empty", [put(0, 1, 1), take(2, 3), take(4, 5, 1)]),
    (
        "false-empty",
        "false-empty",
        [put(0, 1, 1), take(2, 9), put(3, 4, 2), take(5, 10, 1), take(11, 12, 2)],
    ),
]


@pytest.mark.parametrize(("fifo", "unordered", "ops"), QUEUES)
def test_illegal_queues(fifo: str, unordered: str | None, ops: list[Op]) -> None:
    ops = sorted(ops, key=lambda op: op.index)
    judgement = judged("fifo-queue", *ops, initial=())
    assert judgement is not None
    assert judgement.kind == fifo
    judgement = judged("unordered-queue", *ops, initial=())
    assert judgement is not None
    assert judgement.kind == unordered


@pytest.mark.parametrize(
    "ops",
    [
        [put(0, 3, 1), put(1, 2, 2), take(4, 5, 2), take(6, 7, 1)],
        [put(0, 1, 1), put(2, 3, 2), take(4, None), take(5, 6, 2), take(7, 8)],
        [put(0, None, 1), put(2, 3, 2), take(4, 5, 2), take(6, 7)],
        [put(0, 1, 1), take(2, 8), put(3, 4, 2), take(5, 6, 1), take(7, 9, 2)],
        [put(0, None, 1), take(2, 3), take(4, 5, 1)],
    ],
)
def test_legal_queues(ops: list[Op]) -> None:
    assert judged("fifo-queue", *ops, initial=()) == Judgement(True)
    assert judged("unordered-queue", *ops, initial=()) == Judgement(True)


def test_a_queue_may_begin_with_elements() -> None:
    assert judged("fifo-queue", take(0, 1, 7), take(2, 3, 8), initial=(7, 8)) == Judgement(True)
    judgement = judged("fifo-queue", take(0, 1, 8), initial=(7, 8))
    assert judgement is not None
    assert judgement.kind == "lost"


def push(start: int, end: int | None, value: Any) -> Op:
    return op(start, end, "push", value)


def pop(start: int, end: int | None, result: Any = None) -> Op:
    return op(start, end, "pop", None, result)


def test_stacks() -> None:
    two = [push(0, 1, 1), push(2, 3, 2)]
    assert judged("stack", *two, pop(4, 5, 2), pop(6, 7, 1), pop(8, 9)) == Judgement(True)
    crossed = judged("stack", *two, pop(4, 5, 1), pop(6, 7, 2))
    assert crossed is not None
    assert crossed.kind == "out-of-order"
    assert judged("stack", *two, pop(4, None), pop(5, 6, 1)) == Judgement(True)
    late = judged("stack", *two, pop(5, 6, 1), pop(7, None))
    assert late is not None
    assert not late.legal


def test_a_stack_without_a_bottom_though_every_pair_has_an_order() -> None:
    ops = [
        push(0, 1, 1),
        push(2, 5, 2),
        push(3, 4, 3),
        pop(6, 7, 3),
        pop(8, 10, 1),
        pop(9, 11, 2),
    ]
    judgement = judged("stack", *ops)
    assert judgement == Judgement(True)
    judgement = judged("stack", *ops[:4], pop(8, 9, 1), pop(10, 11, 2))
    assert judgement is not None
    assert not judgement.legal


def test_sets() -> None:
    add, remove = op(0, 1, "add", "a"), op(4, 5, "remove", "a")

    def saw(start: int, end: int, there: bool) -> Op:
        return op(start, end, "contains", "a", there)

    assert judged("set", add, saw(2, 3, True), remove, saw(6, 7, False)) == Judgement(True)
    for kind, ops in {
        "lost": [add, saw(2, 3, False)],
        "stale-read": [add, remove, saw(6, 7, True)],
        "read-from-nowhere": [saw(2, 3, True), remove],
    }.items():
        judgement = judged("set", *ops)
        assert judgement is not None
        assert judgement.kind == kind
    assert judged("set", saw(2, 3, True), initial=("a",)) == Judgement(True)
    removed = op(4, 5, "remove", "a", True)
    assert judged("set", removed, initial=("a",)) == Judgement(True)
    judgement = judged("set", removed)
    assert judgement is not None
    assert judgement.kind == "read-from-nowhere"


def test_a_hot_element_of_a_set_is_told_in_few_ops() -> None:
    seen = [op(2 * n, 2 * n + 1, "read", 7, True) for n in range(1, 300)]
    ops = [op(0, 1, "add", 7), *seen, op(600, 601, "remove", 7), op(602, 603, "read", 7, False)]
    assert judged("set", *ops) == Judgement(True)
    ops[150].result = False
    judgement = judged("set", *ops)
    assert judgement is not None
    assert judgement.kind == "lost"
    assert ops[150] in judgement.ops
    assert judgement.sentence is not None
    assert "saw that 7 was not there" in judgement.sentence


def test_the_sentence_names_processes_values_and_times() -> None:
    stale = replace(read(4, 5, 1), start=4_000_000_000, end=5_000_000_000)
    judgement = judged("register", write(0, 1, 1), write(2, 3, 2), stale)
    assert judgement is not None
    assert judgement.sentence is not None
    assert judgement.sentence.startswith(
        "process 4 read 1 at 4.000-5.000 s, but process 2 wrote 2 at #2-#3"
    )
