"""What is left of a run when one of its examples is made all that it is about."""

from __future__ import annotations

import time
from pathlib import Path

import orjson

from harness.record.journal import Journal, read_journal
from harness.record.recorder import Mark, Recorder


def test_a_history_forgets_what_was_before_a_mark(tmp_path: Path) -> None:
    path, kept = tmp_path / "history.jsonl", tmp_path / "earlier.jsonl"
    recorder = Recorder(path, time.monotonic_ns())
    assert recorder.mark() == Mark()
    recorder.complete(recorder.invoke(0, "write", "a", 1, "node-1"), "ok", 1)
    recorder.complete(recorder.invoke(1, "write", "a", 2, "node-2"), "info", 2)
    mark = recorder.mark()
    assert mark.ops == 2
    recorder.complete(recorder.invoke(0, "read", "b", None, "node-1"), "fail", None)
    recorder.forget(mark, kept)
    recorder.complete(recorder.invoke(0, "write", "b", 3, "node-1"), "ok", 3)
    recorder.close()
    assert [op.key for op in recorder.ops] == ["b", "b"]
    assert recorder.outcomes == {"ok": 1, "fail": 1, "info": 0}
    assert [orjson.loads(line)["key"] for line in kept.read_bytes().splitlines()] == ["a"] * 4
    records = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert [one["index"] for one in records] == [4, 5, 6, 7]
    assert {one["key"] for one in records} == {"b"}


def test_a_journal_forgets_what_was_between_two_marks(tmp_path: Path) -> None:
    path, kept = tmp_path / "journal.jsonl", tmp_path / "earlier.jsonl"
    journal = Journal(path, time.monotonic_ns())
    journal.write("phase", phase="up")
    begin = journal.mark()
    journal.write("note", what="example 1")
    end = journal.mark()
    journal.write("note", what="example 2")
    journal.forget(begin, end, kept)
    journal.write("end")
    journal.close()
    told = [(event.name, event.data.get("what")) for event in read_journal(path)]
    assert told == [("phase", None), ("note", "example 2"), ("end", None)]
    assert [event.data["what"] for event in read_journal(kept)] == ["example 1"]
