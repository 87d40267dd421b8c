"""The pytest plugin of a worker: carries out the plans it is sent on the one experiment collected.

Commands come and answers go as lines of JSON through two pipes, whose numbers stand in the
environment, with the process id of who reads the answers. The worker ends when there are no more
commands, or nobody who reads.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.plan import read_plan
from harness.plugin import WORKER, experiment_id
from harness.replay.recorded import Recording
from harness.replay.regressions import RECORDING


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Instead of running the tests collected once: run one of them for each command."""
    commands, answers, _ = (int(number) for number in os.environ[WORKER].split(","))
    with os.fdopen(commands, "rb") as asked, os.fdopen(answers, "wb", buffering=0) as told:
        for line in asked:
            answer = _carry_out(session, json.loads(line))
            told.write(json.dumps(answer).encode() + b"\n")
    return True


def _carry_out(session: pytest.Session, command: dict[str, Any]) -> dict[str, Any]:
    """Run the experiment with the plan that the command names: the run's folder, or an `error`."""
    wanted = command["experiment"]
    item = next((item for item in session.items if experiment_id(item.nodeid) == wanted), None)
    if item is None:
        return {"error": f"{wanted} is not collected any more."}
    plan = Path(command["plan"])
    try:
        item.stash[RECORDING] = Recording(plan, read_plan(plan))
    except HarnessError as error:
        return {"error": str(error)}
    item.user_properties.clear()
    reports: list[pytest.TestReport] = []
    catcher = _Catcher(reports)
    session.config.pluginmanager.register(catcher)
    try:
        # No next item: what the test set up is torn down, down to the session.
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
    finally:
        session.config.pluginmanager.unregister(catcher)
    session.shouldfail = session.shouldstop = False
    told = dict(item.user_properties)
    if "chaos_run" in told:
        return {"folder": told["chaos_run"]}
    said = [report.longreprtext for report in reports if report.failed]
    return {"error": str(told.get("chaos_skipped") or "\n".join(said) or "It left no run.")}


class _Catcher:
    """Keeps the reports of one test."""

    def __init__(self, reports: list[pytest.TestReport]) -> None:
        self._reports = reports

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._reports.append(report)
