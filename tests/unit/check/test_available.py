"""Availability: the fraction of answered ops, by phase and node, and the longest silence."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from harness.check import available
from harness.errors import UsageError
from harness.history import MISMATCH, History, Phase
from tests.support.histories import history

LOST = {"error": "timeout"}


def one(process: int, kind: str, **more: Any) -> list[tuple[Any, ...]]:
    return [(process, "invoke", "write", 1, more), (process, kind, "write", 1, more)]


def half(**known: Any) -> History:
    """Two ops answered by node-0, two not by node-1; each line takes 100 ms."""
    lost = [*one(1, "fail", **LOST), *one(1, "info", **LOST)]
    return history(*one(0, "ok"), *lost, *one(0, "ok"), **known)


@pytest.mark.parametrize(("at_least", "result"), [(0.5, "valid"), (0.51, "invalid")])
def test_the_bound_is_inclusive(at_least: float, result: str) -> None:
    verdict = available(at_least=at_least)(half())
    assert verdict.result == result
    assert verdict.anomaly == (None if result == "valid" else "unavailable")
    assert verdict.data["fraction"] == 0.5
    orjson.dumps(verdict.to_json())


def test_nodes_and_the_longest_silence_are_named() -> None:
    verdict = available()(half())
    assert verdict.data["nodes"] == {
        "node-0": {"ops": 2, "answered": 2},
        "node-1": {"ops": 2, "answered": 0},
    }
    assert verdict.data["longest_gap_s"] == pytest.approx(0.6)
    assert "from 0.100 to 0.700 s" in verdict.evidence
    assert "node-1: 0 of 2" in verdict.evidence


def test_a_refusal_for_the_state_is_an_answer() -> None:
    assert available(at_least=1)(history(*one(0, "fail", error=MISMATCH))).valid
    assert available(at_least=1)(history(*one(0, "fail", error="no leader"))).result == "invalid"


def test_final_reads_do_not_count() -> None:
    lines = [*one(0, "ok", final=True), *one(1, "fail")]
    assert available(at_least=0.1)(history(*lines)).result == "invalid"
    assert available()(history(*one(0, "ok", final=True))).result == "unknown"


def test_only_ops_that_began_in_the_phase_count() -> None:
    phases = [Phase("before", 0, 200_000_000), Phase("during", 200_000_000, 600_000_000)]
    run = half(phases=phases)
    assert available(phase="before", at_least=1)(run).valid
    during = available(phase="during", at_least=0.1)(run)
    assert (during.result, during.ops) == ("invalid", 2)
    assert during.data["longest_gap_s"] == pytest.approx(0.4)
    assert during.check == "available(at_least=0.1, phase=during)"


def test_no_ops_or_no_such_phase_is_unknown() -> None:
    assert available()(history()).result == "unknown"
    assert available(phase="during")(half()).result == "unknown"
    late = [Phase("during", 10**12, 10**13)]
    assert available(phase="during")(half(phases=late)).result == "unknown"


@pytest.mark.parametrize("wrong", [0, -0.1, 1.01, True, "most", float("nan")])
def test_a_fraction_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="at_least"):
        available(at_least=wrong)
