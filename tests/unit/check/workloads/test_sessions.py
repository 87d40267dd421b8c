"""Session guarantees: each against its definition, and against replicas that break it."""

from __future__ import annotations

from itertools import chain
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from harness.check.verdict import Verdict
from harness.check.workloads import (
    monotonic_reads,
    monotonic_writes,
    read_your_writes,
    writes_follow_reads,
)
from harness.history import History, Op
from tests.support.histories import history
from tests.support.overlaps import registers
from tests.support.services import Call, drive


def did(
    process: int, f: str, value: Any, key: str = "x", node: str | None = None, told: Any = None
) -> list[tuple[Any, ...]]:
    """A write of that value, or a read that answers with it; `told` is what a write answers."""
    asked, answer = (None, value) if f == "read" else (value, value if told is None else told)
    more = {"key": key, "node": node or f"node-{process}"}
    return [(process, "invoke", f, asked, more), (process, "ok", f, answer, more)]


def judged(check: Any, *lines: list[tuple[Any, ...]]) -> Verdict:
    verdict: Verdict = check(history(*chain.from_iterable(lines)))
    return verdict


def test_read_your_writes() -> None:
    verdict = judged(read_your_writes(), did(1, "write", 1), did(1, "read", None))
    assert (verdict.result, verdict.anomaly) == ("invalid", "own-write-unseen")
    assert verdict.summary.startswith("Process 1 read None of key 'x' on node-1 at 0.200-0.300 s")
    assert "though it had itself written 1 before" in verdict.summary
    assert judged(read_your_writes(), did(1, "write", 1), did(1, "read", 1)).valid
    newer = [did(1, "write", 1), did(2, "write", 2), did(1, "read", 2)]
    assert judged(read_your_writes(), *newer).valid
    older = [did(2, "write", 2), did(1, "write", 1), did(1, "read", 2)]
    assert judged(read_your_writes(), *older).result == "invalid"
    assert judged(read_your_writes(), did(1, "write", 1), did(2, "read", None)).result == "unknown"
    own = [did(1, "write", 1), did(1, "write", 2), did(1, "read", 1)]
    assert judged(read_your_writes(), *own).result == "invalid"


def test_concurrent_writes_are_not_ordered_unless_versions_say_so() -> None:
    def beside(told: Any) -> list[tuple[Any, ...]]:
        mine = did(1, "write", 1, told=told)
        theirs = did(2, "write", 2)
        return [mine[0], theirs[0], mine[1], theirs[1]]

    assert judged(read_your_writes(), beside(None), did(1, "read", 2)).valid
    told = {"value": 2, "version": 4}
    verdict = judged(read_your_writes(), beside({"version": 5}), did(1, "read", told))
    assert verdict.result == "invalid"
    assert judged(read_your_writes(), beside({"version": 3}), did(1, "read", told)).valid


def test_monotonic_reads() -> None:
    writes = [did(1, "write", 1), did(1, "write", 2)]
    verdict = judged(monotonic_reads(), *writes, did(3, "read", 2), did(3, "read", 1))
    assert (verdict.result, verdict.anomaly) == ("invalid", "read-went-back")
    assert "an older version than 2, which it had read before" in verdict.summary
    assert (
        judged(monotonic_reads(), *writes, did(3, "read", 2), did(4, "read", 1)).result == "unknown"
    )
    assert judged(monotonic_reads(), *writes, did(3, "read", 1), did(3, "read", 2)).valid
    back = judged(monotonic_reads(), *writes, did(3, "read", 1), did(3, "read", None))
    assert back.result == "invalid"
    # Two steps back: the newest one that was read counts, not the last.
    three = [*writes, did(1, "write", 3), did(3, "read", 3), did(3, "read", 2), did(3, "read", 2)]
    assert judged(monotonic_reads(), *three).data["read-went-back"] == 2


