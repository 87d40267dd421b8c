"""How much a fault mattered is told from the journal and the ops alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.history import MISMATCH, Op
from harness.record.bite import bites

SECOND = 10**9


def journal(path: Path, *, in_flight: int = 0, connections: int | None = None) -> Path:
    injected: dict[str, Any] = {"nodes": ["node-1"], "in_flight": in_flight}
    if connections is not None:
        injected["connections"] = connections
    events = [
        {"time": 1 * SECOND, "step": "asked", "what": "pause node-1", "asked_s": 0.5},
        {"time": 2 * SECOND, "step": "injected", **injected},
        {"time": 4 * SECOND, "step": "healing"},
        {"time": 5 * SECOND, "step": "healed"},
    ]
    lines = [json.dumps({"event": "fault", "id": "f1", **event}) for event in events]
    (path / "journal.jsonl").write_text("\n".join(lines) + "\n")
    return path / "journal.jsonl"


def op(start_s: float, end_s: float | None, outcome: Any = "ok", error: str | None = None) -> Op:
    end = None if end_s is None else int(end_s * SECOND)
    return Op(0, "read", "k", None, outcome, None, int(start_s * SECOND), end, 0, 1, error=error)


def test_ops_that_went_unanswered_while_it_was_in_force(tmp_path: Path) -> None:
    ops = [
        op(0.1, 0.2, "fail", "unavailable"),  # before
        op(0.3, 0.4),
        op(0.5, 0.6),
        op(1.9, 2.1),
        op(2.5, 2.6, "fail", "unavailable"),
        op(2.5, 2.6, "fail", MISMATCH),  # an answer
        op(3.0, None, "info"),
        op(0.5, None, "info"),  # long before
        op(4.5, 4.6, "fail", "unavailable"),  # after
    ]
    (bite,) = bites(journal(tmp_path), ops)
    assert (bite.ops, bite.disturbed, bite.bit) == (4, 2, True)
    assert round(bite.usual, 2) == 0.33
    assert (bite.injected_s, bite.healed_s, bite.asked_s) == (2, 4, 0.5)


def test_a_fault_that_nobody_noticed_is_named(tmp_path: Path) -> None:
    (bite,) = bites(journal(tmp_path, connections=0), [op(2.5, 2.6)])
    assert not bite.bit
    assert "DID NOT BITE" in str(bite)


def test_a_connection_that_it_met_is_a_bite(tmp_path: Path) -> None:
    (met,) = bites(journal(tmp_path, connections=3), [])
    assert met.bit and "connections met: 3" in str(met)


def test_what_goes_unanswered_anyway_is_no_bite(tmp_path: Path) -> None:
    failing = [op(s / 10, s / 10 + 0.05, "fail", "unavailable") for s in range(2, 38, 2)]
    fine = [op(s / 10, s / 10 + 0.05) for s in range(3, 38, 2)]
    (bite,) = bites(journal(tmp_path, connections=0), failing + fine)
    assert bite.disturbed and not bite.bit
    assert round(bite.usual, 1) == 0.5


def test_a_fault_that_did_not_land_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"time": 1, "event": "fault", "id": "f1", "step": "asked", "what": "x"}\n')
    assert bites(path, []) == []
