"""Miniature projects with real experiments, carried out by a real pytest of their own."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120
MARK = "HARNESS_TEST_PROJECT"

HEAD = """
import pytest
from fixtures.registers import Registers, RegistersClient
from harness import experiment, faults, registers, seconds
from harness.check import available, converged, linearizable
"""

SOUND = (
    HEAD
    + """
@experiment(
    target=Registers(nodes=3),
    workload=registers(RegistersClient, clients=6, rate=300),
    faults=[faults.netsplit("isolate", who="leader", at=seconds(0.3), lasting=seconds(0.7))],
    duration=seconds(1.5),
    before=seconds(0.2),
)
def test_sound(run):
    run.expect(linearizable("cas-register"))
    run.expect(converged(within=seconds(5)))
"""
)

STALE = SOUND.replace("nodes=3", 'nodes=3, mutant="stale-reads"').replace(
    "test_sound", "test_stale"
)


LOAD = """
import http from "k6/http";
export default function () {
  http.get(`http://${__ENV.HARNESS_NODES.split(",")[0]}:7100/`, { timeout: "1s" });
}
"""
"""A k6 script. The registers do not speak HTTP, which it does not mind."""


def prepare(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, toxiproxy: str) -> None:
    """Make an empty project that finds this checkout and Toxiproxy, whatever the outer session."""
    monkeypatch.setenv("TOXIPROXY_BIN", toxiproxy)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv(MARK, str(pytester.path))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
        monkeypatch.delenv(name)
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider\n")


def run_pytest(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*arguments, timeout=TIMEOUT_S)


def runs_of(pytester: pytest.Pytester) -> list[dict[str, Any]]:
    """The `run.json` of each run, oldest first, with its folder under `path`."""
    found = []
    for path in sorted((pytester.path / "runs").glob("*/run.json")):
        found.append({**json.loads(path.read_text()), "path": path.parent})
    return found


def left_over(pytester: pytest.Pytester) -> dict[int, str]:
    """The processes that the project under test has started and that still run, with their
    cluster. They inherit its environment; another worker's processes have another one."""
    mark = f"{MARK}={pytester.path}".encode()
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if mark in variables:
            named = dict(v.decode().partition("=")[::2] for v in variables)
            found[int(path.parent.name)] = named.get("HARNESS_CLUSTER", "none")
    return found


def programs(processes: dict[int, str]) -> set[str]:
    """The names of the programs that these processes run."""
    found = set()
    for pid in processes:
        with contextlib.suppress(OSError):
            found.add(Path(f"/proc/{pid}/exe").readlink().name)
    return found
