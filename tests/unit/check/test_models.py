"""The models: spellings, initial states, ops that say nothing, and models of one's own."""

from __future__ import annotations

from typing import Any

import pytest

from harness.check import Verdict, linearizable
from harness.check.models import INCONSISTENT, NAMES, Model, as_model, named
from harness.errors import UsageError
from harness.history import MISMATCH, Op
from tests.support.histories import history

NO_KEY = {"key": None}
REFUSED = {"error": MISMATCH}


def judged(model: Any, *lines: tuple[Any, ...], **options: Any) -> Verdict:
    return linearizable(model, **options)(history(*lines))


def did(f: str, value: Any = None, result: Any = None, process: int = 0) -> list[tuple[Any, ...]]:
    return [(process, "invoke", f, value), (process, "ok", f, result)]


def refused(f: str, process: int = 0, error: str = MISMATCH) -> list[tuple[Any, ...]]:
    return [(process, "invoke", f, None), (process, "fail", f, None, {"error": error})]


def lost(f: str, value: Any = None, process: int = 9) -> list[tuple[Any, ...]]:
    return [(process, "invoke", f, value), (process, "info", f, None)]


@pytest.mark.parametrize(
    ("model", "good", "bad"),
    [
        ("register", [*did("w", 1), *did("r", result=1)], did("get", result=2)),
        ("register", [*did("put", 1), *did("get", result=1)], did("r", result=2)),
        ("mutex", [*did("lock"), *did("unlock"), *did("acquire")], did("lock")),
        ("owned-mutex", [*did("lock"), *did("release"), *did("acquire")], did("unlock", process=1)),
        ("fenced-mutex", [*did("lock", result=3), *did("unlock")], did("acquire", result=3)),
        ("bag", [*did("put", 1), *did("put", 2), *did("take", result=2)], did("take", result=2)),
        ("multiset", [*did("insert", 1), *did("take", result=1)], did("take", result=1)),
        ("counter", [*did("incr"), *did("add", 4), *did("decrement")], did("read", result=5)),
        ("counter", [*did("inc", 2), *did("dec"), *did("increment")], did("get", result=1)),
        ("kv", [*did("write", "a"), *did("append", "b"), *did("r", result="ab")], did("get")),
        ("set", [*did("add", 1, 1), *did("read", 1, True)], did("contains", 1, False)),
        (
            "multi-register",
            did("txn", None, [["w", 1, 2], ["read", 1, 2]]),
            did("txn", [["r", 1, 3]]),
        ),
    ],
)
def test_every_spelling_is_understood(
    model: str, good: list[tuple[Any, ...]], bad: list[tuple[Any, ...]]
) -> None:
    assert judged(model, *good).valid
    assert judged(model, *good, *bad).result == "invalid"


@pytest.mark.parametrize(
    ("model", "initial", "good", "bad"),
    [
        ("register", [1], did("read", result=[1]), did("read", result=[2])),
        ("multi-register", {"a": 1}, did("txn", [], [["r", "a", 1]]), did("txn", [["r", "a", 2]])),
        ("multi-register", [[3, 1]], did("txn", [], [["r", 3, 1]]), did("txn", [["r", 3, 2]])),
        ("mutex", True, did("release"), did("release")),
        ("owned-mutex", 3, did("release", process=3), did("release", process=3)),
        ("fenced-mutex", 5, did("acquire", result=6), did("acquire", result=7)),
        ("set", [1, 2], did("read", result=[2, 1]), did("read", result=[1])),
        ("fifo-queue", [1, 2], did("dequeue", result=1), did("dequeue", result=1)),
        ("unordered-queue", [1, 2], did("dequeue", result=2), did("dequeue", result=2)),
        ("stack", [1, 2], did("pop", result=2), did("pop", result=2)),
        ("counter", -1, did("read", result=-1), did("read", result=0)),
        ("kv", "a", did("get", result="a"), did("get", result="")),
    ],
)
def test_the_initial_state(
    model: str, initial: Any, good: list[tuple[Any, ...]], bad: list[tuple[Any, ...]]
) -> None:
    assert judged(model, *good, initial=initial).valid
    assert judged(model, *good, *bad, initial=initial).result == "invalid"


