"""What holds for every check of a workload or a promise, whatever the history says."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check import Check
from harness.check.promises import (
    cron,
    delivery,
    ownership,
    projection_lag,
    rate_limit,
    tenant_isolation,
)
from harness.check.workloads import (
    bank,
    causal,
    comments,
    counter,
    long_fork,
    monotonic_reads,
    monotonic_writes,
    queue,
    read_your_writes,
    sequential,
    set_,
    set_full,
    total_queue,
    unique_ids,
    writes_follow_reads,
)
from harness.history import MISMATCH, History, Op
from tests.support.overlaps import OUTCOMES, overlapping

CHECKS: list[Check] = [
    bank(),
    causal(),
    comments(),
    counter(),
    long_fork(),
    monotonic_reads(),
    monotonic_writes(),
    queue(),
    read_your_writes(),
    sequential(),
    set_(),
    set_full(),
    set_full(linearizable=True),
    total_queue(),
    unique_ids(),
    writes_follow_reads(),
    cron(every=1, jitter=0.1),
    delivery(),
    delivery(to="any"),
    ownership(lease=1),
    projection_lag(within=0.001),
    rate_limit(1, per=1, at_least=0.5),
    rate_limit(1, per=1, window="fixed"),
    tenant_isolation(),
]
FUNCTIONS = [
    *("read", "write", "add", "dec", "enqueue", "dequeue", "drain", "generate", "txn", "transfer"),
    *("publish", "deliver", "subscribe", "unsubscribe", "acquire", "release", "renew", "request"),
    *("fire", "command", "query", "read-init"),
]
PLAIN = st.sampled_from([None, True, 0, -1, 1, 2, 10**30, 0.5, "a", "1"])
JUNK = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(PLAIN.filter(lambda one: one is not None), inner, max_size=2)
        | st.fixed_dictionaries({}, optional={"version": inner, "token": inner, "owner": inner})
    ),
    max_leaves=5,
)
FIELDS = st.fixed_dictionaries(
    {
        "f": st.sampled_from(FUNCTIONS),
        "key": st.sampled_from([None, None, "k", 1, [1, 2]]),
        "value": JUNK,
        "result": JUNK,
        "outcome": OUTCOMES,
        "error": st.sampled_from([None, "timeout", "empty", MISMATCH]),
        "node": st.sampled_from([None, "node-1", "node-2"]),
    }
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_nothing_happened_is_unknown(check: Check) -> None:
    for history in (History(()), History((), realtime=False)):
        verdict = check(history)
        assert (verdict.result, verdict.anomaly, verdict.check) == ("unknown", None, check.name)
        assert verdict.summary.endswith(".")
        assert verdict.anomalies == []


@settings(max_examples=120, deadline=None)
@given(overlapping(FIELDS, most=12), st.booleans())
def test_no_history_makes_them_raise(history: History, realtime: bool) -> None:
    recorded = History(history.ops, realtime=realtime)
    for check in CHECKS:
        verdict = check(recorded)
        assert (verdict.anomaly is not None) == (verdict.result == "invalid")
        assert verdict.anomalies[:1] == ([] if verdict.anomaly is None else [verdict.anomaly])
        assert bool(verdict.evidence) == (verdict.result == "invalid")
        assert len(verdict.evidence.splitlines()) < 15
        assert "\n" not in verdict.summary
        orjson.dumps(verdict.to_json())


def _trouble(count: int) -> History:
    """Much of everything, and all of it wrong: every op answers with what is long gone."""
    ops = []
    for n in range(count):
        f = FUNCTIONS[n % len(FUNCTIONS)]
        told: Any = n % 50
        if f in ("read", "deliver", "drain"):
            told = list(range(n % 300))
        ops.append(
            Op(
                process=n % 40,
                f=f,
                key=None if f == "read" else "k",
                value=n,
                outcome="fail" if n % 7 == 0 else "ok",
                result=told,
                start=n * 1_000_000,
                end=n * 1_000_000 + 30_000_000,
                index=2 * n,
                end_index=2 * n + 61,
                error=MISMATCH,
            )
        )
    return History(ops)


def test_much_trouble_has_short_evidence() -> None:
    history = _trouble(3_000)
    for check in CHECKS:
        verdict = check(history)
        assert len(verdict.evidence.splitlines()) < 15
        assert max(map(len, [verdict.summary, *verdict.evidence.splitlines()])) < 500
        assert len(orjson.dumps(verdict.to_json())) < 50_000
