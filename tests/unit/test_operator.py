"""The operator's key, on a terminal of the test's own."""

from __future__ import annotations

import os
import pty
import select
import termios
import time
from pathlib import Path

from harness.operator import KeyPresses


def test_q_is_heard_on_the_terminal_and_the_terminal_is_put_back() -> None:
    pid, terminal = pty.fork()
    if pid == 0:  # the child: its controlling terminal is the other end
        try:
            before = termios.tcgetattr(0)
            with KeyPresses() as keys:
                os.write(1, b"x" if keys.stop_pressed() else b"ready")
                deadline = time.monotonic() + 10
                while not keys.stop_pressed():
                    select.select([0], [], [], 0.05)
                    if time.monotonic() > deadline:
                        os._exit(3)
            os._exit(0 if termios.tcgetattr(0) == before else 4)
        except BaseException:
            os._exit(5)
    try:
        said = b""
        while b"ready" not in said:
            assert select.select([terminal], [], [], 10)[0]
            said += os.read(terminal, 100)
        os.write(terminal, b"zq")
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0


def test_without_a_terminal_nothing_is_heard(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()  # gives the controlling terminal up
            with KeyPresses() as keys:
                os._exit(1 if keys.stop_pressed() else 0)
        except BaseException:
            os._exit(5)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
