"""Histories: pairing, refusals, and what a killed run leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from harness.errors import UnreadableError
from harness.history import MISMATCH, History, Phase, Record, hashable, read_records
from tests.support.histories import history


def _file(tmp_path: Path, *lines: bytes) -> Path:
    path = tmp_path / "history.jsonl"
    path.write_bytes(b"".join(lines))
    return path


def _line(number: int, kind: str, **more: Any) -> bytes:
    line = {"index": number, "time": number, "process": 0, "type": kind, "f": "read", "key": "x"}
    return orjson.dumps({**line, "value": None, **more}) + b"\n"


def test_invocations_and_completions_are_paired() -> None:
    ops = history(
        (0, "invoke", "write", 1),
        (1, "invoke", "cas", [1, 2]),
        (0, "ok", "write", 1),
        (1, "fail", "cas", [1, 2], {"error": MISMATCH}),
        (2, "invoke", "read", None, {"final": True}),
        (3, "invoke", "read", None),
        (3, "info", "read", None, {"error": "timeout"}),
    ).ops
    assert [op.outcome for op in ops] == ["ok", "fail", "info", "info"]
    assert [(op.index, op.end_index) for op in ops] == [(0, 2), (1, 3), (4, None), (5, None)]
    assert [op.error for op in ops] == [None, MISMATCH, None, "timeout"]
    assert [op.final for op in ops] == [False, False, True, False]
    assert ops[3].end is None


@pytest.mark.parametrize(
    ("reason", "lines"),
    [
        ("another op open", [(0, "invoke", "read", None), (0, "invoke", "read", None)]),
        ("no op open", [(0, "ok", "read", 1)]),
        (
            "no op open",
            [(0, "invoke", "read", None), (0, "ok", "read", 1), (0, "fail", "read", 1)],
        ),
        ("completes an op 'read'", [(0, "invoke", "read", None), (0, "ok", "write", 1)]),
        (
            "completes an op on key 'x'",
            [(0, "invoke", "read", None), (0, "ok", "read", 1, {"key": "y"})],
        ),
        (
            "ended with an info op",
            [(0, "invoke", "read", None), (0, "info", "read", None), (0, "invoke", "read", None)],
        ),
    ],
)
def test_impossible_histories_are_refused(reason: str, lines: list[tuple[Any, ...]]) -> None:
    with pytest.raises(UnreadableError, match=reason):
        history(*lines)


def test_an_op_ends_after_it_began() -> None:
    records = [Record(0, 7, 0, "invoke", "read", "x", None), Record(1, 6, 0, "ok", "read", "x", 1)]
    with pytest.raises(UnreadableError, match="ended before it began"):
        History.of(records)


def test_indexes_must_rise() -> None:
    records = [Record(3, 0, 0, "invoke", "read", "x", None), Record(3, 0, 0, "ok", "read", "x", 1)]
    with pytest.raises(UnreadableError, match="does not follow 3"):
        History.of(records)


def test_records_survive_a_file(tmp_path: Path) -> None:
    records = [
        Record(0, 5, 0, "invoke", "cas", ["a", 1], [1, 2], node="node-1", final=True),
        Record(1, 9, 0, "fail", "cas", ["a", 1], [1, 2], node="node-1", error=MISMATCH),
    ]
    path = _file(tmp_path, *(orjson.dumps(record.to_json()) + b"\n" for record in records))
    assert list(read_records(path)) == records
    phase = Phase("during", 0, 10)
    run = History.read(path, nodes=["node-1"], phases=[phase])
    assert (run.nodes, run.phase("during"), run.phase("after")) == (("node-1",), phase, None)
    assert list(run.by_key()) == [("a", 1)]


@pytest.mark.parametrize("half", [b'{"index": 1, "ti', b'{"index": 1', b"{}"])
def test_a_half_written_last_line_is_left_out(tmp_path: Path, half: bytes) -> None:
    assert len(list(read_records(_file(tmp_path, _line(0, "invoke"), half)))) == 1


@pytest.mark.parametrize(
    "damaged",
    [
        b"{oops}\n",
        b"\n",
        b"[]\n",
        b"{}\n",
        _line(1, "done"),
        b'{"index": 1\n',
        _line(1, "ok", f=["read"]),
        _line(1, "ok", node={"a": 1}),
    ],
)
def test_any_other_damage_is_told_with_file_and_line(tmp_path: Path, damaged: bytes) -> None:
    path = _file(tmp_path, _line(0, "invoke"), damaged, _line(2, "ok"))
    with pytest.raises(UnreadableError, match=r"history\.jsonl:2: "):
        list(read_records(path))


@pytest.mark.parametrize("field", ["index", "time", "process"])
@pytest.mark.parametrize("wrong", [None, "7", 1.5, True])
def test_a_number_that_is_none_is_damage(tmp_path: Path, field: str, wrong: Any) -> None:
    path = _file(tmp_path, _line(0, "invoke", **{field: wrong}))
    with pytest.raises(UnreadableError, match=r":1: .*\n.*" + field):
        History.read(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="cannot be read"):
        History.read(tmp_path / "none.jsonl")


def test_hashable_keeps_values_apart_and_together() -> None:
    assert hashable([1, [2, {"a": [3]}]]) == hashable((1, (2, {"a": (3,)})))
    assert hashable({"a": 1, "b": 2}) == hashable({"b": 2, "a": 1})
    assert hashable([1, 2]) != hashable([2, 1])
    assert isinstance(hash(hashable({"a": [1]})), int)
