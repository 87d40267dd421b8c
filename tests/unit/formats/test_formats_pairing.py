"""How op maps of others become ops."""

from __future__ import annotations

from typing import Any

import pytest

from harness.formats import from_maps
from harness.history import History


def history(*lines: tuple[Any, ...], **same: Any) -> History:
    """From lines (process, type, value) or (process, type, value, more)."""
    return from_maps(
        {"process": process, "type": kind, "value": value, **same, **(more[0] if more else {})}
        for process, kind, value, *more in lines
    )


def test_a_process_that_goes_on_after_info_is_a_new_one() -> None:
    known = history(
        (0, "invoke", 1),
        (0, "info", 1),
        (0, "invoke", 2),
        (7, "invoke", 3),
        (0, "ok", 2),
        (0, "invoke", 4),
        (0, "info", None),
        (7, "info", 3),
        (0, "invoke", 5),
        (7, "invoke", 6),
    )
    assert [(op.process, op.value, op.outcome) for op in known.ops] == [
        (0, 1, "info"),
        (8, 2, "ok"),
        (7, 3, "info"),
        (8, 4, "info"),
        (9, 5, "info"),
        (10, 6, "info"),
    ]
    assert all(op.end is None for op in known.ops if op.outcome == "info")


def test_a_new_process_takes_no_number_of_a_later_one() -> None:
    known = history((0, "invoke", 1), (0, "info", 1), (0, "invoke", 2), (1, "invoke", 3))
    assert [op.process for op in known.ops] == [0, 2, 1]


@pytest.mark.parametrize("process", ["nemesis", ":nemesis", "nemesis-2"])
def test_ops_of_the_nemesis_are_left_out(process: str) -> None:
    known = history((0, "invoke", 1), (process, "bogus", 2, {"f": 3}), ("0", "ok", 3))
    assert [(op.process, op.result, op.end_index) for op in known.ops] == [(0, 3, 2)]


def test_processes_with_names_get_numbers() -> None:
    known = history(
        ("bob", "invoke", 1),
        (7, "invoke", 2),
        ("ann", "invoke", 3),
        ("bob", "info", None),
        ("bob", "invoke", 4),
        ("ann", "ok", 3),
        ("bob", "ok", 4),
    )
    assert [(op.process, op.value, op.outcome) for op in known.ops] == [
        (8, 1, "info"),
        (7, 2, "info"),
        (9, 3, "ok"),
        (10, 4, "ok"),
    ]


def test_completions_alone_have_no_order_in_time() -> None:
    known = history(
        (0, "ok", [1], {"time": 70}), (0, "fail", [2]), (1, "info", [3]), (1, "ok", [4])
    )
    assert not known.realtime
    assert [(op.process, op.value, op.result, op.start, op.end) for op in known.ops] == [
        (0, [1], [1], 0, 0),
        (0, [2], [2], 1, 1),
        (1, [3], None, 2, None),
        (2, [4], [4], 3, 3),
    ]
    assert [op.outcome for op in known.ops] == ["ok", "fail", "info", "ok"]
    assert [(op.index, op.end_index) for op in known.ops] == [(0, 0), (1, 1), (2, None), (3, 3)]


def test_invocations_alone_do() -> None:
    assert history((0, "invoke", 1)).realtime
    assert from_maps([]).realtime


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ([None, None, None], [0, 1, 2]),
        ([5, 7, 9], [5, 7, 9]),
        ([1, 2, None], [1, 2, 3]),
        ([4, None, 5], [4, 5, 6]),
        ([None, 0, 7], [0, 1, 2]),
    ],
)
def test_indexes(given: list[int | None], taken: list[int]) -> None:
    lines = [(process, "invoke", 0, {"index": index}) for process, index in enumerate(given)]
    assert [op.index for op in history(*lines).ops] == taken


def test_ops_of_the_nemesis_count_as_places() -> None:
    known = history(
        ("nemesis", "info", 0, {"index": 8}), (0, "invoke", 1), ("nemesis", "info", 0), (0, "ok", 1)
    )
    assert [(op.index, op.end_index) for op in known.ops] == [(9, 11)]


@pytest.mark.parametrize(
    ("times", "taken"),
    [
        ([10, 20, 20], [10, 20, 20]),
        ([10, None, 20], [3, 6, 9]),
        ([10, 1.5, 20], [3, 6, 9]),
        ([10, 30, 20], [3, 6, 9]),
        ([-1, 30, 40], [3, 6, 9]),
    ],
)
def test_times_that_are_missing_or_fall_are_replaced_by_indexes(
    times: list[Any], taken: list[int]
) -> None:
    kinds = ["invoke", "ok", "invoke"]
    known = history(
        *(
            (0, kind, 0, {"time": time, "index": 3 * place + 3})
            for place, (kind, time) in enumerate(zip(kinds, times, strict=True))
        )
    )
    assert [known.ops[0].start, known.ops[0].end, known.ops[1].start] == taken
    assert known.ops[1].end is None


def test_what_is_missing() -> None:
    (op,) = from_maps([{"type": "invoke"}, {"type": "ok"}]).ops
    assert (op.process, op.f, op.key, op.value, op.result) == (0, "txn", None, None, None)
    assert (op.node, op.error, op.final) == (None, None, False)


def test_what_may_be_there() -> None:
    more = {"f": "add", "key": ["k"], "node": "n1", "final": True}
    (op,) = from_maps([{"type": "invoke", **more}, {"type": "ok"}]).ops
    assert (op.f, op.key, op.node, op.final) == ("add", ["k"], "n1", True)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, None),
        ({"error": "timeout"}, "timeout"),
        ({"error": ["timeout", 3]}, '["timeout", 3]'),
        ({"error": None, "exception": {"via": 1}}, "{'via': 1}"),
        ({"error": "timeout", "exception": {"via": 1}}, "timeout"),
        ({"error": ["x" * 500]}, '["' + "x" * 198 + "…"),
        ({"error": 7}, "7"),
    ],
)
def test_errors_are_text(fields: dict[str, Any], text: str | None) -> None:
    (op,) = history((0, "invoke", 1), (0, "info", None, fields)).ops
    assert op.error == text
    assert (op.value, op.result, op.end) == (1, None, None)


def test_a_failure_keeps_what_was_asked() -> None:
    (op,) = history((0, "invoke", [1, 2]), (0, "fail", None)).ops
    assert (op.value, op.outcome, op.result, op.end) == ([1, 2], "fail", None, 1)
