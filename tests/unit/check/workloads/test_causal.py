"""Causal consistency: the bad patterns of Bouajjani and others, and replicas that show them."""

from __future__ import annotations

from itertools import chain
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from harness.check.verdict import Verdict
from harness.check.workloads import causal
from harness.history import History
from tests.support.histories import history
from tests.support.overlaps import registers
from tests.support.services import Call, drive


def did(
    process: int, f: str, value: Any, key: str = "x", kind: str = "ok"
) -> list[tuple[Any, ...]]:
    asked = None if f.startswith("read") else value
    return [(process, "invoke", f, asked, {"key": key}), (process, kind, f, value, {"key": key})]


def judged(*lines: list[tuple[Any, ...]]) -> Verdict:
    return causal()(history(*chain.from_iterable(lines)))


def test_a_read_of_what_was_replaced() -> None:
    writes = [did(1, "write", 1), did(1, "write", 2)]
    verdict = judged(*writes, did(2, "read", 2), did(2, "read", 1))
    assert (verdict.result, verdict.anomaly) == ("invalid", "overwritten-read")
    assert "follows the write of 2, which replaced that" in verdict.summary
    assert judged(*writes, did(2, "read", 1), did(2, "read", 2)).valid
    assert judged(
        did(1, "write", 1), did(3, "write", 2), did(2, "read", 2), did(2, "read", 1)
    ).valid


def test_a_read_of_nothing_after_a_write_it_follows() -> None:
    lines = [did(1, "write", 1), did(2, "read", 1), did(2, "write", 5, "y"), did(3, "read", 5, "y")]
    verdict = judged(*lines, did(3, "read", None))
    assert (verdict.result, verdict.anomaly) == ("invalid", "initial-read")
    assert "read the initial None of key 'x'" in verdict.summary
    assert judged(*lines, did(4, "read", None)).valid
    assert judged(did(1, "read-init", 0), did(1, "write", 1), did(1, "read", 1)).valid
    assert judged(did(1, "read-init", 0), did(1, "write", 1), did(1, "read", 0)).anomaly


def test_values_from_nowhere_and_from_the_future() -> None:
    assert judged(did(1, "write", 1), did(2, "read", 7)).anomalies == ["never-written"]
    failed = judged(did(1, "write", 7, kind="fail"), did(2, "read", 7))
    assert failed.anomalies == ["failed-write-read"]
    unknown = [did(1, "write", 7, kind="info"), did(2, "read", 7)]
    assert judged(*unknown).valid
    cycle = [did(1, "read", 1), did(1, "write", 2, "y"), did(2, "read", 2, "y"), did(2, "write", 1)]
    verdict = judged(*cycle)
    assert (verdict.result, verdict.anomaly) == ("invalid", "causal-cycle")
    assert len(verdict.data["ops"]) == 4


def test_what_cannot_be_told_is_unknown() -> None:
    twice = [did(1, "write", 1), did(2, "write", 1), did(3, "read", 1)]
    assert "written twice of key 'x'" in judged(*twice).summary
    assert judged(*twice).result == "unknown"
    assert judged(did(1, "write", 1)).result == "unknown"
    recorded = history(
        *chain.from_iterable(did(1, "write", n) for n in range(2000)), *did(2, "read", 3)
    )
    hurried = causal(timeout=0.001)(recorded)
    assert (hurried.result, "timeout=" in hurried.summary) == ("unknown", True)


def bad_patterns(history: History) -> set[str]:
    """By the transitive closure, and every triple of ops."""
    ops = [
        op for op in history.ops if op.outcome == "ok" or (op.f, op.outcome) == ("write", "info")
    ]
    makers = {(op.key, op.value): op for op in ops if op.f == "write"}
    kinds = set()
    for op in list(ops):
        if op.f == "read" and op.result is not None and (op.key, op.result) not in makers:
            failed = [w for w in history.ops if (w.key, w.value) == (op.key, op.result)]
            kinds.add("failed-write-read" if failed else "never-written")
            ops.remove(op)
    size = len(ops)
    follows = [[False] * size for _op in ops]
    for n, one in enumerate(ops):
        for m, other in enumerate(ops):
            same = one.process == other.process and one.index < other.index
            read = other.f == "read" and makers.get((other.key, other.result)) is one
            follows[n][m] = same or read
    for k in range(size):
        for n in range(size):
            for m in range(size):
                follows[n][m] |= follows[n][k] and follows[k][m]
    if any(follows[n][n] for n in range(size)):
        return {*kinds, "causal-cycle"}
    for m, read in enumerate(ops):
        if read.f != "read":
            continue
        source = makers.get((read.key, read.result))
        for n, write in enumerate(ops):
            if write.f != "write" or write.key != read.key or not follows[n][m]:
                continue
            if source is None:
                kinds.add("initial-read")
            elif follows[ops.index(source)][n]:
                kinds.add("overwritten-read")
    return kinds


@settings(max_examples=200, deadline=None)
@given(registers())
def test_it_agrees_with_the_transitive_closure(history: History) -> None:
    found, expected = set(causal()(history).anomalies), bad_patterns(history)
    if "causal-cycle" in expected:
        # (what lies behind a cycle is not looked at any more)
        assert "causal-cycle" in found
    else:
        assert found == expected


class Replicas:
    """Each node has the writes of others later; its bug: in no order that respects their causes."""

    def __init__(self, bug: bool) -> None:
        self.bug = bug
        self.log: list[tuple[int, Any, Any, Any]] = []

    def answer(self, call: Call, process: int, now: int) -> Any:
        node = process % 3
        if call.f == "write":
            self.log.append((now, node, call.key, call.value))
            return None
        # A sound replica has a prefix of one order; the other has some keys much later.
        late = 50_000_000 if self.bug and call.key == "x" else 0
        there = [
            value
            for at, origin, key, value in self.log
            if key == call.key and (at + late <= now or (self.bug and origin == node))
        ]
        return there[-1] if there else None


@pytest.mark.parametrize("bug", [False, True])
def test_replicas_that_ignore_causes_are_caught(bug: bool) -> None:
    def calls(rng: Random, number: int) -> Call:
        f = rng.choice(["write", "read", "read"])
        return Call(f, number if f == "write" else None, key=rng.choice("xyz"))

    results = {
        causal()(drive(Replicas(bug), calls, seed=seed, count=300)).result for seed in range(4)
    }
    assert ("invalid" in results) == bug
    assert bug or results == {"valid"}
