"""How k6 ended, with messages recorded from k6 1.1.0, 1.8.1 and 2.2.0."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import AbortedError, BrokenError, HarnessError, UsageError
from harness.load import exits


def line(msg: str, **more: str) -> str:
    return json.dumps({"level": "error", "msg": msg, **more}) + "\n"


SYNTAX = "file:///x/pay.js: Line 2:49 Unexpected token ;"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f"GoError: {SYNTAX}\n", "/x/pay.js: Line 2:49 Unexpected token ;"),
        (
            "could not initialize '/x/pay.js': could not load JS test 'file:///x/pay.js': "
            + SYNTAX,
            "/x/pay.js: Line 2:49 Unexpected token ;",
        ),
        (
            "TypeError: Cannot read property 'bar' of undefined\n\tat inner "
            "(file:///x/pay.js:3:98(15))\n\tat default (file:///x/pay.js:4:35(3))\n\tat "
            "file:///r/load/prelude.js:29:16(50)\n",
            "TypeError: Cannot read property 'bar' of undefined (/x/pay.js:3:98)",
        ),
        (
            "There were problems with the specified script configuration:\n\t- executor a: "
            "function 'nope' not found in exports",
            "There were problems with the specified script configuration: executor a: function "
            "'nope' not found in exports",
        ),
    ],
)
def test_a_message_is_cut_to_what_is_wrong_and_where(message: str, expected: str) -> None:
    assert exits.reason(message) == expected


@pytest.mark.parametrize("status", [104, 107])
def test_a_wrong_script_is_one_message(status: int) -> None:
    error = exits.ending("pay.js", status, line("first") + line(SYNTAX))
    assert isinstance(error, UsageError)
    assert error.what == "The k6 script pay.js has an error."
    assert error.why == "/x/pay.js: Line 2:49 Unexpected token ;"


def test_an_abort_on_fail_names_the_thresholds_as_the_script_does() -> None:
    log = line(
        "thresholds on metrics 'http_req_duration{scenario:feed,window:judged}, "
        "http_req_failed{window:judged}' were crossed; at least one has abortOnFail enabled, "
        "stopping test prematurely"
    )
    error = exits.ending("pay.js", 99, log)
    assert isinstance(error, AbortedError)
    assert "http_req_duration{scenario:feed}, http_req_failed." in error.what
    assert "window" not in str(error)


def test_a_threshold_that_failed_at_the_end_is_for_the_verdicts() -> None:
    log = line("thresholds on metrics 'http_req_failed{window:judged}' have been crossed")
    assert exits.ending("pay.js", 99, log) is None


def test_a_script_may_stop_the_run() -> None:
    log = line("test aborted: seen enough at default (file:///x/pay.js:3:81(11))")
    error = exits.ending("pay.js", 108, log)
    assert isinstance(error, AbortedError)
    assert error.why is not None and "seen enough" in error.why


@pytest.mark.parametrize("status", [0, 105, 110])
def test_the_end_of_a_script_is_no_error(status: int) -> None:
    assert exits.ending("pay.js", status, "") is None


@pytest.mark.parametrize("status", [97, 98, 100, 101, 102, 103, 106, 109, 255, -9, None])
def test_every_other_end_breaks_the_run_and_says_how(status: int | None) -> None:
    error = exits.ending("pay.js", status, line("because"))
    assert type(error) is BrokenError
    assert exits.meaning(status) in error.what and error.why == "because"


def test_words_are_told_apart() -> None:
    words = {exits.meaning(status) for status in [None, -9, 0, *range(97, 111), 255]}
    assert len(words) == 18


def test_a_log_tells_exceptions_marks_and_its_end(tmp_path: Path) -> None:
    log = tmp_path / "k6.log"
    thrown = {"source": "stacktrace", "scenario": "feed"}
    log.write_text(
        'not json with "error" in it\n'
        + line("the script's own", source="console")
        + line("TypeError: one\n\tat default (file:///x/pay.js:4:35(3))\n", **thrown)
        + line("TypeError: two\n", **thrown)
        + line("test marked as failed: too odd")
        + '{"level":"error","msg":"half'
    )
    found = exits.read_log(log)
    assert (found.thrown, found.first) == (2, "TypeError: one (/x/pay.js:4:35)")
    assert found.mark == "too odd"
    assert found.end.endswith("half")
    assert exits.read_log(tmp_path / "none") == exits.Log()


def test_errors_of_the_harness_carry_no_stack_trace() -> None:
    error = exits.bad_script("pay.js", "no json at all", "exited with status 255")
    assert isinstance(error, HarnessError) and error.why == "no json at all"
