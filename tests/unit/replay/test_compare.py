"""What a replay is told to have done differently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.replay.compare import side_by_side

STALE = {
    "check": "linearizable(register)",
    "result": "invalid",
    "expected": "valid",
    "anomaly": "nonlinearizable",
    "model": "register",
}


def folder(
    path: Path,
    *,
    nodes: list[str],
    at_s: float,
    outcome: str = "passed",
    verdicts: tuple[dict[str, Any], ...] = (),
) -> Path:
    path.mkdir()
    identity = {"schema": 1, "experiment": "x", "seed": 1, "outcome": outcome, "ops": {"ok": 9}}
    (path / "run.json").write_text(json.dumps(identity))
    begun = 5_000_000_000
    events: list[dict[str, Any]] = [
        {"time": begun, "event": "phase", "phase": "during"},
        {
            "time": begun + 1,
            "event": "fault",
            "step": "asked",
            "id": "f1",
            "what": "pause leader",
            "kind": "pause",
        },
        {
            "time": begun + int(at_s * 1e9),
            "event": "fault",
            "step": "injected",
            "id": "f1",
            "nodes": nodes,
        },
    ]
    (path / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (path / "verdicts.json").write_text(json.dumps({"schema": 1, "verdicts": verdicts}))
    return path


def test_nothing_differs(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", nodes=["node-1"], at_s=1.00)
    two = folder(tmp_path / "two", nodes=["node-1"], at_s=1.05)
    assert side_by_side(one, two) == ["Replayed one; nothing that was recorded differed."]


def test_another_leader_another_moment_another_outcome(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", nodes=["node-1"], at_s=1.0, outcome="failed", verdicts=(STALE,))
    two = folder(tmp_path / "two", nodes=["node-3"], at_s=1.5)
    told = side_by_side(one, two)
    assert told[0] == "Replayed one; what differed:"
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in told[1:]]
    assert rows == [
        ["recorded", "replayed"],
        ["f1 pause hit", "node-1", "node-3"],
        ["f1 pause injected at", "1.00 s", "1.50 s"],
        ["linearizable(register)", "invalid: nonlinearizable", "-"],
        ["outcome", "failed", "passed"],
        ["It did not fail the same way (linearizable(register): nonlinearizable)."],
    ]


def test_the_same_failure_is_told(tmp_path: Path) -> None:
    one, two = (
        folder(tmp_path / name, nodes=["node-1"], at_s=1.0, outcome="failed", verdicts=(STALE,))
        for name in ("one", "two")
    )
    last = side_by_side(one, two)[-1]
    assert last == "It failed the same way: linearizable(register): nonlinearizable."


@pytest.mark.parametrize("missing", ["one", "two"])
def test_a_fault_that_took_place_once_only(tmp_path: Path, missing: str) -> None:
    folders = {name: folder(tmp_path / name, nodes=["node-1"], at_s=1.0) for name in ("one", "two")}
    (folders[missing] / "journal.jsonl").write_text("")
    told = side_by_side(folders["one"], folders["two"])
    cells = ["-", "node-1"] if missing == "one" else ["node-1", "-"]
    assert any(line.split() == ["f1", "pause", "hit", *cells] for line in told), told
