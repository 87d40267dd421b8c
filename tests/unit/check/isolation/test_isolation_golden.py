"""The verdicts on transactions that others published, with the anomalies that they name."""

from __future__ import annotations

from typing import Any

import pytest

from harness.check.isolation import list_append, rw_register
from harness.check.isolation.check import Isolation
from harness.formats import from_maps, read
from tests.support.histories import GOLDEN
from tests.support.transactions import UNIT_CASES, unit_cases

STRICTER = {"rw-phantom-read-UPSTREAM-BLIND-SPOT#0": "phantom-read"}
"""Published as valid, though somebody read what nobody wrote."""

FILES = {
    "paper-example.edn": ("list-append", "strict-serializable", False),
    "paper-example.json": ("list-append", "strict-serializable", False),
    "list-append-gh-30.edn": ("list-append", "serializable", False),
    # Published as valid: 3 is read there, which nobody wrote.
    "rw-register.edn": ("rw-register", "strict-serializable", False),
    "rw-register.json": ("rw-register", "strict-serializable", False),
}


def test_golden_cases_are_there() -> None:
    if not GOLDEN.is_dir():
        pytest.skip(f"no golden histories at {GOLDEN}")
    assert UNIT_CASES.exists()
    assert len(unit_cases()) == 35


@pytest.mark.parametrize("case", unit_cases(), ids=lambda case: case["id"])
def test_the_published_verdict(case: dict[str, Any]) -> None:
    verdict = _check(case["workload"], case["opts"])(from_maps(case["history"]))
    expected = case["expected"]
    if case["id"] in STRICTER:
        assert (verdict.result, verdict.anomaly) == ("invalid", STRICTER[case["id"]])
        return
    words = {True: "valid", False: "invalid", "unknown": "unknown"}
    assert verdict.result == words[expected["valid"]]
    if "anomaly_types" in expected:
        assert set(verdict.anomalies) == set(expected["anomaly_types"])
        assert set(verdict.data["not"]) == set(expected["not"])
    else:
        assert verdict.anomalies == []
    assert bool(verdict.evidence) == (verdict.result == "invalid")
    assert len(verdict.evidence.splitlines()) <= 15


@pytest.mark.parametrize("name", FILES)
def test_the_published_files(name: str) -> None:
    path = GOLDEN / "elle-cli" / "elle" / name
    if not path.exists():
        pytest.skip(f"no golden history at {path}")
    workload, model, valid = FILES[name]
    verdict = _check(workload, {"consistency_models": [model]})(read(path))
    assert verdict.result == ("valid" if valid else "invalid")


def _check(workload: str, opts: dict[str, Any]) -> Isolation:
    known = dict(opts)
    model = known.pop("consistency_models", "strict-serializable")
    if workload == "list-append":
        return list_append(model, **known)
    return rw_register(model, **known)
