"""Bounded growth: what a probe measured, against a bound."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from harness.check import bounded
from harness.errors import UsageError
from tests.support.timelines import measured, run


def judged(values: list[float | None], probe: str = "keys", **more: Any) -> Any:
    measurements = [measured(n, "keys", value) for n, value in enumerate(values)]
    measurements.append(measured(1, "other", 10**9))
    return bounded(probe, **{"at_most": 100, **more})(run(measurements=measurements))


def test_the_bound_is_inclusive_and_the_course_told() -> None:
    verdict = judged([0, 20, 40, 60, 80, 100])
    assert (verdict.result, verdict.anomaly, verdict.check) == ("valid", None, "bounded(keys<=100)")
    assert verdict.data == {
        "values": 6,
        "highest": 100,
        "last": 100,
        "first_third": 10,
        "last_third": 90,
        "slope_per_s": 20,
    }
    assert "100 at the end" in verdict.summary
    assert "+20 per second" in verdict.summary


def test_one_value_too_great_is_enough() -> None:
    verdict = judged([1, 2, 101, 3, 4])
    assert (verdict.result, verdict.anomaly) == ("invalid", "unbounded")
    assert "was 101 at 2.000 s, 100 are allowed" in verdict.summary
    assert verdict.evidence == "  2.000 s  101"
    assert judged([101]).result == "invalid"
    assert "… and 40 more" in judged([500] * 50).evidence
    orjson.dumps(verdict.to_json())


def test_too_few_values_or_zeros_alone_are_unknown() -> None:
    assert judged([1, 2, 3, 4, None]).result == "unknown"
    assert judged([1, 2, 3, 4], at_least=4).valid
    assert judged([0] * 9).result == "unknown"
    assert judged([1] * 9, probe="unheard").result == "unknown"


@pytest.mark.parametrize(
    "wrong", [{"at_most": -1}, {"at_most": float("inf")}, {"at_least": 0}, {"probe": ""}]
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        bounded(**{"probe": "keys", "at_most": 1, **wrong})
