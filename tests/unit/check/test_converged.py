"""Convergence: final reads of all nodes come to agree, in time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from harness.check import converged
from harness.errors import UsageError
from harness.history import History, Op, Phase
from tests.support.histories import history
from tests.support.timelines import op, run

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


def test_a_node_that_never_answered_is_named() -> None:
    verdict = converged()(history(*final(0, 5), *final(1, None, "fail"), nodes=NODES))
    assert (verdict.result, verdict.anomaly) == ("invalid", "unanswered")
    assert "node-1 never answered" in verdict.summary


def test_a_failed_read_among_answers_does_no_harm() -> None:
    lines = [*final(0, 5), *final(1, None, "fail"), *final(1, 5)]
    assert converged()(history(*lines, nodes=NODES)).valid


def test_keys_are_judged_one_by_one_and_the_gravest_is_told_first() -> None:
    lines = [*final(0, 1), *final(1, None, "fail"), *final(0, 1, key="y"), *final(1, 2, key="y")]
    verdict = converged()(history(*lines, nodes=NODES))
    assert verdict.anomaly == "diverged"
    assert verdict.summary.startswith("Key 'y'")
    assert set(verdict.data["keys"]) == {"x", "y"}


def ask(node: str, f: str, value: Any, key: Any = None) -> Op:
    return op(f, key, "ok", 1, node=node, result=value, final=True)


LEDGER = ask("store", "ledger", [["k", 1]])


def test_reads_of_one_node_alone_are_compared_with_nothing() -> None:
    alike = [ask(node, "total", 5) for node in ("node-1", "node-2")]
    alone = [LEDGER, ask("node-2", "ledger", []), ask("node-1", "keys", 3)]
    history = run([op("charge", "k", "ok", 0), op("charge", "k", "ok", 0, node="node-2")])
    sound = converged()(replace(history, ops=[*history.ops, *alike, *alone]))
    assert sound.valid
    assert "All 2 nodes answered the same for all 1 keys" in sound.summary
    assert sound.ops == 2
    unlike = [alike[0], ask("node-2", "total", 4)]
    differing = converged()(replace(history, ops=[*history.ops, *unlike, *alone]))
    assert differing.anomaly == "diverged"
    assert differing.summary == "The answer to total: the nodes still differ in their last answers."


@pytest.mark.parametrize("finals", [[LEDGER], [LEDGER, ask("node-2", "ledger", [])]])
def test_only_reads_of_some_nodes_are_unknown(finals: list[Op]) -> None:
    worked = [op("charge", "k", "ok", 0, node=node) for node in ("node-1", "node-2")]
    verdict = converged()(run([*worked, *finals]))
    assert verdict.result == "unknown"
    assert "no final read was asked of all nodes" in verdict.summary


def test_answers_to_different_operations_are_not_compared() -> None:
    reads = [ask(n, f, v, "k") for n in ("node-1", "node-2") for f, v in (("size", 1), ("sum", 9))]
    assert converged()(run(reads)).valid


def test_no_final_reads_is_unknown() -> None:
    ordinary = history((0, "invoke", "read", None), (0, "ok", "read", 1), nodes=NODES)
    assert converged()(ordinary).result == "unknown"


def test_a_wrong_duration_is_refused() -> None:
    with pytest.raises(UsageError, match="within"):
        converged(within=-1)


def asked(process: int, about: str, answer: int) -> list[tuple[Any, ...]]:
    more = {"final": True, "key": "x"}
    return [(process, "invoke", "read", about, more), (process, "ok", "read", answer, more)]


def test_different_questions_about_a_key_have_different_answers() -> None:
    """What a client asked for itself is compared with nothing."""
    own = [*asked(0, "inbox of a", 1), *asked(1, "inbox of b", 2)]
    assert converged()(history(*own)).result == "unknown"
    assert converged()(history(*final(0, 5), *final(1, 5), *own)).result == "valid"
