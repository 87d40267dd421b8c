"""The program that is a machine: two processes that live and die together, with stand-ins."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from targets.redis.app import node

PROGRAM = Path(node.__file__)
TIMEOUT_S = 20.0
NOBODY = "127.213.7.1"
"""Where no Sentinel listens."""

SERVER = """#!/bin/sh
# Says under which name it was called, and ends when it is told to, or when there is a file.
trap 'echo $1 asked >> said; exit 0' TERM
echo $1 $$ >> said
while [ ! -e end-$1 ]; do sleep 0.01; done
exit 7
"""


class Machine:
    def __init__(self, home: Path, *periods: str) -> None:
        self.home = home
        server = home / "server"
        server.write_text(SERVER)
        server.chmod(0o755)
        command = [sys.executable, "-P", str(PROGRAM), str(server), NOBODY, *periods]
        self.process = subprocess.Popen(command, cwd=home, stderr=subprocess.PIPE, text=True)

    def said(self) -> list[str]:
        file = self.home / "said"
        return file.read_text().splitlines() if file.exists() else []

    def wait_started(self) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while len(self.said()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def wait_ended(self) -> tuple[int, str]:
        _out, errors = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, errors


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    found = Machine(tmp_path)
    yield found
    if found.process.poll() is None:
        found.process.kill()
        found.process.communicate(timeout=TIMEOUT_S)


def test_sigterm_reaches_both(machine: Machine) -> None:
    machine.wait_started()
    machine.process.send_signal(signal.SIGTERM)
    assert machine.wait_ended() == (0, "")
    assert sorted(machine.said()[2:]) == ["redis.conf asked", "sentinel.conf asked"]


@pytest.mark.parametrize(
    ("ends", "other"), [("redis.conf", "sentinel.conf"), ("sentinel.conf", "redis.conf")]
)
def test_if_one_ends_so_does_the_other(machine: Machine, ends: str, other: str) -> None:
    machine.wait_started()
    (machine.home / f"end-{ends}").touch()
    status, errors = machine.wait_ended()
    assert status == 1
    assert "ended by itself, status 7" in errors
    assert machine.said()[2:] == [f"{other} asked"]


def test_sigterm_reaches_both_before_the_sentinel_listens(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "info-period=500")
    machine.wait_started()
    machine.process.send_signal(signal.SIGTERM)
    assert machine.wait_ended() == (0, "")


def test_a_sentinel_that_ends_before_it_listens_ends_the_machine(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "info-period=500")
    machine.wait_started()
    (tmp_path / "end-sentinel.conf").touch()
    status, errors = machine.wait_ended()
    assert (status, "ended by itself, status 7" in errors) == (1, True)


def test_a_sentinel_is_told_its_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    _status, request = _told(monkeypatch, b"+OK\r\n", lambda: node.Machine([["true"]]))
    words = request.decode().split("\r\n")[2::2]
    assert words == ["SENTINEL", "DEBUG", "info-period", "500"]


def test_a_sentinel_that_refuses_them_ends_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    status, _request = _told(monkeypatch, b"-ERR\r\n", lambda: node.Machine([["sleep", "60"]]))
    assert status == 1


def _told(monkeypatch, answer, make):  # type: ignore[no-untyped-def]
    """How a machine ends whose Sentinel answers so, and what that was told."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(node, "SENTINEL_PORT", server.getsockname()[1])
        server.settimeout(TIMEOUT_S)
        heard: list[bytes] = []

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(1024))
                connection.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        before = {number: signal.getsignal(number) for number in node._SIGNALS}
        try:
            status = make().run("127.0.0.1", ["info-period=500"])
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        serving.join(TIMEOUT_S)
    return status, heard[0]
