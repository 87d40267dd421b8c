"""What holds for every check of a run's timeline, whatever the history says."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check import (
    Check,
    bounded,
    breaker,
    bulkhead,
    drained,
    idempotent,
    retries_bounded,
    slo,
)
from harness.history import MISMATCH, History
from tests.support.timelines import asked, event, fault, measured, op, phases, run

CHECKS: list[Check] = [
    idempotent(replays=0),
    slo("charge", p95=0.1, errors=0.1, at_least=2),
    slo("charge", p99=0.1, phase="during"),
    bulkhead("feed", against="provider", p50=0.1, disturbed="charge", at_least=1),
    breaker("provider", opens_within=1, closes_within=2, at_least=1),
    retries_bounded("provider", at_most=1.5, per_key=2, at_least=2),
    drained(),
    bounded("keys", at_most=10, at_least=1),
]
EVERY = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)

MOMENTS = st.integers(0, 40).map(lambda half: half / 2)
NODES = st.sampled_from(["node-1", "node-2", "provider"])
JUNK = st.sampled_from([None, True, 0, -1, 3, 10**9, 0.5, "open", "half-open", "closed", [1], {}])
OPS = st.builds(
    op,
    st.sampled_from(["charge", "feed"]),
    JUNK,
    st.sampled_from(["ok", "fail", "info"]),
    MOMENTS,
    node=NODES | st.none(),
    error=st.sampled_from([None, "timeout", MISMATCH]),
)
LEDGERS = st.builds(
    lambda entries: op("effects", None, "ok", 30, result=entries, final=True),
    st.lists(JUNK | st.lists(JUNK, max_size=3)) | JUNK,
)
EVENTS = st.builds(
    lambda at, node, name, junk: event(at, node, name, **junk),
    MOMENTS,
    NODES,
    st.sampled_from(["breaker", "attempt", "worker-exited"]),
    st.fixed_dictionaries(
        {"dependency": st.sampled_from(["provider", "provider", None])},
        optional=dict.fromkeys(("instance", "state", "key", "attempt", "delay_s"), JUNK),
    ),
)
FAULTS = st.builds(
    lambda start, lasting_s, nodes, kind: fault(start, start + lasting_s, *nodes, kind=kind),
    MOMENTS,
    MOMENTS,
    st.lists(NODES, unique=True),
    st.sampled_from(["latency", "kill", "stop"]),
)
HISTORIES = st.builds(
    run,
    st.lists(OPS | LEDGERS, max_size=15),
    phases=st.sampled_from([(), phases(5, 10, 5)]),
    faults=st.lists(FAULTS, max_size=3),
    events=st.lists(EVENTS, max_size=15),
    load=st.lists(
        st.builds(asked, MOMENTS, st.sampled_from(["feed", "charge"]), st.floats(0, 2)), max_size=9
    ),
    measurements=st.lists(
        st.builds(measured, MOMENTS, st.just("keys"), st.none() | st.floats(-1, 20)), max_size=9
    ),
)


@EVERY
def test_nothing_happened_is_unknown(check: Check) -> None:
    verdict = check(History(()))
    assert (verdict.result, verdict.anomaly, verdict.check) == ("unknown", None, check.name)
    assert verdict.summary.endswith(".")


@settings(max_examples=120, deadline=None)
@given(HISTORIES)
def test_no_history_makes_them_raise(history: History) -> None:
    for check in CHECKS:
        verdict = check(history)
        assert (verdict.anomaly is not None) == (verdict.result == "invalid")
        assert "\n" not in verdict.summary
        orjson.dumps(verdict.to_json())


def test_long_runs_have_short_evidence() -> None:
    history = _long_run(5_000)
    for check in CHECKS:
        assert len(check(history).evidence.splitlines()) < 50


def _long_run(count: int) -> History:
    """Trouble all the time, a thousand times a second."""
    data: dict[str, Any] = {"dependency": "provider", "delay_s": 0.1}
    states = ["open", "half-open", "closed"]
    lasts_s = count // 1000
    return run(
        [op("charge", n // 2, "info" if n % 50 == 0 else "ok", n / 1000) for n in range(count)]
        + [op("effects", None, "ok", lasts_s, result=[*range(count), *range(99)], final=True)],
        faults=[fault(n, n + 2, "node-1", "provider", kind="stop") for n in range(1, lasts_s, 5)],
        events=[event(n / 1000, "node-1", "attempt", attempt=n % 3, **data) for n in range(count)]
        + [
            event(n / 100, "node-1", "breaker", instance=n // 3 % 50, state=states[n % 3], **data)
            for n in range(count // 10)
        ],
        load=[asked(n / 1000, "feed", 0.01) for n in range(count)],
        measurements=[measured(n / 1000, "keys", 50) for n in range(count)],
    )
