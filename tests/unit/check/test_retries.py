"""Retries: how many, and whether all at the same moment."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from harness.check import retries_bounded
from harness.check._events import Attempt
from harness.check.retries import SPREAD, _spreads
from harness.errors import UsageError
from harness.timeline import TargetEvent
from tests.support.timelines import event, run

STREAM = random.Random(5)


def calls(count: int, attempts: int, pause_s: Any = None, first: int = 0) -> list[TargetEvent]:
    """Calls with so many attempts each; pauses drawn with full jitter unless given."""
    made = []
    for n in range(first, first + count):
        for attempt in range(1, attempts + 1):
            most_s = 0.05 * 2 ** (attempt - 1)
            delay_s = STREAM.uniform(0, most_s) if pause_s is None else pause_s
            data = {"dependency": "provider", "key": f"k{n}", "instance": 17}
            data |= {"attempt": attempt, "delay_s": 0 if attempt == 1 else delay_s}
            made.append(event(n + attempt / 10, "node-1", "attempt", **data))
    return made


def judged(events: list[TargetEvent], **more: Any) -> Any:
    bounds = {"at_most": 1.5, "per_key": 3, **more}
    return retries_bounded("provider", **bounds)(run(events=events))


def test_bounded_and_jittered() -> None:
    verdict = judged([*calls(100, 1), *calls(20, 3, first=100)])
    assert (verdict.result, verdict.anomaly) == ("valid", None)
    assert verdict.check == "retries_bounded(provider, x1.5, per_key=3)"
    assert verdict.data["amplification"] == pytest.approx(160 / 120, abs=1e-4)
    assert "120 calls of provider became 160 attempts (x1.33)" in verdict.summary
    assert set(verdict.data["variation"]) == {"2", "3"}
    orjson.dumps(verdict.to_json())


def test_amplification() -> None:
    verdict = judged(calls(20, 2))
    assert (verdict.result, verdict.anomaly) == ("invalid", "amplification")
    assert "(x2.00), x1.5 is allowed" in verdict.summary
    assert judged(calls(20, 2), at_most=2).valid


def test_one_call_without_limit_is_enough() -> None:
    verdict = judged([*calls(100, 1), *calls(1, 4, first=100)])
    assert (verdict.result, verdict.anomaly) == ("invalid", "unlimited-retries")
    assert "Key 'k100' was attempted 4 times in one call, 3 are allowed" in verdict.summary
    assert len(verdict.evidence.splitlines()) == 4
    assert "… and 15 more" in judged(calls(1, 25)).evidence


def test_pauses_that_are_all_alike() -> None:
    events = [*calls(100, 1), *calls(12, 3, pause_s=0.05, first=100)]
    verdict = judged(events)
    assert (verdict.result, verdict.anomaly) == ("invalid", "synchronised-retries")
    assert "before attempt 2 are all alike" in verdict.summary
    assert judged(events, jitter=False).valid
    assert judged([*calls(100, 1), *calls(12, 3, pause_s=0, first=100)]).result == "invalid"


def test_too_few_retries_are_unknown() -> None:
    assert judged([]).result == "unknown"
    assert judged(calls(100, 1)).result == "unknown"
    assert judged(calls(9, 2), at_most=9).result == "unknown"
    # Ten retries, but of two numbers: nobody knows whether either is jittered.
    few = judged(calls(5, 3), at_most=9)
    assert few.result == "unknown"
    assert "jittered" in few.summary
    assert judged(calls(5, 3), at_most=9, jitter=False).valid
    others = run(events=calls(20, 9))
    assert retries_bounded("store", at_most=1, per_key=1)(others).result == "unknown"


def test_events_that_say_nonsense_are_left_out() -> None:
    nonsense = [
        event(1, "node-1", "attempt", dependency="provider", attempt=number, delay_s=pause)
        for number, pause in (("2", 0.1), (None, None), (0, 1), (-1, 1))
    ]
    unclear = [
        event(1, "node-1", "attempt", dependency="provider", attempt=2, delay_s=pause)
        for pause in (None, "soon", float("nan"))
    ]
    events = [*calls(100, 1), *calls(20, 3, first=100), *nonsense, *unclear]
    verdict = judged(events)
    assert (verdict.result, verdict.data["attempts"]) == ("valid", 163)


def test_full_jitter_is_taken_for_none_by_chance_hardly_ever() -> None:
    stream = random.Random(1)
    for _case in range(5_000):
        ten = [Attempt(0, ("node-1", ""), None, 2, stream.random()) for _n in range(10)]
        assert _spreads(ten, 10)[2] > SPREAD
    for _case in range(1_000):
        nearly = [Attempt(0, ("", ""), 0, 2, stream.uniform(0.9, 1.1)) for _n in range(10)]
        assert _spreads(nearly, 10)[2] < SPREAD


@pytest.mark.parametrize(
    "wrong", [{"at_most": 0.9}, {"per_key": 0}, {"at_least": 1}, {"dependency": ""}]
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        retries_bounded(**{"dependency": "provider", "at_most": 2, "per_key": 3, **wrong})
