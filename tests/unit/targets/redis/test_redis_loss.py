"""The check of how long acknowledged adds were lost, on histories by hand; and its table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import seconds
from harness.errors import UsageError
from harness.history import History, Op
from targets.redis import loss, measure_loss

S = 1_000_000_000


def add(value: int, at_s: float, outcome: str = "ok") -> Op:
    end = int(at_s * S)
    return Op(0, "add", None, value, outcome, value, end - S // 10, end, 0, 0, node="node-1")


def read(values: list[int], at_s: float, *, final: bool = True) -> Op:
    end = int(at_s * S)
    return Op(
        1, "read", None, None, "ok", values, end - S // 10, end, 0, 0, node="node-2", final=final
    )


def test_nothing_is_lost() -> None:
    verdict = loss(at_most=0)(History([add(1, 1), add(2, 2), read([1, 2], 9)]))
    assert verdict.result == "valid"
    assert (verdict.data["acknowledged"], verdict.data["lost"]) == (2, 0)
    assert verdict.evidence == ""


def test_what_counts_is_the_time_from_the_first_to_the_last() -> None:
    history = History([add(1, 1), add(2, 2), add(3, 3.5), add(4, 6), read([1, 4], 9)])
    assert loss(at_most=seconds(1.5))(history).result == "valid"
    verdict = loss(at_most=seconds(1.4))(history)
    assert (verdict.result, verdict.anomaly) == ("invalid", "lost-for-too-long")
    assert verdict.data == {
        "acknowledged": 4,
        "lost": 2,
        "share": 0.5,
        "window_s": 1.5,
        "from_s": 2.0,
        "to_s": 3.5,
    }
    assert [line.split()[6] for line in verdict.evidence.splitlines()] == ["2", "3"]


def test_one_lost_add_is_lost_for_no_time_and_shown_once() -> None:
    verdict = loss(at_most=0)(History([add(1, 1), add(2, 2), read([1], 9)]))
    assert (verdict.result, verdict.data["lost"], verdict.data["window_s"]) == ("valid", 1, 0)
    assert len(verdict.evidence.splitlines()) == 1


def test_what_nobody_was_promised_is_not_lost() -> None:
    ops = [add(1, 1), add(2, 2, "info"), add(3, 3, "fail"), read([1], 9), add(4, 9.5)]
    verdict = loss(at_most=0)(History(ops))
    assert (verdict.data["acknowledged"], verdict.data["lost"]) == (1, 0)


def test_the_last_read_decides() -> None:
    ops = [add(1, 1), read([], 8), read([1], 9)]
    assert loss(at_most=0)(History(ops)).data["lost"] == 0
    assert loss(at_most=0)(History([add(1, 1), read([1], 8), read([], 9)])).data["lost"] == 1


@pytest.mark.parametrize(
    "ops", [[], [add(1, 1)], [read([], 9)], [add(1, 1), read([], 9, final=False)]]
)
def test_nothing_was_tested(ops: list[Op]) -> None:
    assert loss(at_most=0)(History(ops)).result == "unknown"


def test_a_bound_that_is_no_duration_is_refused() -> None:
    with pytest.raises(UsageError, match="at_most"):
        loss(at_most=-1)


def test_the_table_has_a_row_for_each_run_and_the_medians(tmp_path: Path) -> None:
    for number, lost in enumerate((10, 30, 20)):
        run = tmp_path / f"run-{number}"
        run.mkdir()
        data = {"acknowledged": 100, "lost": lost, "share": lost / 100, "window_s": lost / 10}
        verdicts = [
            {"check": "set-full", "data": {}},
            {"check": "loss(at_most=4s)", "data": data},
        ]
        test = "experiments/test_redis.py::test_acknowledged_adds_are_lost"
        (run / "run.json").write_text(json.dumps({"experiment": test, "seed": number}))
        (run / "verdicts.json").write_text(json.dumps({"verdicts": verdicts}))
    lines = measure_loss.table(measure_loss.losses(tmp_path)).splitlines()
    assert lines[2:] == [
        "| default | 0 | 100 | 10 | 10% | 1.0 s |",
        "| default | 1 | 100 | 30 | 30% | 3.0 s |",
        "| default | 2 | 100 | 20 | 20% | 2.0 s |",
        "| default | median | 100 | 20 | 20% | 2.0 s |",
    ]
