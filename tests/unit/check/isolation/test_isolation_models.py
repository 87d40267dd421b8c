"""The lattice of models, and what asks for which anomalies."""

from __future__ import annotations

import pytest

from harness.check.isolation import list_append, rw_register
from harness.check.isolation.anomalies import GRAVITY, IMPLIES, closure, implied, implying
from harness.check.isolation.models import (
    ALIASES,
    EXCLUDES,
    MODELS,
    boundary,
    canonical,
    excluded,
    ruled_out,
)
from harness.check.isolation.models import IMPLIES as MODEL_IMPLIES
from harness.errors import UsageError


def test_the_tables_speak_of_each_other() -> None:
    assert {weaker for models in MODEL_IMPLIES.values() for weaker in models} <= set(MODELS)
    assert set(ALIASES.values()) <= set(MODELS)
    assert not set(ALIASES) & set(MODELS)
    assert set(EXCLUDES) <= set(MODELS)
    assert {kind for kinds in EXCLUDES.values() for kind in kinds} <= set(IMPLIES)
    assert {kind for kinds in IMPLIES.values() for kind in kinds} <= set(IMPLIES)
    assert set(GRAVITY[:-1]) <= set(IMPLIES)


@pytest.mark.parametrize("table", [IMPLIES, MODEL_IMPLIES], ids=["anomalies", "models"])
def test_nothing_implies_itself(table: dict[str, tuple[str, ...]]) -> None:
    for name, others in table.items():
        assert name not in closure(others, table)


def test_stronger_models_exclude_more() -> None:
    for model in MODELS:
        for weaker in closure([model], MODEL_IMPLIES) - {model}:
            assert excluded([weaker]) <= excluded([model])
        assert excluded([model])
    assert excluded(["strict-serializable"]) >= set(GRAVITY[:-1])


def test_a_model_is_ruled_out_by_just_what_it_excludes() -> None:
    for kind in IMPLIES:
        assert ruled_out([kind]) == {model for model in MODELS if kind in excluded([model])}


def test_graver_anomalies_rule_out_at_least_as_much() -> None:
    for kind in IMPLIES:
        for other in implied([kind]):
            assert ruled_out([other]) <= ruled_out([kind])
            assert kind in implying([other])


@pytest.mark.parametrize(
    ("kinds", "weakest"),
    [
        ([], []),
        (["G0"], ["read-uncommitted"]),
        (["phantom-read"], ["read-uncommitted"]),
        (["G1c"], ["read-committed"]),
        (["internal"], ["read-atomic"]),
        (["lost-update"], ["cursor-stability", "update-atomic"]),
        (["G-single-item"], ["consistent-view", "repeatable-read"]),
        (["G-nonadjacent-item"], ["repeatable-read", "snapshot-isolation"]),
        (["G2-item"], ["repeatable-read"]),
        (["G0-process"], ["strong-session-read-uncommitted"]),
        (["G0-realtime"], ["strong-read-uncommitted"]),
        (["G1c-process"], ["strong-session-read-committed"]),
        (["G-single-item-realtime"], ["strong-snapshot-isolation"]),
        (["G2-item-process"], ["strong-session-serializable"]),
        (["G2-item-realtime"], ["strict-serializable"]),
        (["G2-item", "G1a"], ["read-committed"]),
    ],
)
def test_the_weakest_models_ruled_out(kinds: list[str], weakest: list[str]) -> None:
    found, stronger = boundary(kinds)
    assert found == weakest
    assert not set(found) & set(stronger)
    assert {*found, *stronger} == ruled_out(kinds)
    assert ("strict-serializable" in stronger + found) == bool(kinds)


def test_other_names() -> None:
    assert canonical("PL-3") == canonical("serializable") == "serializable"
    for name, model in ALIASES.items():
        assert list_append(name).name == f"list-append({model})"
    assert rw_register(["PL-SI", "read-atomic"]).name == (
        "rw-register(snapshot-isolation, read-atomic)"
    )
    assert list_append(None, anomalies="G1").name == "list-append(G1)"


@pytest.mark.parametrize("make", [list_append, rw_register])
def test_what_cannot_be_asked(make: object) -> None:
    assert callable(make)
    for wrong in ("linearizable", "causal", "", 3):
        with pytest.raises(UsageError, match="consistency_model"):
            make([wrong])
    with pytest.raises(UsageError, match="G9"):
        make(anomalies=["G9"])
    with pytest.raises(UsageError, match="nothing to look for"):
        make(None)
    with pytest.raises(UsageError, match="transaction_order"):
        make(transaction_order={"x": 1})
    with pytest.raises(UsageError, match="timeout"):
        make(timeout=0)
    with pytest.raises(UsageError, match="memory"):
        make(memory=0)