def test_monotonic_writes_are_those_of_a_server() -> None:
    writes = [did(1, "write", 1), did(1, "write", 5, "y")]
    server = [did(3, "read", 5, "y", "n2"), did(4, "read", None, "x", "n2")]
    verdict = judged(monotonic_writes(), *writes, *server)
    assert (verdict.result, verdict.anomaly) == ("invalid", "writes-reordered")
    assert "where 5 of process 1 had been seen, which had written 1 here before" in verdict.summary
    other = [did(3, "read", 5, "y", "n2"), did(4, "read", None, "x", "n3")]
    assert judged(monotonic_writes(), *writes, *other).result == "unknown"
    fine = [did(3, "read", 5, "y", "n2"), did(4, "read", 1, "x", "n2")]
    assert judged(monotonic_writes(), *writes, *fine).valid
    apart = [did(1, "write", 1), did(2, "write", 5, "y")]
    assert judged(monotonic_writes(), *apart, *server).result == "unknown"
    told = [did(1, "write", 1, told={"version": 7}), did(1, "write", 2, told={"version": 6})]
    versions = judged(monotonic_writes(), *told)
    assert (versions.result, "has the older version" in versions.summary) == ("invalid", True)
    assert judged(monotonic_writes(), *reversed(told)).valid


def test_a_server_must_have_all_that_came_before_the_last_write_it_has_shown() -> None:
    writes = [did(1, "write", 5, "y"), did(1, "write", 1), did(1, "write", 6, "y")]
    late = did(4, "read", None, "x", "n2")
    first, last = did(3, "read", 5, "y", "n2"), did(3, "read", 6, "y", "n2")
    assert judged(monotonic_writes(), *writes, first, late).result == "unknown"
    assert judged(monotonic_writes(), *writes, first, last, late).result == "invalid"
    assert judged(monotonic_writes(), *writes, last, first, late).result == "invalid"


@pytest.mark.parametrize(
    "check", [read_your_writes, monotonic_reads, monotonic_writes, writes_follow_reads]
)
def test_they_end_when_the_time_is_over(check: Any) -> None:
    lines = [line for n in range(2000) for line in (did(1, "write", n + 1), did(1, "read", n + 1))]
    verdict = judged(check(timeout=0.001), *lines)
    assert (verdict.result, "timeout=" in verdict.summary) == ("unknown", True)


def test_where_only_completions_are_known_a_process_still_has_its_order() -> None:
    lines = [did(1, "write", 1), did(2, "write", 2), did(1, "write", 3), did(1, "read", 1)]
    ops = history(*chain.from_iterable(lines)).ops
    assert read_your_writes()(History(ops, realtime=False)).result == "invalid"
    ops = history(*chain.from_iterable([*lines[:3], did(1, "read", 2)])).ops
    assert read_your_writes()(History(ops)).result == "invalid"
    assert read_your_writes()(History(ops, realtime=False)).valid


def test_writes_follow_reads() -> None:
    cause = [did(2, "write", 1), did(1, "read", 1), did(1, "write", 5, "y")]
    server = [did(3, "read", 5, "y", "n2"), did(4, "read", None, "x", "n2")]
    verdict = judged(writes_follow_reads(), *cause, *server)
    assert (verdict.result, verdict.anomaly) == ("invalid", "write-before-its-cause")
    assert "where 5 of process 1 had been seen, which had read 1 here before" in verdict.summary
    fine = [did(3, "read", 5, "y", "n2"), did(4, "read", 1, "x", "n2")]
    assert judged(writes_follow_reads(), *cause, *fine).valid
    unread = [did(2, "write", 1), did(1, "write", 5, "y"), did(1, "read", 1)]
    assert judged(writes_follow_reads(), *unread, *server).result == "unknown"
    read = did(1, "read", {"value": 1, "version": 7})
    told = [did(2, "write", 1), read, did(1, "write", 2, told={"version": 6})]
    assert judged(writes_follow_reads(), *told).result == "invalid"


@pytest.mark.parametrize(
    "check", [read_your_writes(), monotonic_reads(), monotonic_writes(), writes_follow_reads()]
)
def test_a_value_that_was_written_twice_is_unknown(check: Any) -> None:
    lines = [did(1, "write", 1), did(1, "read", 1), did(1, "write", 1), did(1, "read", 1)]
    verdict = judged(check, *lines)
    assert (verdict.result, "1 was written twice of key 'x'" in verdict.summary) == (
        "unknown",
        True,
    )
    assert judged(check).result == "unknown"


