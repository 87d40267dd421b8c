"""Simulated databases: each passes at its own level, and shows at the next what it allows."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from harness.check.isolation import list_append, rw_register
from tests.support import databases
from tests.support.databases import Database, simulate

SOUND = {
    databases.Database: "strict-serializable",
    databases.SessionOrder: "strong-session-serializable",
    databases.StaleReads: "serializable",
    databases.Snapshots: "strong-snapshot-isolation",
    databases.LateSnapshots: "snapshot-isolation",
    databases.Sites: "parallel-snapshot-isolation",
    databases.Locks: "read-committed",
    databases.DirtyReads: "read-uncommitted",
}
SHOWN: dict[type[Database], tuple[str, set[str]]] = {
    databases.SessionOrder: ("strict-serializable", {"G-single-item-realtime"}),
    databases.StaleReads: ("strong-session-serializable", {"G-single-item-process"}),
    databases.Snapshots: ("serializable", {"G2-item"}),
    databases.LateSnapshots: ("strong-session-snapshot-isolation", {"G-single-item-process"}),
    databases.Sites: ("snapshot-isolation", {"G-nonadjacent-item"}),
    databases.Locks: ("snapshot-isolation", {"G-single-item", "internal"}),
    databases.DirtyReads: ("read-committed", {"G1a", "G1b", "G1c"}),
    databases.LostUpdates: ("snapshot-isolation", {"lost-update", "incompatible-order"}),
}
"""The weakest model that each breaks, and how that shows."""


@pytest.mark.parametrize("kind", SOUND, ids=lambda kind: kind.__name__)
def test_a_sound_database_passes_at_its_level(kind: type[Database]) -> None:
    for seed in range(10):
        verdict = list_append(SOUND[kind])(simulate(kind, seed, count=120))
        assert verdict.valid, verdict.evidence
        verdict = rw_register(SOUND[kind])(simulate(kind, seed, count=120, registers=True))
        assert verdict.valid, verdict.evidence


@pytest.mark.parametrize(
    ("kind", "assumed"),
    [
        (databases.Database, {"linearizable_keys": True, "wfr_keys": True}),
        (databases.Database, {"sequential_keys": True}),
        (databases.Snapshots, {"linearizable_keys": True, "wfr_keys": True}),
        (databases.Sites, {"wfr_keys": True}),
        (databases.Locks, {"linearizable_keys": True}),
    ],
)
def test_right_assumptions_do_no_harm(kind: type[Database], assumed: dict[str, Any]) -> None:
    for seed in range(5):
        history = simulate(kind, seed, count=120, registers=True)
        assert rw_register(SOUND[kind], **assumed)(history).valid


@pytest.mark.parametrize("kind", SHOWN, ids=lambda kind: kind.__name__)
def test_what_a_database_does_wrong_is_found(kind: type[Database]) -> None:
    model, expected = SHOWN[kind]
    met: Counter[str] = Counter()
    for seed in range(10):
        verdict = list_append(model)(simulate(kind, seed, count=250))
        assert len(verdict.evidence.splitlines()) <= 15
        met.update([verdict.result, *verdict.anomalies])
    assert met["invalid"] >= 7
    assert expected <= set(met)


@pytest.mark.parametrize(
    ("kind", "model", "assumed"),
    [
        (databases.StaleReads, "strict-serializable", {}),
        (databases.Snapshots, "serializable", {"linearizable_keys": True, "wfr_keys": True}),
        (databases.Locks, "read-atomic", {}),
        (databases.DirtyReads, "read-committed", {}),
        (databases.LostUpdates, "snapshot-isolation", {"linearizable_keys": True}),
    ],
)
def test_what_it_does_wrong_shows_in_registers(
    kind: type[Database], model: str, assumed: dict[str, Any]
) -> None:
    results = Counter(
        rw_register(model, **assumed)(simulate(kind, seed, registers=True)).result
        for seed in range(10)
    )
    assert results["invalid"] >= 8