@pytest.mark.parametrize(
    ("model", "initial"),
    [
        ("counter", "1"),
        ("counter", True),
        ("set", 3),
        ("fifo-queue", "ab"),
        ("kv", 1),
        ("mutex", 1),
        ("owned-mutex", True),
        ("fenced-mutex", [1]),
        ("multi-register", [1]),
        ("heap", None),
    ],
)
def test_an_unfit_initial_state_or_name_is_refused(model: str, initial: Any) -> None:
    with pytest.raises(UsageError, match=model):
        named(model, initial=initial)


@pytest.mark.parametrize(
    ("model", "lines", "said"),
    [
        ("register", did("append", 1), "'append' is none of read, write"),
        ("cas-register", did("cas", 1), "[expected, new]"),
        ("multi-register", did("txn", [["inc", 1, 1]]), "a txn is a list of"),
        ("fenced-mutex", did("acquire", result="abc"), "a number, not 'abc'"),
        ("set", did("contains", 1, [1]), "answers true or false"),
        ("set", did("read", None, 5), "answers a list"),
        ("fifo-queue", did("enqueue"), "enqueue needs a value"),
        ("counter", did("add"), "numbers, not None"),
        ("counter", did("read", result="1"), "numbers, not '1'"),
        ("kv", did("put", 4), "texts, not 4"),
    ],
)
def test_an_op_that_does_not_fit_makes_it_unknown(
    model: str, lines: list[tuple[Any, ...]], said: str
) -> None:
    verdict = judged(model, *lines)
    assert verdict.result == "unknown"
    assert f"The model {model} does not fit" in verdict.summary
    assert said in verdict.summary


@pytest.mark.parametrize("model", ["register", "cas-register"])
def test_a_read_of_none_says_nothing_unless_that_was_there_at_first(model: str) -> None:
    lines = [*did("write", 1), *did("read", result=None)]
    assert judged(model, *lines).result == "invalid"
    assert judged(model, *lines, initial=0).valid
    assert judged(model, *did("read", result=None), initial=0).result == "unknown"


@pytest.mark.parametrize(
    "empty",
    [
        did("dequeue", result=None),
        did("dequeue", result="empty"),
        refused("dequeue"),
        refused("dequeue", error="empty"),
    ],
)
@pytest.mark.parametrize("model", ["fifo-queue", "unordered-queue"])
def test_all_ways_to_see_an_empty_queue(model: str, empty: list[tuple[Any, ...]]) -> None:
    lines = [*did("enqueue", 1), *did("dequeue", result=1)]
    assert judged(model, *lines, *empty).valid
    assert judged(model, *did("enqueue", 1), *empty).result == "invalid"
    assert judged(model, *did("enqueue", 1), *lost("dequeue"), *empty).valid
    assert judged(model, *did("enqueue", 1), *refused("dequeue", error="no leader")).valid


def test_empty_is_an_element_where_somebody_enqueued_it() -> None:
    lines = [*did("enqueue", "empty"), *did("enqueue", 1), *did("dequeue", result="empty")]
    assert judged("fifo-queue", *lines).valid
    assert judged("fifo-queue", *lines, *did("dequeue", result="empty")).result == "invalid"


def test_a_refusal_saw_who_holds_the_lock() -> None:
    assert judged("mutex", *did("acquire"), *refused("acquire")).valid
    free = [*did("acquire"), *did("release"), *refused("acquire")]
    assert judged("mutex", *free).result == "invalid"
    assert judged("mutex", *free[:-2], *refused("acquire", error="timeout")).valid
    assert judged("owned-mutex", *did("acquire"), *refused("release", process=1)).valid
    assert judged("owned-mutex", *did("acquire"), *refused("release")).result == "invalid"


def test_registers_that_no_txn_names_together_are_apart() -> None:
    # 2^20 states of all, 2 of each
    lines = [(key, "invoke", "txn", [["w", key, 1]]) for key in range(20)]
    lines += did("txn", [["r", 7, None]], [["r", 7, 3]], process=30)
    verdict = judged("multi-register", *lines, timeout=5)
    assert verdict.result == "invalid"
    assert "leaves {7: 1} or {7: None}" in verdict.summary


def test_what_a_txn_without_an_answer_read_is_not_known() -> None:
    wrote = did("txn", [["w", "a", 1]], [["w", "a", 1]])
    unknown = lost("txn", [["r", "a", None], ["w", "b", 2]])
    seen = did("txn", [["r", "b", None]], [["r", "b", 2]])
    assert judged("multi-register", *wrote, *unknown, *seen).valid
    assert judged("multi-register", *wrote, *seen).result == "invalid"


