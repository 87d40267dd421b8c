"""Journals and run folders: readable half-way, damaged ones refused with a reason."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.errors import UnreadableError, UsageError
from harness.record.folder import RunFolder
from harness.record.journal import Event, Journal, read_journal


def test_events_are_on_disk_at_once_and_heard(tmp_path: Path) -> None:
    heard: list[Event] = []
    journal = Journal(tmp_path / "journal.jsonl", time.monotonic_ns(), [heard.append])
    written = journal.write("phase", phase="during")
    assert list(read_journal(tmp_path / "journal.jsonl")) == [written] == heard
    journal.close()


def test_progress_is_heard_but_not_written(tmp_path: Path) -> None:
    heard: list[Event] = []
    journal = Journal(tmp_path / "journal.jsonl", time.monotonic_ns(), [heard.append])
    journal.progress(ops_per_s=3)
    journal.close()
    assert [event.name for event in heard] == ["progress"]
    assert list(read_journal(tmp_path / "journal.jsonl")) == []


def test_what_a_killed_run_leaves_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"time": 1, "event": "phase", "phase": "up"}\n{"time": 2, "ev')
    assert [event.time for event in read_journal(path)] == [1]


def test_other_damage_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"time": 1, "event": "phase"}\nrubbish\n{"time": 3, "event": "end"}\n')
    with pytest.raises(UnreadableError, match=r"journal\.jsonl:2"):
        list(read_journal(path))


def test_folders_are_named_by_time_experiment_and_seed(tmp_path: Path) -> None:
    first = RunFolder.create(tmp_path, "experiments/test_x.py::test_a[b c]", 42)
    second = RunFolder.create(tmp_path, "experiments/test_x.py::test_a[b c]", 42)
    assert first.path != second.path
    assert first.path.name.endswith("Z-test_a-b-c-42")
    assert first.logs.is_dir()


def test_a_folder_that_cannot_be_made_is_the_users_to_correct(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UsageError, match="cannot be written to"):
        RunFolder.create(tmp_path / "runs", "test_a", 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not the folder of a run"),
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"schema": 1, "seed": 1}', "'experiment'"),
        ('{"schema": 999, "seed": 1, "experiment": "x"}', "schema 999"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(UnreadableError, match=message):
        RunFolder(tmp_path).read_identity()
