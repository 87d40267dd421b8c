"""The check that what was acknowledged is in every node's history, on histories by hand."""

from __future__ import annotations

from harness.history import History, Op, Outcome
from targets.chat import kept

MS = 1_000_000


def publish(id: str, at_ms: int, outcome: Outcome = "ok", process: int = 0) -> Op:
    end = at_ms * MS
    known = None if outcome == "info" else end
    return Op(process, "publish", "room:0", id, outcome, id, end - MS, known, at_ms, 0, "node-1")


def shown(ids: list[str], node: str = "node-1", at_ms: int = 900) -> Op:
    end = at_ms * MS
    read = Op(9, "history", "room:0", None, "ok", ids, end - MS, end, at_ms, 0, node)
    read.final = True
    return read


def test_what_was_acknowledged_is_there() -> None:
    ops = [publish("a", 1), publish("b", 2, "info"), publish("c", 3, "fail"), publish("d", 4)]
    verdict = kept()(History([*ops, shown(["a", "d"]), shown(["a", "b", "d"], "node-2")]))
    assert verdict.result == "valid"
    assert (verdict.data["acknowledged"], verdict.data["nodes"]) == (2, 2)


def test_only_the_last_answer_of_a_node_counts() -> None:
    assert kept()(History([publish("a", 1), shown([]), shown(["a"], at_ms=950)])).valid


def test_what_is_wrong_has_a_name() -> None:
    ops = [publish("a", 1), publish("b", 2), publish("c", 3, "fail"), publish("z", 1, process=1)]
    for ids, anomaly in (
        (["a", "z"], "lost"),
        (["a", "b", "z", "a"], "doubled"),
        (["a", "b", "z", "x"], "phantom"),
        (["a", "b", "z", "c"], "phantom"),
        (["b", "a", "z"], "out-of-order"),
    ):
        verdict = kept()(History([*ops, shown(ids)]))
        assert (verdict.result, verdict.anomaly) == ("invalid", anomaly), ids
    assert kept()(History([*ops, shown(["z", "a", "b"])])).valid


def test_nothing_tested_is_unknown() -> None:
    assert kept()(History([publish("a", 1)])).result == "unknown"
    assert kept()(History([publish("a", 1, "info"), shown([])])).result == "unknown"
