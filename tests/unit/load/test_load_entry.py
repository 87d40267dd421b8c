"""The script that k6 is given to run."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.load import K6
from harness.load.command import clean_environment, command, environment, variable_flags
from harness.load.entry import entry_text

SCENARIOS = {"scenarios": {"a": {"exec": "feed"}, "b": {"exec": None}, "c": {"exec": "feed"}}}


def test_every_function_that_a_scenario_runs_is_wrapped_once() -> None:
    text = entry_text(K6("pay.js", None, 0.25, {}, Path("/x")), SCENARIOS, Path("/run/load"), 20)
    assert text.count('export const feed = iteration(script["feed"], 250);') == 1
    assert text.count('export default iteration(script["default"], 250);') == 1
    assert "judged(script.options || {}, null)" in text
    assert 'summarize(data, script.handleSummary, "/run/load")' in text
    # The order of imports: what the script does while it loads is seeded already.
    assert text.index("./prelude.js") < text.index('"file:///x/pay.js"')


def test_a_rate_is_a_scenario_that_lasts_to_the_bound_of_the_run() -> None:
    text = entry_text(K6("pay.js", 2.5, 1, {}, Path("/x")), {"scenarios": {}}, Path("/r"), 20.2)
    assert '"rate": 150, "timeUnit": "60s", "duration": "21s"' in text
    assert "export default" in text


def test_a_name_that_is_no_identifier_is_left_for_k6_to_refuse() -> None:
    options = {"scenarios": {"a": {"exec": "x; y"}}}
    assert "x; y" not in entry_text(K6("p.js", None, 0, {}, Path("/x")), options, Path("/r"), 1)


def test_variables_reach_the_script_and_those_of_k6_stay_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert variable_flags({"A": "1 2", "B": ""}) == ["--env", "A=1 2", "--env", "B="]
    monkeypatch.setenv("K6_DURATION", "1s")
    assert "K6_DURATION" not in clean_environment()
    assert clean_environment()["K6_AUTO_EXTENSION_RESOLUTION"] == "false"


def test_k6_listens_nowhere_and_sees_no_variables_of_a_shell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("K6_OUT", "K6_CSV_TIME_FORMAT"):
        monkeypatch.setenv(name, "strange")
    argv = command(Path("/bin/k6"), Path("/r/entry.js"), {"A": "1"}, Path("/r"))
    # What we set ourselves must not be unset: `env` would take our value as well.
    assert argv[:4] == ["env", "--unset=K6_OUT", "/bin/k6", "run"]
    assert argv[argv.index("--address") + 1] == ""
    assert argv[-3:] == ["--env", "A=1", "/r/entry.js"]
    assert environment(Path("/r"))["K6_WEB_DASHBOARD_PORT"] == "-1"
