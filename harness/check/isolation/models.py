"""Consistency models as data: which implies which, what each excludes, what a finding rules out.

After the lattice that Elle uses, and its sources: Adya, Weak Consistency (1999); Bailis et al.,
Highly Available Transactions (2013); Cerone, Bernardi and Gotsman, A Framework for Transactional
Consistency Models with Atomic Visibility (2015); Cerone and Gotsman, Analysing Snapshot Isolation
(2016); Daudjee and Salem, Lazy Database Replication with Snapshot Isolation (2006).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from harness.check.isolation.anomalies import IMPLIES as ANOMALY_IMPLIES
from harness.check.isolation.anomalies import closure, implied, implying, inverse

IMPLIES: Mapping[str, tuple[str, ...]] = {
    "strict-serializable": ("strong-session-serializable", "strong-snapshot-isolation"),
    "strong-session-serializable": ("serializable", "strong-session-snapshot-isolation"),
    "strong-snapshot-isolation": ("strong-session-snapshot-isolation", "strong-read-committed"),
    "strong-session-snapshot-isolation": ("snapshot-isolation", "strong-session-read-committed"),
    "strong-read-committed": ("strong-session-read-committed", "strong-read-uncommitted"),
    "strong-read-uncommitted": ("strong-session-read-uncommitted",),
    "strong-session-read-committed": ("read-committed", "strong-session-read-uncommitted"),
    "strong-session-read-uncommitted": ("read-uncommitted",),
    "serializable": ("repeatable-read", "update-serializable", "snapshot-isolation"),
    "repeatable-read": ("cursor-stability", "monotonic-atomic-view"),
    "update-serializable": ("forward-consistent-view",),
    "snapshot-isolation": (
        "forward-consistent-view",
        "monotonic-snapshot-read",
        "parallel-snapshot-isolation",
        "prefix",
    ),
    "forward-consistent-view": ("consistent-view",),
    "consistent-view": ("cursor-stability", "monotonic-view"),
    # Cerone and Gotsman: every cycle that PSI allows has two anti-dependencies or more.
    "parallel-snapshot-isolation": ("causal-cerone", "update-atomic", "consistent-view"),
    "prefix": ("causal-cerone",),
    "causal-cerone": ("read-atomic",),
    "update-atomic": ("read-atomic",),
    "read-atomic": ("monotonic-atomic-view",),
    "monotonic-atomic-view": ("read-committed",),
    "monotonic-snapshot-read": ("read-committed",),
    "monotonic-view": ("read-committed",),
    "cursor-stability": ("read-committed",),
    "read-committed": ("read-uncommitted",),
    "read-uncommitted": (),
}
"""A history that satisfies the first satisfies the others."""

ALIASES: Mapping[str, str] = {
    "PL-1": "read-uncommitted",
    "PL-2": "read-committed",
    "PL-2L": "monotonic-view",
    "PL-2+": "consistent-view",
    "PL-2.99": "repeatable-read",
    "PL-3": "serializable",
    "PL-3U": "update-serializable",
    "PL-CS": "cursor-stability",
    "PL-FCV": "forward-consistent-view",
    "PL-MSR": "monotonic-snapshot-read",
    "PL-SI": "snapshot-isolation",
    "PL-SS": "strict-serializable",
    "PSI": "parallel-snapshot-isolation",
    "ROLA": "update-atomic",
    "conflict-serializable": "serializable",
    "strong-serializable": "strict-serializable",
    "strong-PL-1": "strong-read-uncommitted",
    "strong-PL-2": "strong-read-committed",
    "strong-session-PL-1": "strong-session-read-uncommitted",
    "strong-session-PL-2": "strong-session-read-committed",
}

EXCLUDES: Mapping[str, tuple[str, ...]] = {
    "read-uncommitted": ("G0", "duplicate-elements", "cyclic-versions", "phantom-read"),
    "read-committed": ("G1",),
    "cursor-stability": ("lost-update",),
    "read-atomic": ("internal", "G1a", "future-read"),
    "update-atomic": ("lost-update",),
    "consistent-view": ("G-single",),
    "snapshot-isolation": ("internal", "G-nonadjacent"),
    "repeatable-read": ("G2-item", "lost-update"),
    "serializable": ("G2", "internal"),
    "strong-session-read-uncommitted": ("G0-process",),
    "strong-session-read-committed": ("G1c-process",),
    "strong-session-snapshot-isolation": ("G1-process", "G-nonadjacent-process"),
    "strong-session-serializable": ("G2-process",),
    "strong-read-uncommitted": ("G0-realtime",),
    "strong-read-committed": ("G1c-realtime",),
    "strong-snapshot-isolation": ("G1-realtime", "G-nonadjacent-realtime"),
    "strict-serializable": ("G1c-realtime", "G2-realtime"),
}
"""What each excludes beyond the models that it implies; with whatever is a case of that."""

MODELS = tuple(sorted(IMPLIES))
ANOMALIES = tuple(sorted(ANOMALY_IMPLIES))


def canonical(model: str) -> str:
    """The name of a model that verdicts use."""
    return ALIASES.get(model, model)


def excluded(models: Iterable[str]) -> set[str]:
    """The kinds of anomaly that cannot be if all of `models` hold."""
    every = closure(map(canonical, models), IMPLIES)
    return implying(kind for model in every for kind in EXCLUDES.get(model, ()))


def ruled_out(kinds: Iterable[str]) -> frozenset[str]:
    """The models that cannot hold where these anomalies are."""
    return _ruled_out(frozenset(kinds))


def boundary(kinds: Iterable[str]) -> tuple[list[str], list[str]]:
    """The weakest models ruled out, and the stronger ones that go with them, both sorted."""
    impossible = ruled_out(kinds)
    weakest = {
        model for model in impossible if not (closure([model], IMPLIES) - {model}) & impossible
    }
    return sorted(weakest), sorted(impossible - weakest)


@cache
def _ruled_out(kinds: frozenset[str]) -> frozenset[str]:
    shown = implied(kinds)
    direct = [model for model, excludes in EXCLUDES.items() if shown & set(excludes)]
    return frozenset(closure(direct, inverse(IMPLIES)))
