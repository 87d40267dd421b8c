"""Nothing outlives the harness, however it ends; and what was kept is left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.runtime import ledger, proc
from tests.support.nodes import wait_until

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[3]

# A harness of its own: starts a cluster, says so, and does as it is told by its first argument.
HARNESS = """
import asyncio, json, os, sys
from pathlib import Path
from harness.runtime import reaper
from harness.runtime.ledger import clusters_dir
from harness.runtime.process import ProcessRuntime
from tests.support.nodes import ask, node_spec

async def main():
    how, logs = sys.argv[1], Path(sys.argv[2])
    nodes = ("node-1", "node-2", "node-3")
    runtime = await ProcessRuntime.create(nodes, logs=logs, run_id="test")
    await runtime.start_all([node_spec(runtime, node, ["--deaf"]) for node in nodes])
    await runtime.start_tool("tool", ["sleep", "600"])
    ask(runtime.address("node-1"), "spawn plain")
    if how == "daemon":
        ask(runtime.address("node-1"), "spawn daemon")
    await runtime.pause("node-2")
    forked = 0
    if how == "fork" and (forked := os.fork()) == 0:
        import signal
        signal.pause()
    print(json.dumps({
        "id": runtime.id,
        "home": str(runtime.home("node-1")),
        "processes": runtime.all_processes(),
        "reaper": reaper.ensure(clusters_dir()),
        "forked": forked,
    }), flush=True)
    if how == "keep":
        await runtime.close(keep=True)
    elif how != "leave":
        await asyncio.Event().wait()

asyncio.run(main())
"""


@contextmanager
def harness(how: str, logs: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A harness process with a running cluster, and what it says of itself."""
    with subprocess.Popen(
        [sys.executable, "-c", HARNESS, how, str(logs)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            yield process, told
        finally:
            process.kill()


def pids(told: dict[str, Any]) -> list[int]:
    return [pid for found in told["processes"].values() for pid in found]


def running(pid: int) -> bool:
    now = proc.status(pid)
    return now is not None and not now.gone


def nothing_is_left(told: dict[str, Any]) -> bool:
    return (
        not Path(told["home"]).parent.exists()
        and not any(running(pid) for pid in pids(told))
        and proc.find(told["id"], {}, 0) == {}
        and not any(told["id"] in path.name for path in ledger.clusters_dir().iterdir())
        and not running(told["reaper"])
        and told["id"] not in Path("/proc/self/mountinfo").read_text()
    )


@pytest.mark.parametrize("how", ["wait", "daemon"])
def test_a_killed_harness_leaves_nothing(tmp_path: Path, how: str) -> None:
    with harness(how, tmp_path) as (process, told):
        assert len(pids(told)) == (6 if how == "daemon" else 5)
        assert all(running(pid) for pid in pids(told))
        assert running(told["reaper"])
        assert not nothing_is_left(told)
        process.kill()
        process.wait()
        wait_until(lambda: nothing_is_left(told), 5)


def test_a_fork_of_the_harness_does_not_hold_the_reaper_back(tmp_path: Path) -> None:
    with harness("fork", tmp_path) as (process, told):
        try:
            process.kill()
            process.wait()
            wait_until(lambda: nothing_is_left(told), 5)
            assert running(told["forked"])
        finally:
            os.kill(told["forked"], signal.SIGKILL)


def test_the_reaper_is_deaf_to_what_ends_a_job(tmp_path: Path) -> None:
    with harness("wait", tmp_path) as (process, told):
        assert os.getsid(told["reaper"]) == told["reaper"]
        caught = int(_field(told["reaper"], "SigIgn"), 16)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            assert caught & 1 << (number - 1)
        process.kill()
        process.wait()
        wait_until(lambda: nothing_is_left(told), 5)


def test_a_harness_that_forgot_to_close_leaves_nothing(tmp_path: Path) -> None:
    with harness("leave", tmp_path) as (process, told):
        process.wait(20)
        assert nothing_is_left(told)


def test_a_kept_cluster_outlives_its_harness_until_it_is_undone(tmp_path: Path) -> None:
    with harness("keep", tmp_path) as (process, told):
        process.wait(20)
        wait_until(lambda: not running(told["reaper"]), 5)
        assert all(running(pid) for pid in pids(told))
        ledger.sweep()
        assert all(running(pid) for pid in pids(told))
        (left_over,) = [found for found in ledger.find_left_over() if found.id == told["id"]]
        assert left_over.kept
        assert left_over.where == Path(told["home"]).parent
        assert left_over.owner == process.pid
        assert left_over.run_id == "test"
        assert {process.pid for process in left_over.processes} == set(pids(told))
        assert ledger.undo(left_over) == set()
        assert nothing_is_left(told)


def test_what_a_dead_harness_and_a_dead_reaper_left_is_swept(tmp_path: Path) -> None:
    with harness("wait", tmp_path) as (process, told):
        os.kill(told["reaper"], signal.SIGKILL)
        process.kill()
        process.wait()
        assert all(running(pid) for pid in pids(told))
        # Another test's harness may be faster: whoever it is, all of it must be gone.
        ledger.sweep()
        wait_until(lambda: nothing_is_left(told), 5)


def _field(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))
