"""Limits: time and memory end in `unknown` soon enough, and nothing hard hides what is easy."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

import psutil
import pytest

from harness.check import linearizable
from harness.check.budget import Budget
from harness.check.models import INCONSISTENT, named
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


def test_no_more_time_than_was_given() -> None:
    began = time.monotonic()
    verdict = linearizable(Text, timeout=2)(history(*hard("x")))
    took_s = time.monotonic() - began
    assert verdict.result == "unknown"
    assert "2 s (timeout=)" in verdict.summary
    assert 1.8 < took_s < 2.2


def test_no_more_memory_than_was_given() -> None:
    process, done = psutil.Process(), threading.Event()
    gc.collect()
    before = peak = process.memory_info().rss

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        verdict = linearizable(Text, memory=30 * MIB)(history(*hard("x")))
    finally:
        done.set()
        watcher.join()
    assert verdict.result == "unknown"
    assert "30 MiB (memory=)" in verdict.summary
    assert peak - before < 33 * MIB


def test_what_is_decided_or_given_up_frees_its_memory_at_once() -> None:
    model, calm = named("kv"), history(*put("x", "a"))
    search = Search(model, model.entries(calm.ops), model.start(calm.ops))
    assert search.advance(100, Budget(10, MIB)).answer == "legal"
    assert not search._stack and not search._memory
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        linearizable(Text, timeout=0.2)(history(*hard("x"), *hard("y")))
        assert len(gc.get_objects()) - before < 1000
    finally:
        gc.enable()


@pytest.mark.parametrize("order", [("hard", "easy"), ("easy", "hard")])
def test_a_hard_key_does_not_hide_a_plain_failure(order: tuple[str, str]) -> None:
    lines = {"hard": hard("hard"), "easy": put("easy", "b")}
    began = time.monotonic()
    verdict = linearizable(Text, timeout=30)(_one_after_another(*map(lines.__getitem__, order)))
    assert verdict.result == "invalid"
    assert verdict.data["key"] == "easy"
    assert time.monotonic() - began < 3


def test_a_failure_that_takes_some_looking_for_has_its_turns_beside_a_hard_key() -> None:
    # Seven appends can leave 13 700 texts, more than are visited in a first turn.
    verdict = linearizable(Text, timeout=30)(_one_after_another(hard("hard"), hard("middling", 7)))
    assert verdict.result == "invalid"
    assert verdict.data["key"] == "middling"


def test_what_is_undecided_is_told() -> None:
    told = _one_after_another(hard("x"), put("y", "a"), hard("z"))
    verdict = linearizable(Text, timeout=0.2)(told)
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
