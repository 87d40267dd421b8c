"""A program that is asked for its version may hang, chatter, fork or die: it is bounded."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.parts.program import Answer, run_program

pytestmark = pytest.mark.live


def test_both_streams_are_the_output() -> None:
    assert run_program(["sh", "-c", "echo one; echo two >&2"], timeout_s=10) == Answer("one\ntwo\n")


def test_it_has_no_input() -> None:
    assert run_program(["cat"], timeout_s=10) == Answer("")


@pytest.mark.parametrize(
    ("script", "problem"),
    [("exit 3", "exited with status 3"), ("kill -9 $$", "was killed by signal 9")],
)
def test_how_it_ended_badly_is_told(script: str, problem: str) -> None:
    assert run_program(["sh", "-c", script], timeout_s=10).problem == problem


def test_what_cannot_be_started_is_told(tmp_path: Path) -> None:
    assert run_program([str(tmp_path / "nothing")], timeout_s=10).problem == (
        "could not be started (No such file or directory)"
    )


@pytest.mark.parametrize(
    "script",
    [
        "echo begun; sleep 300",  # hangs
        "echo begun; sleep 300 & exit 0",  # ends, and a child holds its output
        "echo begun; exec >&- 2>&-; sleep 300",  # closes its output and goes on
        "echo begun; trap '' TERM; while :; do sleep 300; done",
    ],
)
def test_one_that_hangs_is_killed_with_its_children(script: str, tmp_path: Path) -> None:
    mark = f"HARNESS_TEST_MARK={tmp_path}"
    began = time.monotonic()
    answer = run_program(["env", mark, "sh", "-c", script], timeout_s=0.5)
    assert answer == Answer("begun\n", "did not end within 0.5 s")
    assert 0.4 < time.monotonic() - began < 20
    deadline = time.monotonic() + 10
    while _marked(str(tmp_path)) and time.monotonic() < deadline:
        pass
    assert _marked(str(tmp_path)) == []


def test_one_that_chatters_costs_bounded_memory() -> None:
    script = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
    answer = run_program([sys.executable, "-c", script], timeout_s=0.5)
    assert answer.problem == "did not end within 0.5 s"
    assert len(answer.output) <= 64 * 1024


def _marked(mark: str) -> list[int]:
    """Processes, other than zombies, with the mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get("HARNESS_TEST_MARK") == mark:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
