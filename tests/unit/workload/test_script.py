"""Scripts: ops written down so that they can be invoked again, by hand or from a history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UnreadableError
from harness.record.recorder import Recorder
from harness.workload import SEEN, Request
from harness.workload.script import PlannedOp, call_note, read_script

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)
requests = st.builds(
    Request,
    f=st.sampled_from(["read", "write", "transfer"]),
    key=st.none() | st.text(min_size=1, max_size=3) | st.integers(0, 5),
    values=st.lists(json_values | st.just(SEEN), max_size=3).map(tuple),
    named=st.none() | st.dictionaries(st.text(min_size=1, max_size=3), json_values, min_size=1),
)


@given(requests)
def test_an_op_of_a_plan_is_read_as_it_was_written(request: Request) -> None:
    op = PlannedOp(3, 1.25, request)
    assert PlannedOp.from_json(json.loads(json.dumps(op.to_json()))) == op


@given(made=st.lists(requests, min_size=1, max_size=6), seen=json_values)
def test_a_history_tells_every_call_again(
    made: list[Request], seen: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("run") / "history.jsonl"
    recorder = Recorder(path, 0)
    for number, request in enumerate(made):
        bound = request.bound({request.key: seen})
        process = number % 2
        op = recorder.invoke(
            process, request.f, request.key, bound.value, "node-1", False, call_note(request)
        )
        recorder.complete(op, "ok", None)
    recorder.close()
    script = read_script(path, clients=2, nodes=1, begun_ns=0)
    assert [op.request for op in script] == made
    assert [op.client for op in script] == [number % 2 for number in range(len(made))]


def test_clients_are_known_again_and_what_is_no_client_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    recorder = Recorder(path, 0)
    # Two clients and three nodes: process 6 is client 1, retired once; 2 and 9 ask finally.
    for process, final in ((0, False), (6, False), (2, False), (9, True)):
        recorder.complete(recorder.invoke(process, "read", "k", None, "node-1", final), "ok", 1)
    recorder.close()
    script = read_script(path, clients=2, nodes=3, begun_ns=0)
    assert [op.client for op in script] == [0, 1]


def test_moments_count_from_the_beginning_of_the_faults(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    line = {"process": 0, "type": "invoke", "f": "read", "key": "k", "value": None}
    times = (1_000_000_000, 2_500_000_000)
    path.write_text("".join(json.dumps({**line, "time": time}) + "\n" for time in times))
    script = read_script(path, clients=1, nodes=1, begun_ns=2_000_000_000)
    assert [op.at_s for op in script] == [-1.0, 0.5]


def test_a_last_line_that_was_cut_off_is_left_out_and_other_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    line = json.dumps(
        {"process": 0, "type": "invoke", "f": "read", "key": "k", "value": None, "time": 5}
    )
    path.write_text(f"{line}\n{line[:20]}")
    assert len(read_script(path, clients=1, nodes=1, begun_ns=0)) == 1
    path.write_text(f"{line}\n{line[:20]}\n{line}\n")
    with pytest.raises(UnreadableError, match="line 2"):
        read_script(path, clients=1, nodes=1, begun_ns=0)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"client": 0, "at_s": 1}, KeyError),
        ({"client": "x", "at_s": 1, "f": "read"}, ValueError),
        ({"client": 0, "at_s": 1, "f": "read", "value": 3}, ValueError),
        ({"client": 0, "at_s": 1, "f": "read", "values": 3}, TypeError),
    ],
)
def test_what_is_no_op_is_refused(data: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        PlannedOp.from_json(data)
