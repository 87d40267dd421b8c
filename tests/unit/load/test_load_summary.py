"""Verdicts from summaries recorded from k6; 1.1.0, 1.8.1 and 2.2.0 write the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.check.verdict import Verdict
from harness.load.exits import Log
from harness.load.summary import read_verdicts

RECORDED: dict[str, Any] = {
    "http_reqs": {"type": "counter", "contains": "default", "values": {"count": 48, "rate": 8.1}},
    "iterations": {"type": "counter", "contains": "default", "values": {"count": 43, "rate": 7.2}},
    "http_req_duration{scenario:feed,window:judged}": {
        "thresholds": {"p(95)<500": {"ok": True}, "p(99)<1": {"ok": False}},
        "type": "trend",
        "contains": "time",
        "values": {"avg": 0.8038, "count": 39, "p(95)": 1.3424, "p(99)": 2.5},
    },
    "http_req_duration{name:none,window:judged}": {
        "contains": "time",
        "values": {"avg": 0, "count": 0, "p(95)": 0},
        "thresholds": {"p(95)<500": {"ok": True}},
        "type": "trend",
    },
    "http_req_failed{window:judged}": {
        "type": "rate",
        "contains": "default",
        "values": {"rate": 0.1702127659574468, "passes": 8, "fails": 39},
        "thresholds": {"rate<0.01": {"ok": False}},
    },
    "http_req_failed{name:none,window:judged}": {
        "type": "rate",
        "contains": "default",
        "values": {"rate": 0, "passes": 0, "fails": 0},
        "thresholds": {"rate<0.1": {"ok": True}},
    },
    "lost{window:judged}": {
        "type": "counter",
        "contains": "default",
        "values": {"count": 0, "rate": 0},
        "thresholds": {"count<1": {"ok": True}},
    },
    "vus": {
        "type": "gauge",
        "contains": "default",
        "values": {"value": 2, "min": 0, "max": 2},
        "thresholds": {"value>5": {"ok": False}},
    },
}


def verdicts(tmp_path: Path, metrics: Any, log: Log | None = None) -> dict[str, Verdict]:
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({"metrics": metrics}))
    return {verdict.check: verdict for verdict in read_verdicts(path, log or Log())}


def test_each_threshold_is_a_verdict_under_the_name_its_script_gives_it(tmp_path: Path) -> None:
    found = verdicts(tmp_path, RECORDED)
    assert {check: verdict.result for check, verdict in found.items()} == {
        "k6(http_req_duration{scenario:feed}: p(95)<500)": "valid",
        "k6(http_req_duration{scenario:feed}: p(99)<1)": "invalid",
        "k6(http_req_duration{name:none}: p(95)<500)": "unknown",
        "k6(http_req_failed: rate<0.01)": "invalid",
        "k6(http_req_failed{name:none}: rate<0.1)": "unknown",
        "k6(lost: count<1)": "valid",
        "k6(vus: value>5)": "invalid",
    }


def test_a_verdict_says_what_was_measured(tmp_path: Path) -> None:
    verdict = verdicts(tmp_path, RECORDED)["k6(http_req_duration{scenario:feed}: p(99)<1)"]
    assert verdict.summary == "Not kept: p(99) was 2.5 ms over 39 samples."
    assert verdict.anomaly == "threshold"
    assert verdict.data["value"] == 2.5
    failed = verdicts(tmp_path, RECORDED)["k6(http_req_failed: rate<0.01)"]
    assert failed.summary == "Not kept: rate was 0.170213 over 47 samples."


@pytest.mark.parametrize("requests", [{}, {"http_reqs": {"values": {"count": 0}}}])
def test_a_load_without_requests_is_unknown(tmp_path: Path, requests: dict[str, Any]) -> None:
    assert verdicts(tmp_path, requests)["k6(requests)"].result == "unknown"
    assert "k6(requests)" not in verdicts(tmp_path, RECORDED)


def test_a_load_of_websockets_alone_is_one(tmp_path: Path) -> None:
    sockets = {"ws_sessions": {"type": "counter", "values": {"count": 3, "rate": 1.0}}}
    assert verdicts(tmp_path, sockets) == {}


def test_a_load_of_exceptions_alone_is_unknown(tmp_path: Path) -> None:
    log = Log(thrown=43, first="TypeError: x (/x/pay.js:3:1)")
    verdict = verdicts(tmp_path, RECORDED, log)["k6(script)"]
    assert (verdict.result, verdict.evidence) == ("unknown", "TypeError: x (/x/pay.js:3:1)")
    assert "k6(script)" not in verdicts(tmp_path, RECORDED, Log(thrown=42))


def test_a_script_that_marks_its_test_as_failed_is_invalid(tmp_path: Path) -> None:
    assert verdicts(tmp_path, RECORDED, Log(mark="odd"))["k6(test.fail)"].result == "invalid"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"metrics": 3}'])
def test_no_summary_is_unknown_and_never_valid(tmp_path: Path, text: str) -> None:
    path = tmp_path / "summary.json"
    path.write_text(text)
    (verdict,) = read_verdicts(path, Log())
    assert (verdict.check, verdict.result) == ("k6(summary)", "unknown")
    (verdict,) = read_verdicts(tmp_path / "none.json", Log())
    assert verdict.result == "unknown"
