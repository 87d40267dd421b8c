"""Limits end in `unknown` at the next look, and nothing hard hides what is easy.

(How soon that is, `tests/benchmarks/bench_limits.py` measures.)
"""

from __future__ import annotations

import gc
from typing import Any

import pytest

from harness.check import linearizable
from harness.check.budget import Budget, OverBudgetError
from harness.check.models import INCONSISTENT, as_model, named
from harness.check.search import Search
from harness.history import History, Op
from tests.support.histories import history

MIB = 2**20


class Text:
    """A text that grows, without any of the shortcuts that named models have."""

    initial = ""

    def step(self, state: str, op: Op) -> Any:
        if op.f == "get":
            return state if state == op.result else INCONSISTENT
        return op.value if op.f == "put" else state + op.value


def hard(key: str, letters: int = 26) -> list[tuple[Any, ...]]:
    """Appends in any order, of which no order explains the last read."""
    at = {"key": key}
    texts = [chr(97 + number) for number in range(letters)]
    begun = [(number, "invoke", "append", text, at) for number, text in enumerate(texts)]
    ended = [(number, "ok", "append", text, at) for number, text in enumerate(texts)]
    return [*begun, *ended, (0, "invoke", "get", None, at), (0, "ok", "get", "?", at)]


def put(key: str, seen: str) -> list[tuple[Any, ...]]:
    at = {"key": key}
    lines: list[tuple[Any, ...]] = [(50, "invoke", "put", "a"), (50, "ok", "put", "a")]
    lines += [(50, "invoke", "get", None), (50, "ok", "get", seen)]
    return [(*line, at) for line in lines]


class Looks:
    """Counts the looks at every budget; after so many, `limit` counts as passed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int, limit: str = "time") -> None:
        self.count, self.most, self.limit = 0, most, limit
        monkeypatch.setattr(Budget, "exceeded", lambda _: self.look())

    def look(self) -> str | None:
        self.count += 1
        return self.limit if self.count > self.most else None


@pytest.mark.parametrize(
    ("limit", "told"), [("time", "2 s (timeout=)"), ("memory", "30 MiB (memory=)")]
)
def test_it_ends_at_the_first_look_that_finds_a_limit_passed(
    limit: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks(monkeypatch, 100, limit)
    verdict = linearizable(Text, timeout=2, memory=30 * MIB)(history(*hard("x")))
    assert verdict.result == "unknown"
    assert told in verdict.summary
    assert looks.count == 101


def test_it_looks_again_after_a_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, model, told = Looks(monkeypatch, 50), as_model(Text), history(*hard("x"))
    search = Search(model, model.entries(told.ops), model.start(told.ops))
    with pytest.raises(OverBudgetError):
        search.advance(10**9, Budget(10, MIB))
    assert search.found.visited <= 128 * (looks.count + 1)


def test_what_is_decided_or_given_up_frees_its_memory_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, calm = named("kv"), history(*put("x", "a"))
    search = Search(model, model.entries(calm.ops), model.start(calm.ops))
    assert search.advance(100, Budget(10, MIB)).answer == "legal"
    assert not search._stack and not search._memory
    Looks(monkeypatch, 100)
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        assert linearizable(Text)(history(*hard("x"), *hard("y"))).result == "unknown"
        assert len(gc.get_objects()) - before < 1000
    finally:
        gc.enable()


@pytest.mark.parametrize("order", [("hard", "easy"), ("easy", "hard")])
def test_a_hard_key_does_not_hide_a_plain_failure(
    order: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = {"hard": hard("hard"), "easy": put("easy", "b")}
    Looks(monkeypatch, 40)
    verdict = linearizable(Text)(_one_after_another(*map(lines.__getitem__, order)))
    assert verdict.result == "invalid"
    assert verdict.data["key"] == "easy"


def test_a_failure_that_takes_some_looking_for_has_its_turns_beside_a_hard_key() -> None:
    # Seven appends can leave 13 700 texts, more than are visited in a first turn.
    verdict = linearizable(Text)(_one_after_another(hard("hard"), hard("middling", 7)))
    assert verdict.result == "invalid"
    assert verdict.data["key"] == "middling"


def test_an_order_that_takes_some_looking_for_is_found() -> None:
    # The last text that is come upon: all others are tried before.
    lines = [*hard("x", 7)[:-1], (0, "ok", "get", "gfedcba", {"key": "x"})]
    told = history(*lines)
    model = as_model(Text)
    search = Search(model, model.entries(told.ops), model.start(told.ops))
    assert search.advance(3000, Budget(10, 2**40)).answer is None
    assert linearizable(Text)(told).valid


def test_what_is_undecided_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    Looks(monkeypatch, 100)
    told = _one_after_another(hard("x"), put("y", "a"), hard("z"))
    verdict = linearizable(Text)(told)
    assert verdict.summary.startswith("Undecided for key ")
    assert "(and 1 more of 3 keys)" in verdict.summary


def test_the_same_history_has_the_same_evidence_however_often_it_is_judged() -> None:
    told = _one_after_another(hard("a", 7), hard("b", 7), put("c", "a"))
    first, second = (linearizable(Text)(told) for _ in range(2))
    assert first.result == "invalid"
    assert (first.evidence, first.data) == (second.evidence, second.data)


def _one_after_another(*groups: list[tuple[Any, ...]]) -> History:
    """The groups of lines as one history; each has processes of its own."""
    return history(
        *(
            (line[0] + 100 * number, *line[1:])
            for number, group in enumerate(groups)
            for line in group
        )
    )
