"""Draining: ops around the graceful end of their node."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from harness.check import drained
from harness.errors import UsageError
from harness.history import MISMATCH, Op
from tests.support.timelines import fault, op, run

STOP = fault(20, 22, "node-1", kind="stop")
FLYING = op("charge", "k0", "ok", 19, 0.5)


def judged(*ops: Op, faults: Any = (STOP,), **more: Any) -> Any:
    return drained(**more)(run(ops, faults=faults))


def test_nothing_was_lost() -> None:
    refused = op("charge", "k1", "fail", 19.9, error="connection refused")
    verdict = judged(FLYING, refused, op("charge", "k2", "fail", 20.5, error=MISMATCH))
    assert (verdict.result, verdict.anomaly, verdict.check) == (
        "valid",
        None,
        "drained(stop, restart)",
    )
    assert verdict.data["in_flight"] == 2


@pytest.mark.parametrize("at", [10, 18.5, 20, 21.9])
def test_an_op_in_flight_at_the_end_of_its_node_is_lost(at: float) -> None:
    lost = op("charge", "k1", "info", at, error="connection reset")
    verdict = judged(FLYING, lost)
    assert (verdict.result, verdict.anomaly) == ("invalid", "lost-in-drain")
    assert "no answer (connection reset)" in verdict.evidence
    assert verdict.data["lost"] == 1
    orjson.dumps(verdict.to_json())


@pytest.mark.parametrize("more", [{"at": 9.9}, {"at": 22.1}, {"node": "node-2"}, {"final": True}])
def test_ops_elsewhere_or_at_another_time_are_not(more: dict[str, Any]) -> None:
    lost = op("charge", "k1", "info", **{"at": 19.5, **more})
    assert judged(FLYING, lost).valid


def test_what_another_fault_may_have_caused_is_not_held_against_the_drain() -> None:
    lost = op("charge", "k1", "info", 15)
    kill = fault(16, 17, "node-1", kind="kill", id="f0")
    verdict = judged(FLYING, lost, faults=[kill, STOP])
    assert verdict.result == "unknown"
    assert "1 more without an answer had another fault on their node" in verdict.summary
    later = fault(40, 42, "node-1", kind="restart", id="f2")
    twice = [FLYING, lost, op("charge", "k2", "ok", 39.9, 0.2)]
    assert judged(*twice, faults=[kill, STOP, later]).valid
    elsewhere = [fault(0, 60, "provider"), fault(16, 17, "node-2", kind="kill")]
    assert judged(FLYING, lost, faults=[*elsewhere, STOP]).anomaly == "lost-in-drain"
    assert judged(FLYING, faults=[*elsewhere, STOP]).valid
    afterwards = fault(23, 24, "node-1", kind="kill")
    assert judged(FLYING, lost, faults=[STOP, afterwards]).anomaly == "lost-in-drain"
    earlier = fault(11, 13, "node-1", kind="kill", id="f0")
    assert judged(FLYING, lost, faults=[earlier, STOP]).anomaly == "lost-in-drain"


def test_without_a_graceful_end_or_anything_in_flight_it_is_unknown() -> None:
    assert judged(FLYING, faults=()).result == "unknown"
    killed = fault(20, 22, "node-1", kind="kill")
    lost = op("charge", "k1", "info", 19.5)
    assert judged(FLYING, lost, faults=[killed]).result == "unknown"
    assert judged(FLYING, lost, faults=[killed], kinds=("kill",)).result == "invalid"
    assert judged(op("charge", "k0", "ok", 18, 0.5)).result == "unknown"
    assert judged().result == "unknown"


@pytest.mark.parametrize("wrong", ["stop", (), (1,)])
def test_wrong_kinds_are_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="kinds"):
        drained(wrong)