def test_elements_of_a_set_are_apart_until_somebody_reads_all() -> None:
    adds = [line for one in range(8) for line in lost("add", one, process=10 + one)]
    odd = did("contains", 3, True, process=50) + did("contains", 3, False, process=51)
    assert judged("set", *adds, *odd).result == "invalid"
    everything = did("read", None, [3, 5], process=50) + did("read", None, [5], process=51)
    assert judged("set", *adds, *everything).result == "invalid"
    assert judged("set", *adds).result == "unknown"


@pytest.mark.parametrize(
    ("model", "lines", "kind", "sentence"),
    [
        (
            "fifo-queue",
            [*did("enqueue", 5), *did("enqueue", 7), *did("dequeue", result=7, process=4)],
            "out-of-order",
            "but 5 had been enqueued before it and was still there.",
        ),
        (
            "stack",
            [*did("push", 5), *did("push", 7), *did("pop", result=5)],
            "out-of-order",
            "but 7 had been pushed on top of it and was still there.",
        ),
        (
            "fifo-queue",
            [*did("enqueue", 5), *did("dequeue", result=5), *did("dequeue", result=5, process=4)],
            "duplicated",
            "but it was enqueued only once, and process 0 took it.",
        ),
        ("stack", did("pop", result=1), "never-given", "but nobody pushed it."),
        (
            "unordered-queue",
            [*did("dequeue", result=1), *did("enqueue", 1, process=1)],
            "taken-before-given",
            "but process 1 enqueued 1 on node-1 only at 0.200-0.300 s.",
        ),
        (
            "unordered-queue",
            [*did("enqueue", 1), *did("dequeue")],
            "not-empty",
            "but 1 had been enqueued at 0.100 s and not taken.",
        ),
        (
            "mutex",
            [*did("acquire", process=1), *did("acquire")],
            "held-twice",
            "but process 1 had acquired it at 0.100 s, and nobody released it.",
        ),
        (
            "fenced-mutex",
            [*did("acquire", result=2), *did("release"), *did("acquire", result=1)],
            "token-not-greater",
            "with the token 1, but process 0 had been given 2 at 0.100 s.",
        ),
        (
            "set",
            [*did("add", 1), *did("read", result=[])],
            "lost-element",
            "but 1 had been added at 0.100 s and not removed.",
        ),
        ("set", did("contains", 1, True), "never-added", "but nobody had added 1."),
        (
            "set",
            [*did("add", 1), *did("remove", 1), *did("contains", 1, True)],
            "removed-element",
            "but 1 had been removed at 0.300 s and not added again.",
        ),
        (
            "counter",
            [*did("inc"), *lost("add", 2), *did("read", result=4)],
            "out-of-bounds",
            "but what was added before comes to from 1 to 3.",
        ),
        (
            "kv",
            [*did("put", "a"), *lost("append", "b"), *did("get", result="b")],
            "no-order",
            "but every order of what ended before leaves 'a'.",
        ),
        (
            "owned-mutex",
            [*did("acquire", process=1), *did("release")],
            "no-order",
            "but every order of what ended before leaves it with process 1.",
        ),
    ],
)
def test_each_kind_of_failure_has_its_sentence(
    model: str, lines: list[tuple[Any, ...]], kind: str, sentence: str
) -> None:
    verdict = judged(model, *lines)
    assert (verdict.result, verdict.data["kind"]) == ("invalid", kind)
    assert sentence in verdict.summary
    assert verdict.data["blocked"] in [op["index"] for op in verdict.data["ops"]]
    assert len(verdict.evidence.splitlines()) < 15


def test_without_keys_the_sentence_stands_alone() -> None:
    lines = [(*line, NO_KEY) for line in did("pop", result=1)]
    assert judged("stack", *lines).summary.startswith("Process 0 popped 1")


class Account:
    """No more is taken than is there."""

    initial = 0

    def step(self, state: int, op: Op) -> Any:
        if op.f == "balance":
            return state if op.result == state else INCONSISTENT
        return state + op.value if state + op.value >= 0 else INCONSISTENT


class Transfers:
    """One object, whatever the keys; money without an answer may go to either of two."""

    name = "transfers"

    def init(self) -> tuple[int, int]:
        return (0, 0)

    def partition(self, op: Op) -> None:
        return None

    def step(self, state: tuple[int, int], op: Op) -> Any:
        return state if tuple(op.result) == state else INCONSISTENT

    def outcomes(self, state: tuple[int, int], op: Op) -> list[tuple[int, int]]:
        return [(state[0] + 1, state[1]), (state[0], state[1] + 1)]


