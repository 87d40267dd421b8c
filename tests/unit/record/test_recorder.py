"""The recorder writes what happened and refuses what cannot have happened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from harness.errors import BrokenError
from harness.history import History
from harness.record.recorder import Recorder


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "history.jsonl", time.monotonic_ns())
    yield recorder
    recorder.close()


def lines(recorder: Recorder, tmp_path: Path) -> list[dict[str, object]]:
    recorder.flush()
    return [orjson.loads(line) for line in (tmp_path / "history.jsonl").read_bytes().splitlines()]


def test_records_follow_jepsens_op_map(recorder: Recorder, tmp_path: Path) -> None:
    op = recorder.invoke(3, "cas", "k1", [1, 2], "node-2")
    recorder.complete(op, "fail", [1, 2], "mismatch")
    invoked, failed = lines(recorder, tmp_path)
    assert invoked.pop("time") <= failed.pop("time")  # type: ignore[operator]
    common = {"process": 3, "f": "cas", "key": "k1", "value": [1, 2], "node": "node-2"}
    assert invoked == {"index": 0, "type": "invoke", **common}
    assert failed == {"index": 1, "type": "fail", "error": "mismatch", **common}


def test_what_is_read_back_is_what_was_kept(recorder: Recorder, tmp_path: Path) -> None:
    first = recorder.invoke(0, "write", "k", 1, "node-1")
    second = recorder.invoke(1, "read", "k", None, "node-2", final=True)
    recorder.complete(second, "ok", 1)
    recorder.complete(first, "info", 1, "timeout")
    recorder.close()
    assert History.read(tmp_path / "history.jsonl").ops == recorder.ops


@pytest.mark.parametrize("outcome", ["ok", "info"])
def test_an_op_cannot_end_twice(recorder: Recorder, outcome: str) -> None:
    op = recorder.invoke(0, "write", "k", 1, None)
    recorder.complete(op, outcome, 1)  # type: ignore[arg-type]
    with pytest.raises(BrokenError, match="not open"):
        recorder.complete(op, "ok", 1)


def test_a_process_has_one_op_at_a_time(recorder: Recorder) -> None:
    recorder.invoke(0, "write", "k", 1, None)
    with pytest.raises(BrokenError, match="another op open"):
        recorder.invoke(0, "read", "k", None, None)


def test_a_process_ends_with_an_info_op(recorder: Recorder) -> None:
    recorder.complete(recorder.invoke(0, "write", "k", 1, None), "info", 1)
    with pytest.raises(BrokenError, match="info op"):
        recorder.invoke(0, "read", "k", None, None)


def test_an_unknown_outcome_is_refused(recorder: Recorder) -> None:
    op = recorder.invoke(0, "write", "k", 1, None)
    with pytest.raises(BrokenError, match="maybe"):
        recorder.complete(op, "maybe", 1)  # type: ignore[arg-type]


def test_a_value_that_is_no_json_names_the_operation(recorder: Recorder) -> None:
    op = recorder.invoke(0, "read", "k", None, None)
    with pytest.raises(BrokenError, match="read of key 'k'"):
        recorder.complete(op, "ok", {1, 2})


def test_closing_twice_is_harmless(recorder: Recorder) -> None:
    recorder.close()
    recorder.close()
