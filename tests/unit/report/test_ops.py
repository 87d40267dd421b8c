"""Ops as columns: paired, in lanes, and the same again after they were packed."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest

from harness.history import Record, RecordType
from harness.report.ops import (
    FAIL,
    INFO,
    OK,
    REFUSED,
    Columns,
    Ops,
    OpsBuilder,
    evidence_rows,
    row_in,
)


def built(*records: Record, clients: int | None = None, nodes: int = 0) -> Ops:
    builder = OpsBuilder()
    for record in records:
        builder.add(record)
    return builder.build(clients, nodes)


def record(
    index: int, process: int, type: RecordType, value: Any = None, *, ms: int = 0, **more: Any
) -> Record:
    return Record(index, (ms or index) * 1_000_000, process, type, "write", "k", value, **more)


def test_how_ops_ended_and_a_refusal_is_told_from_other_failures() -> None:
    ops = built(
        record(0, 0, "invoke", 1),
        record(1, 1, "invoke", 2),
        record(2, 2, "invoke", 3),
        record(3, 3, "invoke", 4),
        record(4, 4, "invoke", 5),
        record(5, 0, "ok", 1),
        record(6, 1, "fail", 2, error="mismatch"),
        record(7, 2, "fail", 3, error="unavailable: x"),
        record(8, 3, "info", 4, error="timeout"),
    )
    assert list(ops.ended) == [OK, REFUSED, FAIL, INFO, INFO]
    # The client gave up at 8 ms; of the last op nothing was ever heard.
    assert list(ops.end[:4]) == [0.005, 0.006, 0.007, 0.008]
    assert np.isnan(ops.end[4])
    assert ops.counts() == {"ok": 1, "mismatch": 1, "unavailable": 1, "unknown": 2}
    assert ops.texts[ops.error[3]] == "timeout"


def test_what_an_op_says() -> None:
    ops = built(record(0, 0, "invoke", None), record(1, 0, "ok", [1, "x"]))
    assert ops.says(0) == 'write k → [1,"x"]'


def test_processes_of_one_client_share_a_lane_and_readers_have_their_own() -> None:
    # Two clients and three nodes: a client that lost an op goes on as process + 5.
    ops = built(
        record(0, 0, "invoke"),
        record(1, 1, "invoke"),
        record(2, 0, "info"),
        record(3, 5, "invoke"),
        record(4, 3, "invoke", final=True),
        clients=2,
        nodes=3,
    )
    lanes = {int(ops.process[row]): ops.lanes[ops.lane[row]] for row in range(len(ops))}
    assert lanes == {0: "client 0", 1: "client 1", 5: "client 0", 3: "reader 1"}
    assert ops.lanes == ["client 0", "client 1", "reader 1"]


def test_without_a_plan_every_process_is_a_lane() -> None:
    ops = built(record(0, 7, "invoke"), record(1, 3, "invoke"))
    assert ops.lanes == ["process 3", "process 7"]
    assert [ops.lanes[lane] for lane in ops.lane] == ["process 3", "process 7"]


def test_more_processes_than_a_page_has_room_for_share_lanes() -> None:
    ops = built(*(record(n, n, "invoke") for n in range(200)))
    assert len(ops.lanes) == 64 and int(ops.lane.max()) == 63


def test_a_completion_without_an_invocation_is_left_out() -> None:
    assert len(built(record(0, 0, "ok"), record(1, 0, "invoke"))) == 1


def test_long_values_are_cut_with_a_note() -> None:
    ops = built(record(0, 0, "invoke", "x" * 5000))
    assert ops.texts[ops.value[0]].endswith("… (5002 characters)")


def unpacked(html: str) -> tuple[dict[str, Any], Any]:
    """What the script of the page reads, by the same steps."""
    whole = zlib.decompress(base64.b64decode(html.partition(">")[2].partition("<")[0]))
    length = struct.unpack("<I", whole[:4])[0]
    data = json.loads(whole[4 : 4 + length])

    def column(where: dict[str, Any]) -> list[float]:
        assert (4 + length + where["at"]) % 8 == 0
        kind = np.dtype(f"<{where['type']}")
        held = np.frombuffer(whole, kind, where["n"], 4 + length + where["at"])
        return (held if where["unit"] is None else np.cumsum(held) * where["unit"]).tolist()

    return data, column


@pytest.mark.parametrize("gap_s", [1, 7 * 86400])  # (a soak of a week: no differences then)
def test_columns_come_out_as_they_went_in(gap_s: int) -> None:
    records = []
    for n in range(0, 300, 2):
        at = n * gap_s * 1000 + 1
        records.append(record(n, n % 3, "invoke", n * 7919 % 1000, ms=at))
        records.append(record(n + 1, n % 3, "ok", n, ms=at + 3))
    ops = built(*records, clients=3)
    columns = Columns()
    data, column = unpacked(columns.embed({"ops": ops.packed(columns, 10.0)}, "data"))
    assert column(data["ops"]["start"]) == pytest.approx((ops.start + 10).tolist(), abs=1e-6)
    assert column(data["ops"]["dur"]) == pytest.approx([0.003] * 150, abs=1e-4)
    for name in ("ended", "lane", "process", "index", "f", "key", "value", "result", "node"):
        assert column(data["ops"][name]) == getattr(ops, name).tolist(), name


def test_evidence_is_found_by_index_and_in_the_text_where_no_index_is_told() -> None:
    ops = built(*(record(n, n, "invoke", ms=100 * n + 1) for n in range(4)))
    data = {"ops": [{"index": 2}, {"index": 0}, {"index": 99}], "blocked": 2}
    assert evidence_rows(ops, {"data": data}) == ([0, 2], 2)
    text = "Key 'k':\n  0.101-… s  process 1  node-1  write\n  0.101-… s  process 3  far away"
    assert evidence_rows(ops, {"evidence": text, "data": {}}) == ([1], None)
    assert row_in(ops, "no op at all") is None


def test_a_line_with_one_moment_tells_of_an_op_that_began_or_ended_then() -> None:
    ops = built(record(0, 3, "invoke", ms=100), record(1, 3, "ok", ms=250))
    assert row_in(ops, "  0.100 s  process 3  node-1  add 1") == 0
    assert row_in(ops, "  0.250 s  process 3  node-1  add 1  ok, and lost") == 0
    assert row_in(ops, "  0.250-… s  process 3  node-1") is None
    assert row_in(ops, "  0.180 s  process 3  node-1") is None


@pytest.mark.parametrize("data", [None, [], {"ops": 3, "blocked": "x"}, {"ops": [1, None]}])
def test_odd_data_of_a_verdict_names_no_ops(data: Any) -> None:
    assert evidence_rows(built(record(0, 0, "invoke")), {"data": data}) == ([], None)