@pytest.mark.parametrize("model", [Account, Account()])
def test_a_plain_class_is_a_model(model: Any) -> None:
    lines = [*did("change", 3), *lost("change", -2), *did("balance", result=1)]
    verdict = judged(model, *lines)
    assert verdict.valid
    assert verdict.check == "linearizable(account)"
    assert judged(model, *lines, *did("balance", result=3)).result == "invalid"
    assert judged(model, *did("change", -1)).result == "invalid"


def test_a_plain_class_may_partition_and_have_several_outcomes() -> None:
    elsewhere = [(*line, {"key": "y"}) for line in lost("move")]
    for result, expected in (([1, 0], "valid"), ([0, 1], "valid"), ([1, 1], "invalid")):
        verdict = judged(Transfers, *elsewhere, *did("look", result=result))
        assert verdict.result == expected
        assert verdict.model == "transfers"


def test_without_a_partition_every_key_is_an_object() -> None:
    elsewhere = [(*line, {"key": "y"}) for line in did("change", 2)]
    assert judged(Account, *elsewhere, *did("balance", result=2)).result == "invalid"


def test_equal_ops_without_an_answer_are_told_apart_by_their_process() -> None:
    class Second:
        """Only what process 8 does counts."""

        initial = 0

        def step(self, state: int, op: Op) -> Any:
            if op.f == "read":
                return state if op.result == state else INCONSISTENT
            return state + 1 if op.process == 8 else INCONSISTENT

    lines = [*lost("add", process=7), *lost("add", process=8), *did("read", result=1)]
    assert judged(Second, *lines).valid
    assert judged(Second, *lines, *did("read", result=2)).result == "invalid"


def test_a_name_of_ones_own_may_be_that_of_another_model() -> None:
    class Stack:
        initial = ()

        def step(self, state: Any, op: Op) -> Any:
            return state

    assert judged(Stack, *did("pop", result=1)).valid


class Nothing:
    pass


class Stateless:
    def step(self, state: Any, op: Op) -> Any:
        return state


class Mutable:
    initial: Any = ()

    def step(self, state: Any, op: Op) -> Any:
        return [*state, op.value]


@pytest.mark.parametrize(
    ("model", "said"),
    [(Nothing, "no step"), (Stateless, "neither initial nor init"), (3, "no step")],
)
def test_what_is_no_model_is_refused(model: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        as_model(model)


def test_a_state_that_cannot_be_remembered_is_refused() -> None:
    with pytest.raises(UsageError, match="tuples"):
        judged(Mutable, *did("push", 1))


def test_every_name_makes_a_model_of_that_name() -> None:
    for name in NAMES:
        model = named(name)
        assert isinstance(model, Model)
        assert model.name == name
        assert as_model(model) is model


def test_a_history_of_completions_only_is_unknown() -> None:
    told = history(*did("write", 1), *did("read", result=1))
    object.__setattr__(told, "realtime", False)
    assert linearizable("register")(told).result == "unknown"


def test_what_says_nothing_is_no_test() -> None:
    assert judged("multi-register", *did("txn", [], [])).result == "unknown"


@pytest.mark.parametrize("amount", ["1", [1], {"a": 1}])
def test_a_counter_has_numbers(amount: Any) -> None:
    verdict = judged("counter", *did("dec", amount), *did("read", result=0))
    assert (verdict.result, "a counter has numbers" in verdict.summary) == ("unknown", True)


def test_a_lost_append_is_shown_by_the_get_that_misses_it() -> None:
    verdict = judged("kv", *did("append", "1,", None), *did("get", None, "", process=1))
    assert verdict.result == "invalid"
    assert verdict.data["blocked"] == 2
    assert "process 1 read '' from node-1" in verdict.summary
    assert "process 0 had appended '1,'" in verdict.summary


def test_a_txn_without_an_answer_is_told_by_what_it_asked() -> None:
    written = lost("txn", [["w", "a", 2]])
    seen = did("txn", [["r", "a", None]], [["r", "a", 2]])
    late = did("txn", [["r", "a", None]], [["r", "a", 1]])
    verdict = judged("multi-register", *written, *seen, *late)
    assert "process 9 did [['w', 'a', 2]] on node-9 (without an answer)" in verdict.evidence
