"""Faults and the target's own events on the run's clock."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness.errors import UsageError
from harness.record.events import read_events, write_events
from harness.record.journal import Event
from harness.record.spans import FaultSpans
from harness.target import Target
from harness.timeline import TargetEvent


def told(time: int, id: str, step: str, **data: Any) -> Event:
    return Event(time, "fault", {"id": id, "step": step, **data})


def test_a_fault_spans_from_its_injection_to_its_healing() -> None:
    spans = FaultSpans()
    for event in (
        Event(1, "phase", {"phase": "during"}),
        told(10, "f1", "asked", kind="kill", what="kill node-1"),
        told(12, "f1", "injected", nodes=["node-1"]),
        told(13, "f2", "asked", kind="latency", what="latency 600 ms provider"),
        told(14, "f2", "injected", nodes=["provider"]),
        told(20, "f1", "healing"),
        told(22, "f1", "healed"),
        told(30, "f3", "asked", kind="pause", what="pause node-2"),
    ):
        spans.hear(event)
    first, second = spans.until(50)
    assert (first.id, first.kind, first.nodes, first.start, first.end) == (
        "f1",
        "kill",
        ("node-1",),
        12,
        20,
    )
    # Still in force: it lasts until now. One that did not land never was in force.
    assert (second.id, second.start, second.end) == ("f2", 14, 50)


def test_a_fault_that_failed_to_heal_ended_when_healing_began() -> None:
    spans = FaultSpans()
    for event in (
        told(10, "f1", "asked", kind="kill", what="kill node-1"),
        told(12, "f1", "injected", nodes=["node-1"]),
        told(20, "f1", "healing"),
        told(25, "f1", "failed", error="…"),
    ):
        spans.hear(event)
    (span,) = spans.until(50)
    assert span.end == 20


@dataclass(frozen=True, kw_only=True)
class Mute(Target):
    name: ClassVar[str] = "mute"
    ports: ClassVar[Mapping[str, int]] = {"main": 1}


@dataclass(frozen=True, kw_only=True)
class Talks(Mute):
    def event(self, line: str) -> tuple[float, str, Mapping[str, Any]] | None:
        if not line.startswith("{"):
            return None
        data = json.loads(line)
        return data.pop("at"), data.pop("event"), data


def test_events_of_all_logs_are_in_order_on_the_runs_clock(tmp_path: Path) -> None:
    (tmp_path / "node-1.log").write_text('starting\n{"at": 12.5, "event": "breaker", "x": 1}\n')
    (tmp_path / "node-2.log").write_text('{"at": 11.0, "event": "drain"}\n')
    names = ["node-1", "node-2", "node-3"]
    events = read_events(Talks(), tmp_path, names, 10 * 10**9)
    assert [(e.time, e.node, e.name) for e in events] == [
        (10**9, "node-2", "drain"),
        (2_500_000_000, "node-1", "breaker"),
    ]
    assert events[1].data == {"x": 1}
    write_events(tmp_path / "events.jsonl", events)
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {
        "time": 2_500_000_000,
        "node": "node-1",
        "event": "breaker",
        "x": 1,
    }


def test_data_cannot_overwrite_what_the_harness_says(tmp_path: Path) -> None:
    data = {"node": "nobody", "time": "never", "event": "none", "x": 1}
    write_events(tmp_path / "events.jsonl", [TargetEvent(5, "node-1", "breaker", data)])
    assert json.loads((tmp_path / "events.jsonl").read_text()) == {
        "time": 5,
        "node": "node-1",
        "event": "breaker",
        "x": 1,
    }


@dataclass(frozen=True, kw_only=True)
class Returns(Mute):
    """Takes each line for what `event` returns."""

    def event(self, line: str) -> Any:
        return eval(line, {"inf": math.inf, "now": time.monotonic, "today": time.time})


@pytest.mark.parametrize(
    "wrong",
    [
        "5",
        "'x'",
        "[1, 'x', {}]",
        "(1, 'x')",
        "('1', 'x', {})",
        "(True, 'x', {})",
        "(inf, 'x', {})",
        "(1, 2, {})",
        "(1, 'x', None)",
        "(1, 'x', [1])",
        "(1, 'x', {1: 2})",
    ],
)
def test_what_is_no_event_is_refused_with_log_and_line(wrong: str, tmp_path: Path) -> None:
    (tmp_path / "node-1.log").write_text(f"None\n{wrong}\n")
    with pytest.raises(UsageError, match=r"Returns\.event\(\) on node-1\.log:2 returned"):
        read_events(Returns(), tmp_path, ["node-1"], 0)


@pytest.mark.parametrize(
    ("moment", "good"),
    [
        ("now()", True),
        ("now() - 50", True),
        ("now() - 62", False),
        ("now() + 0.5", True),
        ("now() + 5", False),
        ("0.25", False),
        ("today()", False),
    ],
)
def test_moments_must_be_of_this_run(moment: str, good: bool, tmp_path: Path) -> None:
    (tmp_path / "node-1.log").write_text(f"({moment}, 'breaker', {{}})\n")
    start_ns = time.monotonic_ns()
    if good:
        assert len(read_events(Returns(), tmp_path, ["node-1"], start_ns)) == 1
        return
    with pytest.raises(UsageError, match="not in this run") as raised:
        read_events(Returns(), tmp_path, ["node-1"], start_ns)
    assert "CLOCK_MONOTONIC" in str(raised.value)


def test_a_target_without_events_has_its_logs_left_alone(tmp_path: Path) -> None:
    (tmp_path / "node-1.log").write_text('{"at": 1')
    assert read_events(Mute(), tmp_path, ["node-1"], 0) == []


def test_a_bug_in_event_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "node-1.log").write_text('{"event": "x"}\n')
    with pytest.raises(UsageError, match=r"Talks failed in event\(\) on node-1.log:1"):
        read_events(Talks(), tmp_path, ["node-1"], 0)
