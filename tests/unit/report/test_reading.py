"""Folders of runs, whatever became of the run: what can be read is, and what cannot is told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UnreadableError
from harness.record.folder import RunFolder
from harness.report.faults import faults, states, told_events
from harness.report.page import report
from harness.report.reading import read
from tests.support.run_folders import STARTED_UNIX, S, make_run


def change(path: Path, **fields: Any) -> None:
    data = json.loads(path.read_text())
    for name, value in fields.items():
        if value is None:
            data.pop(name, None)
        else:
            data[name] = value
    path.write_text(json.dumps(data))


def test_a_whole_run(tmp_path: Path) -> None:
    found = read(make_run(tmp_path, load=True))
    assert found.missing == []
    assert (found.outcome, len(found.ops), found.nodes[0]) == ("failed", 400, "node-1")
    assert found.load and found.measurements and found.resources
    assert 0 < found.load[0].time < 2 * S


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="no such folder"):
        read(RunFolder(tmp_path / "x"))
    with pytest.raises(UnreadableError, match="not the folder of a run"):
        read(RunFolder(tmp_path))


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    change(folder.identity, schema=99)
    with pytest.raises(UnreadableError, match="schema 99"):
        read(folder)


def test_a_run_that_was_killed_half_way(tmp_path: Path) -> None:
    folder = make_run(tmp_path, outcome=None)
    # As SIGKILL leaves them: cut in the middle of a line, with a fault still in force.
    for path, part in ((folder.history, 0.5), (folder.journal, 0.6), (folder.measurements, 0.5)):
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * part)])
    found = read(folder)
    assert found.outcome == "unfinished"
    assert 0 < len(found.ops) < 400
    assert "nothing was judged" in " ".join(found.missing)
    assert [phase.name for phase in found.phases][:3] == ["up", "before", "during"]
    page = report(found, inline=False)
    assert "Unfinished" in page and "Nothing was judged." in page


@pytest.mark.parametrize(
    "name",
    ["plan.json", "journal.jsonl", "history.jsonl", "verdicts.json", "measurements.jsonl",
     "resources.jsonl", "run.json"],
)  # fmt: skip
@pytest.mark.parametrize("damage", ["gone", "binary", "other"])
def test_each_damaged_file_costs_what_it_held_only(tmp_path: Path, name: str, damage: str) -> None:
    folder = make_run(tmp_path, load=True)
    path = folder.path / name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(
            b"\xff\xfe\x00\n[]\n" if damage == "binary" else b'[1, {"time": "x"}]\n3\n'
        )
    found = read(folder)
    if damage != "gone":
        assert found.missing
    page = report(found, inline=False)
    assert '<section id="timeline">' in page
    # What was not damaged is there.
    assert name in ("history.jsonl", "run.json") or len(found.ops) == 400


def test_when_a_run_began_by_the_clocks_of_its_logs(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    assert read(folder).unix_ns == STARTED_UNIX * S
    change(folder.identity, clock=None)
    last_ns = read(folder).events[-1].time
    began_ns = STARTED_UNIX * S + 300_000_000
    os.utime(folder.journal, ns=(0, began_ns + last_ns))
    found = read(folder)
    assert abs(found.unix_ns - began_ns) < 1000
    os.utime(folder.journal)  # copied: the moment means nothing
    found = read(folder)
    assert (found.unix_ns, found.unix_within_ns) == (STARTED_UNIX * S + S // 2, S // 2)


def test_nodes_are_down_and_paused_while_faults_hold_them(tmp_path: Path) -> None:
    found = read(make_run(tmp_path, faults=4))
    known = faults(found)
    assert [fault.family for fault in known] == ["cut", "down", "paused", "slow"]
    held = states(found, known)
    assert [state for _, _, state in held["node-2"]] == ["up", "down", "up"]
    assert [state for _, _, state in held["node-3"]] == ["up", "paused", "up"]
    _, kill, pause, _ = known
    assert held["node-2"][1][:2] == (kill.injected, kill.healed)
    assert held["node-3"][1][:2] == (pause.injected, pause.healed)


def test_a_node_that_exits_by_itself_is_down_until_the_end(tmp_path: Path) -> None:
    folder = make_run(tmp_path, faults=0)
    with folder.journal.open("a") as file:
        file.write(
            '{"time":4000000000,"event":"node","step":"exited","node":"node-1","status":1}\n'
        )
    found = read(folder)
    assert states(found, [])["node-1"][1:] == [(4.0, 9.0, "down")]
    assert "node-1 exited by itself at 4.0 s with status 1." in report(found, inline=False)


def test_rare_events_of_logs_are_kept_where_there_are_too_many(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    lines = [{"time": n * 10**6, "node": "node-1", "event": "attempt"} for n in range(5000)]
    lines.insert(7, {"time": 2 * S, "node": "node-1", "event": "breaker", "state": "open"})
    folder.events.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert told_events(read(folder)) == {"node-1": [(2.0, "breaker: state open")]}


def test_whether_a_fault_bit(tmp_path: Path) -> None:
    folder = make_run(tmp_path, faults=2)
    bites = [
        {"id": "f1", "ops": 100, "disturbed": 2, "usual": 0.02},
        {"id": "f2", "ops": 100, "disturbed": 0, "usual": 0.0, "connections": 3},
    ]
    change(folder.identity, bites=bites)
    assert [fault.bit for fault in faults(read(folder))] == [False, True]
