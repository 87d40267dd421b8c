"""Idempotency: effects in the ledger against the ops that were to cause them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check import idempotent
from harness.check.verdict import Verdict
from harness.errors import UsageError
from harness.history import Op
from tests.support.timelines import fault, op, run


def ledger(entries: Any, node: str = "provider", at: float = 90) -> Op:
    return op("effects", None, "ok", at, node=node, result=entries, final=True)


def charge(key: Any, outcome: Any = "ok", at: float = 1, **more: Any) -> Op:
    return op("charge", key, outcome, at, value=100, **more)


TWICE = [charge("k1", at=1), charge("k1", at=2), charge("k2", at=3)]


def test_every_command_took_effect_once() -> None:
    verdict = idempotent()(run([*TWICE, ledger([["k1", "c1", 100], ["k2", "c2", 100]])]))
    assert (verdict.result, verdict.anomaly, verdict.check) == ("valid", None, "idempotent(charge)")
    assert verdict.data == {
        "keys": 2,
        "effects": 2,
        "replays": 1,
        "duplicates": 0,
        "lost": 0,
        "of_refused": 0,
    }
    assert "2 keys, 1 replay, 2 effects, 0 duplicates, 0 lost" in verdict.summary


def test_a_duplicate_is_shown_with_its_ops_and_the_faults_beside_them() -> None:
    ops = [*TWICE, charge("k1", "info", at=5, node="node-2", process=7, error="timeout")]
    entries = [["k1", "c1", 100], ["k2", "c2", 100], ["k1", "c3", 100]]
    verdict = idempotent()(run([*ops, ledger(entries)], faults=[fault(4.5, 6, "provider")]))
    assert (verdict.result, verdict.anomaly) == ("invalid", "duplicate-effect")
    assert verdict.summary.startswith("Key 'k1' took effect 2 times")
    lines = verdict.evidence.splitlines()
    assert lines[0] == "Key 'k1' took effect 2 times: duplicate-effect."
    row = "5.000-… s process 7 node-2 charge 'k1' 100 no answer (timeout) f1 latency provider"
    assert " ".join(lines[3].split()) == row
    assert lines[4:] == ["  in the ledger: ['k1', 'c1', 100]", "  in the ledger: ['k1', 'c3', 100]"]
    assert "f1" not in lines[1] + lines[2]
    orjson.dumps(verdict.to_json())


def test_an_acknowledged_key_without_effect_is_lost() -> None:
    verdict = idempotent()(run([*TWICE, ledger([["k1", "c1"]])]))
    assert (verdict.result, verdict.anomaly) == ("invalid", "lost-effect")
    assert "Key 'k2' was acknowledged and has no effect" in verdict.summary
    unknown = idempotent()(run([*TWICE, charge("k3", "info"), ledger([["k1"], ["k2"]])]))
    assert unknown.valid


def test_an_effect_of_what_was_refused_every_time() -> None:
    refused = [charge("k3", "fail", at=4), charge("k3", "fail", at=5)]
    verdict = idempotent()(run([*TWICE, *refused, ledger(["k1", "k2", "k3"])]))
    assert (verdict.result, verdict.anomaly) == ("invalid", "effect-of-refused")
    assert idempotent()(run([*TWICE, *refused, ledger(["k1", "k2"])])).valid
    perhaps = [*refused, charge("k3", "info", at=6)]
    assert idempotent()(run([*TWICE, *perhaps, ledger(["k1", "k2", "k3"])])).valid


def test_keys_of_others_count_for_duplicates_alone() -> None:
    assert idempotent()(run([*TWICE, ledger(["k1", "k2", "load-1"])])).valid
    twice = idempotent()(run([*TWICE, ledger(["k1", "k2", "load-1", "load-1"])]))
    assert twice.anomaly == "duplicate-effect"
    assert "no op of the workload has this key" in twice.evidence


def test_the_last_ledger_of_each_node_counts_and_differences_are_said() -> None:
    earlier = ledger(["k1"], at=80)
    assert idempotent()(run([*TWICE, earlier, ledger(["k1", "k2"])])).valid
    same = [ledger(["k1", "k2"], node="a"), ledger(["k2", "k1"], node="b")]
    agreed = idempotent()(run([*TWICE, *same]))
    assert agreed.valid
    assert "differ" not in agreed.summary
    both = [ledger(["k1"], node="a"), ledger(["k2"], node="b")]
    verdict = idempotent()(run([*TWICE, *both]))
    assert verdict.valid
    assert "ledgers differ" in verdict.summary
    twice = [ledger(["k1", "k2"], node="a"), ledger(["k1", "k1", "k2"], node="b")]
    assert idempotent()(run([*TWICE, *twice])).anomaly == "duplicate-effect"


def test_without_a_ledger_an_acknowledgement_or_replays_it_is_unknown() -> None:
    def judged(*ops: Op, replays: int = 1) -> Verdict:
        return idempotent(replays=replays)(run(ops))

    unread = op("effects", None, "fail", 90, final=True)
    early = op("effects", None, "ok", 50, result=["k1", "k2"])
    for missing in (unread, early, ledger(None), ledger("k1")):
        assert judged(*TWICE, missing).result == "unknown"
    nobody = [charge("k1", "info"), charge("k1", "info")]
    assert "acknowledged" in judged(*nobody, ledger(["k1"])).summary
    full = ledger(["k1", "k2"])
    assert judged(*TWICE, full, replays=2).result == "unknown"
    # A replay that certainly had no effect has tested nothing.
    assert judged(*TWICE, charge("k2", "fail"), full, replays=2).result == "unknown"
    assert judged(*TWICE, charge("k2", "info"), full, replays=2).valid
    assert judged(charge("k1"), ledger(["k1", "k1"]), replays=5).result == "invalid"
    assert judged(charge("k1"), ledger(["k1"]), replays=0).valid


def test_another_ledger_has_its_own_name() -> None:
    notified = op("notified", None, "ok", 91, result=["k1"], final=True)
    verdict = idempotent(effects="notified")(run([*TWICE, ledger(["k1", "k2"]), notified]))
    assert (verdict.check, verdict.anomaly) == (
        "idempotent(charge, effects=notified)",
        "lost-effect",
    )


def test_long_evidence_is_cut() -> None:
    ops = [charge("k1", at=n) for n in range(30)]
    verdict = idempotent()(run([*ops, ledger(["k1"] * 20 + [f"x{n}" for n in range(9)] * 2)]))
    assert len(verdict.evidence.splitlines()) < 40
    assert "  … and 20 more" in verdict.evidence
    assert "… and 7 more keys" in verdict.evidence


@pytest.mark.parametrize(
    "wrong", [{"acts": "charge"}, {"acts": ()}, {"replays": -1}, {"replays": 1.5}, {"effects": ""}]
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        idempotent(**wrong)


KEYS = st.sampled_from(["a", "b", 1, (1, "a"), None])
OPS = st.lists(st.tuples(KEYS, st.sampled_from(["ok", "fail", "info"])), max_size=8)


@settings(max_examples=200, deadline=None)
@given(OPS, st.lists(KEYS, max_size=6))
def test_it_agrees_with_a_count_by_hand(asked: list[tuple[Any, Any]], effects: list[Any]) -> None:
    ops = [charge(key, outcome, at=n) for n, (key, outcome) in enumerate(asked)]
    entries = [[list(key) if isinstance(key, tuple) else key, n] for n, key in enumerate(effects)]
    verdict = idempotent(replays=0)(run([*ops, ledger(entries)]))
    counts = Counter(effects)
    outcomes = {key: {kind for other, kind in asked if other == key} for key, _kind in asked}
    duplicates = sum(number > 1 for number in counts.values())
    lost = sum("ok" in kinds and not counts[key] for key, kinds in outcomes.items())
    refused = sum(kinds == {"fail"} and counts[key] > 0 for key, kinds in outcomes.items())
    assert verdict.data["duplicates"] == duplicates
    assert (verdict.data["lost"], verdict.data["of_refused"]) == (lost, refused)
    if duplicates or lost or refused:
        assert verdict.result == "invalid"
    else:
        assert verdict.valid == any("ok" in kinds for kinds in outcomes.values())