def older(history: History, key: str, one: Any, other: Any) -> bool:
    """Whether value `one` of a key is certainly older than `other`."""
    if one is None or other is None:
        return one is None and other is not None
    first, second = history.ops[one - 1], history.ops[other - 1]
    if first.process == second.process:
        return first.index < second.index
    return first.outcome == "ok" and (first.end_index or 0) < second.index


def broken(history: History) -> set[str]:
    """The guarantees that do not hold, by their definitions."""
    ops = [op for op in history.ops if op.outcome != "fail"]
    made = {(op.key, op.value) for op in ops if op.f == "write"}
    reads = [
        op
        for op in ops
        if op.f == "read"
        and op.outcome == "ok"
        and (op.result is None or (op.key, op.result) in made)
    ]
    writes = [op for op in ops if op.f == "write"]

    def behind(read: Op, key: str, value: Any) -> bool:
        return read.key == key and older(history, key, read.result, value)

    kinds = set()
    for read in reads:
        for op in ops:
            if op.process != read.process or op.index >= read.index:
                continue
            if op.f == "write" and behind(read, op.key, op.value):
                kinds.add("own-write-unseen")
            if op in reads and behind(read, op.key, op.result):
                kinds.add("read-went-back")
        for shows in reads:
            if shows.node != read.node or (shows.end_index or 0) >= read.index:
                continue
            for write in writes:
                if (write.key, write.value) != (shows.key, shows.result):
                    continue
                for op in ops:
                    if op.process != write.process or op.index >= write.index:
                        continue
                    if op.f == "write" and behind(read, op.key, op.value):
                        kinds.add("writes-reordered")
                    if op in reads and behind(read, op.key, op.result):
                        kinds.add("write-before-its-cause")
    return kinds


@settings(max_examples=200, deadline=None)
@given(registers())
def test_they_agree_with_their_definitions(history: History) -> None:
    checks = (read_your_writes, monotonic_reads, monotonic_writes, writes_follow_reads)
    found = {kind for check in checks for kind in check()(history).anomalies}
    assert found == broken(history)


class Replicas:
    """A primary and its replicas. Bugs: these are up to 60 ms behind; and one of them has the
    writes of key x long after those of key y."""

    def __init__(self, bug: str) -> None:
        self.bug = bug
        self.log: list[tuple[int, Any, Any]] = []

    def answer(self, call: Call, process: int, now: int) -> Any:
        if call.f == "write":
            self.log.append((now, call.key, call.value))
            return None
        late = {"n1": 0, "n2": 30, "n3": 60}[call.node or "n1"] * 1_000_000
        if not self.bug:
            late = 0
        if self.bug == "reordered" and call.key == "x" and call.node == "n3":
            late += 150_000_000
        there = [value for at, key, value in self.log if key == call.key and at + late <= now]
        return there[-1] if there else None


@pytest.mark.parametrize("bug", ["", "behind", "reordered"])
def test_replicas_with_a_bug_are_caught(bug: str) -> None:
    def calls(rng: Random, number: int) -> Call:
        node = rng.choice(["n1", "n2", "n3"])
        f = rng.choice(["write", "read", "read"])
        return Call(f, number if f == "write" else None, key=rng.choice("xy"), node=node)

    kinds = set()
    for seed in range(4):
        recorded = drive(Replicas(bug), calls, seed=seed, count=300)
        for check in (read_your_writes, monotonic_reads, monotonic_writes, writes_follow_reads):
            verdict = check()(recorded)
            assert bug or verdict.valid
            kinds.update(verdict.anomalies)
    own = {"own-write-unseen", "read-went-back"}
    servers = {"writes-reordered", "write-before-its-cause"}
    # A replica that takes all writes in order shows a process old ones, but none out of order.
    assert kinds == {"": set(), "behind": own, "reordered": own | servers}[bug]
