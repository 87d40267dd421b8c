"""The commands that start something: `harness up` and `harness replay`."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.registers import PORT
from tests.support.nodes import ask, wait_until

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
HARNESS = [sys.executable, "-m", "harness"]


def test_up_holds_a_cluster_until_it_is_interrupted(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*HARNESS, "up", "fixtures.registers:Registers", "--nodes", "2"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        assert lines[2].startswith("Logs: ")
        name, address, *_, client, _port, _number = lines[1].split()
        assert name == "node-2"
        for where in (address, client):
            assert "node-2" in ask(where, '{"f": "ping"}', port=PORT)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate(timeout=10)

    def refused() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((address, PORT)) != 0

    wait_until(refused)


@pytest.mark.parametrize("name", ["etdc", "fixtures.registers:Register", "no.such:Target"])
def test_an_unknown_target_is_one_message(name: str) -> None:
    done = subprocess.run(
        [*HARNESS, "up", name], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3
    assert name in done.stderr and "Traceback" not in done.stderr


def test_targets_lists_those_of_the_project(tmp_path: Path) -> None:
    done = subprocess.run(
        [*HARNESS, "targets"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert "etcd  ports: client 2379, peer 2380" in done.stdout
    empty = subprocess.run(
        [*HARNESS, "targets"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert "no package `targets`" in empty.stdout


def test_replay_needs_a_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [*HARNESS, "replay", str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3
    assert "is not the folder of a run" in done.stderr
