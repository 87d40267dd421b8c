"""What a replay is told to have done differently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.replay.compare import divergences


def folder(path: Path, *, nodes: list[str], at_s: float, outcome: str = "passed") -> Path:
    path.mkdir()
    identity = {"schema": 1, "experiment": "x", "seed": 1, "outcome": outcome, "ops": {"ok": 9}}
    (path / "run.json").write_text(json.dumps(identity))
    begun = 5_000_000_000
    events: list[dict[str, Any]] = [
        {"time": begun, "event": "phase", "phase": "during"},
        {"time": begun + 1, "event": "fault", "step": "asked", "id": "f1", "what": "pause leader"},
        {
            "time": begun + int(at_s * 1e9),
            "event": "fault",
            "step": "injected",
            "id": "f1",
            "nodes": nodes,
        },
    ]
    (path / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def test_nothing_differs(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", nodes=["node-1"], at_s=1.00)
    two = folder(tmp_path / "two", nodes=["node-1"], at_s=1.05)
    assert divergences(one, two)[1:] == ["  nowhere that was recorded"]


def test_another_leader_another_moment_another_outcome(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", nodes=["node-1"], at_s=1.0, outcome="failed")
    two = folder(tmp_path / "two", nodes=["node-3"], at_s=1.5)
    assert divergences(one, two) == [
        "Replayed one; where it diverged:",
        "  f1 pause leader hit node-1, now node-3",
        "  f1 pause leader took effect +0.50 s later than then",
        "  outcome: failed, now passed",
    ]


@pytest.mark.parametrize("missing", ["one", "two"])
def test_a_fault_that_took_place_once_only(tmp_path: Path, missing: str) -> None:
    folders = {name: folder(tmp_path / name, nodes=["node-1"], at_s=1.0) for name in ("one", "two")}
    (folders[missing] / "journal.jsonl").write_text("")
    told = divergences(folders["one"], folders["two"])
    where = "only in the replay" if missing == "one" else "only before"
    assert f"  f1 took place {where}" in told
