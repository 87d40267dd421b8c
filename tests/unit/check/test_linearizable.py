"""The linearizability check: verdicts, limits, and evidence that names what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from harness.check import Check, Model, Verdict, linearizable
from harness.check.models import INCONSISTENT, CasRegister
from harness.errors import UsageError
from harness.history import MISMATCH, History, Op
from tests.support.histories import history

REFUSED = {"error": MISMATCH}


def judged(*lines: tuple[Any, ...], **options: Any) -> Verdict:
    return linearizable("cas-register", **options)(history(*lines))


def wrote(process: int, value: Any) -> list[tuple[Any, ...]]:
    return [(process, "invoke", "write", value), (process, "ok", "write", value)]


def read(process: int, value: Any) -> list[tuple[Any, ...]]:
    return [(process, "invoke", "read", None), (process, "ok", "read", value)]


def swapped(process: int, old: Any, new: Any, **end: Any) -> list[tuple[Any, ...]]:
    kind = "fail" if end else "ok"
    return [
        (process, "invoke", "cas", [old, new]),
        (process, kind, "cas", [old, new], end),
    ]


def test_it_is_a_check_with_a_name() -> None:
    check = linearizable("cas-register")
    assert isinstance(check, Check)
    assert check.name == "linearizable(cas-register)"


def test_a_register_in_order_is_valid() -> None:
    verdict = judged(*read(0, None), *wrote(0, 1), *read(1, 1), *swapped(2, 1, 2), *read(0, 2))
    assert verdict.valid
    assert verdict.ops == 5
    assert verdict.model == "cas-register"
    assert verdict.anomaly is None


def test_keys_are_independent() -> None:
    other = {"key": ["y"]}
    lines = [
        *wrote(0, 1),
        (1, "invoke", "read", None, other),
        (1, "ok", "read", None, other),
    ]
    assert judged(*lines).valid
    assert judged(*lines, *read(1, 2)).result == "invalid"


def test_a_stale_read_is_told_with_the_ops_that_prove_it() -> None:
    verdict = judged(*wrote(1, 17), *wrote(2, 19), *read(4, 19), *read(3, 17))
    assert verdict.result == "invalid"
    assert verdict.anomaly == "nonlinearizable"
    assert verdict.data["kind"] == "stale-read"
    assert verdict.summary == (
        "Key 'x': process 3 read 17 from node-3 at 0.600-0.700 s, but 19 had been acknowledged "
        "at 0.300 s, and nobody wrote 17 again."
    )
    assert [op["index"] for op in verdict.data["ops"]] == [0, 2, 6]
    assert len(verdict.evidence.splitlines()) <= 15
    orjson.dumps(verdict.to_json())


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("never-written", [*wrote(0, 1), *read(1, 2)]),
        (
            "failed-write-read",
            [(0, "invoke", "write", 2), (0, "fail", "write", 2), *read(1, 2)],
        ),
        ("read-before-write", [*read(0, 1), *wrote(1, 1)]),
        ("lost-write", [*wrote(0, 1), *wrote(1, 2), *read(2, 1), *read(2, 1)]),
        ("stale-read", [*wrote(0, 1), *read(0, 1), *read(1, None)]),
        ("lost-update", [*wrote(0, 1), *swapped(1, 1, 2), *swapped(2, 1, 3)]),
        (  # two readers of a write that is under way see new, then old
            "stale-read",
            [*wrote(0, 1), (1, "invoke", "write", 2), *read(2, 2), *read(3, 1)],
        ),
        (  # a value that was written twice is stale once both writes are replaced
            "lost-write",
            [*wrote(0, 1), *wrote(0, 2), *wrote(0, 1), *wrote(0, 3), *swapped(1, 1, 2)],
        ),
        ("no-order", [*wrote(0, 1), *swapped(1, 1, 2, **REFUSED)]),
    ],
)
def test_each_kind_of_failure_has_its_sentence(kind: str, lines: list[tuple[Any, ...]]) -> None:
    verdict = judged(*lines)
    assert (verdict.result, verdict.data["kind"]) == ("invalid", kind)
    assert verdict.summary in verdict.evidence


def test_what_cannot_be_proved_in_two_ops_is_told_with_the_values_possible() -> None:
    pending = [(5, "invoke", "cas", [4, 1]), (6, "invoke", "read", None)]
    verdict = judged(*wrote(0, 1), *wrote(0, 3), *pending, (6, "ok", "read", 1))
    assert verdict.data["kind"] == "no-order"
    assert "leaves a value that nobody read" in verdict.summary
    assert "cas [4, 1]" in verdict.evidence


def test_an_op_without_an_answer_may_take_effect_at_any_later_time_or_never() -> None:
    lost = [(0, "invoke", "write", 1), (0, "info", "write", None, {"error": "timeout"})]
    assert judged(*lost, *read(1, None), *read(1, 1)).valid
    assert judged(*lost, *read(1, None), *read(1, None)).valid
    assert judged(*lost, *read(1, 1), *read(1, None)).result == "invalid"
    assert judged(*lost, *wrote(1, 2), *read(1, 1), *read(1, 2)).result == "invalid"


def test_a_read_without_an_answer_says_nothing() -> None:
    assert judged(*wrote(0, 1), (1, "invoke", "read", None), *read(2, 1)).valid


def test_a_failed_op_has_no_effect() -> None:
    failed = [(0, "invoke", "write", 1), (0, "fail", "write", 1)]
    assert judged(*failed, *read(0, None)).valid
    assert judged(*failed, *read(0, 1)).result == "invalid"


def test_a_refused_cas_saw_that_its_value_was_not_there() -> None:
    lines = [*wrote(0, 1), *swapped(1, 1, 2, **REFUSED)]
    assert judged(*lines).result == "invalid"
    assert judged(*lines, mismatches=False).valid
    assert judged(*wrote(0, 1), *swapped(1, 1, 2, error="no leader")).valid


def test_a_lost_write_that_only_a_refusal_needs_is_not_left_out() -> None:
    lost = [(9, "invoke", "write", 5)]
    assert judged(*wrote(0, 1), *lost, *swapped(1, 1, 2, **REFUSED)).valid


def test_a_lost_write_of_the_initial_value_may_still_come_after_reads_of_it() -> None:
    lost = [(9, "invoke", "write", 0)]
    lines = [*lost, *read(0, 0), *wrote(0, 1), *read(0, 1), *read(0, 0)]
    assert judged(*lines, initial=0).valid
    assert judged(*lines[1:], initial=0).result == "invalid"


def test_lost_writes_that_a_refusal_used_up_are_used_again_in_another_order() -> None:
    lost = [(9, "invoke", "write", 5), (8, "invoke", "cas", [1, 5])]
    lines = [*wrote(0, 1), *lost, *read(1, 5), *wrote(0, 1), *read(1, 5)]
    assert judged(*lines).valid
    assert judged(*lines, *wrote(0, 1), *read(1, 5)).result == "invalid"


def test_final_reads_count() -> None:
    final = {"final": True}
    lines = [(1, "invoke", "read", None, final), (1, "ok", "read", None, final)]
    assert judged(*wrote(0, 1), *lines).result == "invalid"


def test_initial_value_and_values_that_are_lists() -> None:
    assert judged(*read(0, [1, {"a": 2}]), initial=[1, {"a": 2}]).valid
    assert judged(*read(0, 0)).result == "invalid"


@pytest.mark.parametrize("lines", [[], [(0, "invoke", "write", 1)], [*swapped(0, 1, 2, **REFUSED)]])
def test_nothing_tested_is_unknown(lines: list[tuple[Any, ...]]) -> None:
    verdict = judged(*lines)
    assert verdict.result == "unknown"
    assert "Nothing was tested" in verdict.summary


@pytest.mark.parametrize("f", ["cas", "append"])
def test_an_op_that_the_model_does_not_know_is_unknown(f: str) -> None:
    odd = history(*wrote(0, 1), (0, "invoke", f, 1), (0, "ok", f, 1))
    verdict = linearizable("register")(odd)
    assert verdict.result == "unknown"
    assert repr(f) in verdict.summary
    assert linearizable("cas-register")(odd).result == "unknown"


def hard() -> History:
    """Many ways to leave one value, none of which explains the last read."""
    begin = [(process, "invoke", "write", process) for process in range(40)]
    end = [(process, "ok", "write", process) for process in range(40)]
    pairs = [line for value in range(40) for line in swapped(100 + value, value, 99)[:1]]
    return history(*begin, *pairs, *end, *read(50, 99), *read(50, 98), *wrote(51, 98))


def test_a_hard_key_does_not_hide_a_plain_failure() -> None:
    at_y = {"key": "y"}
    hard_ops = hard().ops
    easy = history(*[(*line, at_y) for line in [*wrote(0, 1), *read(1, 2)]]).ops
    verdict = linearizable("cas-register", timeout=0.2)(History([*hard_ops, *easy]))
    assert verdict.result == "invalid"
    assert verdict.data["key"] == "y"


def test_the_verdict_is_a_pure_function_of_the_history() -> None:
    once = history(*wrote(0, 1), (5, "invoke", "write", 2), *read(1, 2), *read(2, 1))
    before = orjson.dumps(once.ops)
    first, second = linearizable("cas-register")(once), linearizable("cas-register")(once)
    assert (first.evidence, first.data) == (second.evidence, second.data)
    assert orjson.dumps(once.ops) == before


class Counter(Model):
    """`add` without an answer, `read` of the sum."""

    name = "counter"
    initial = 0

    def step(self, state: Any, op: Op) -> Any:
        if op.f == "add":
            return state + op.value
        return state if op.result == state else INCONSISTENT


@pytest.mark.parametrize(("total", "result"), [(3, "valid"), (6, "valid"), (4, "invalid")])
def test_a_model_of_ones_own(total: int, result: str) -> None:
    lines = [(0, "invoke", "add", 3), (1, "invoke", "add", 3), (0, "ok", "add", 3)]
    verdict = linearizable(Counter())(history(*lines, *read(2, total)))
    assert verdict.result == result
    assert verdict.check == "linearizable(counter)"


def test_wrong_arguments_are_refused() -> None:
    calls: list[Callable[[], object]] = [
        lambda: linearizable("heap"),
        lambda: linearizable("register", timeout=0),
        lambda: linearizable("register", memory=0),
        lambda: linearizable(CasRegister(), initial=3),
    ]
    for wrong in calls:
        with pytest.raises(UsageError):
            wrong()
