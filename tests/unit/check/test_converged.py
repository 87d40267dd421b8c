"""Convergence: final reads of all nodes come to agree, in time."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from harness.check import converged
from harness.errors import UsageError
from harness.history import History, Phase
from tests.support.histories import history

NODES = ("node-0", "node-1")


def final(process: int, value: Any, kind: str = "ok", key: str = "x") -> list[tuple[Any, ...]]:
    more = {"final": True, "key": key}
    return [(process, "invoke", "read", None, more), (process, kind, "read", value, more)]


def agreeing_in_the_second_round(**known: Any) -> History:
    """The second answer of node-1, at 0.7 s, is the one from which on both agree."""
    return history(*final(0, 5), *final(1, 4), *final(0, 5), *final(1, 5), **known)


@pytest.mark.parametrize(("within", "result"), [(0.7, "valid"), (0.6, "invalid")])
def test_agreement_must_come_in_time(within: float, result: str) -> None:
    verdict = converged(within=within)(agreeing_in_the_second_round())
    assert verdict.result == result
    assert verdict.anomaly == (None if result == "valid" else "late")
    assert verdict.data["after_s"] == pytest.approx(0.7)


def test_time_counts_from_the_final_phase() -> None:
    known = {"phases": [Phase("final", -1_000_000_000, 2_000_000_000)]}
    assert converged(within=1)(agreeing_in_the_second_round()).valid
    assert converged(within=1)(agreeing_in_the_second_round(**known)).result == "invalid"


def test_the_last_answers_must_agree() -> None:
    verdict = converged()(history(*final(0, 5), *final(1, 5), *final(1, 4)))
    assert (verdict.result, verdict.anomaly) == ("invalid", "diverged")
    assert "node-1: 4 at 0.500 s" in verdict.evidence
    orjson.dumps(verdict.to_json())


def test_an_answer_that_was_taken_back_does_not_count() -> None:
    lines = [*final(0, 5), *final(1, 5), *final(1, 4), *final(1, 5)]
    assert converged(within=0.5)(history(*lines)).anomaly == "late"
    assert converged(within=0.7)(history(*lines)).valid


@pytest.mark.parametrize("lines", [final(0, 5), [*final(0, 5), *final(1, None, "fail")]])
def test_a_node_that_never_answered_is_named(lines: list[tuple[Any, ...]]) -> None:
    verdict = converged()(history(*lines, nodes=NODES))
    assert (verdict.result, verdict.anomaly) == ("invalid", "unanswered")
    assert "node-1 never answered" in verdict.summary


def test_a_failed_read_among_answers_does_no_harm() -> None:
    lines = [*final(0, 5), *final(1, None, "fail"), *final(1, 5)]
    assert converged()(history(*lines, nodes=NODES)).valid


def test_keys_are_judged_one_by_one_and_the_gravest_is_told_first() -> None:
    lines = [*final(0, 1), *final(0, 1, key="y"), *final(1, 2, key="y")]
    verdict = converged()(history(*lines, nodes=NODES))
    assert verdict.anomaly == "diverged"
    assert verdict.summary.startswith("Key 'y'")
    assert set(verdict.data["keys"]) == {"x", "y"}


def test_no_final_reads_is_unknown() -> None:
    ordinary = history((0, "invoke", "read", None), (0, "ok", "read", 1), nodes=NODES)
    assert converged()(ordinary).result == "unknown"


def test_a_wrong_duration_is_refused() -> None:
    with pytest.raises(UsageError, match="within"):
        converged(within=-1)
