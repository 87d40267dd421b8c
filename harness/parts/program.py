"""Run a program to its end, within bounds of time and output."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_SERVER_DIRS = ("/usr/local/sbin", "/usr/sbin", "/sbin")

_OUTPUT_LIMIT = 64 * 1024  # the last bytes kept; a version or the end of a build log needs less


@dataclass(frozen=True)
class Answer:
    """What a program printed (both streams) and, if it did not end well, how it ended."""

    output: str
    problem: str | None = None


def run_program(
    argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str] | None = None
) -> Answer:
    """Run `argv` without input; after `timeout_s` it is killed with everything it started.

    `Answer.problem` is None only if it exited with status 0 in time. Never raises for what the
    program does.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,  # so that its children can be killed with it
        )
    except OSError as error:
        return Answer("", f"could not be started ({error.strerror})")
    with process:
        ended = False
        try:
            output, ended = _read(process, time.monotonic() + timeout_s)
        finally:
            if not ended:
                # Before it is waited for: until then its number cannot belong to anybody else.
                os.killpg(process.pid, signal.SIGKILL)
    text = output.decode(errors="replace")
    if not ended:
        return Answer(text, f"did not end within {timeout_s:g} s")
    if process.returncode < 0:
        return Answer(text, f"was killed by signal {-process.returncode}")
    if process.returncode:
        return Answer(text, f"exited with status {process.returncode}")
    return Answer(text)


def _read(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bool]:
    """Its output to the end, and whether it ended before `deadline`."""
    assert process.stdout is not None
    output = b""
    readable = select.poll()
    readable.register(process.stdout, select.POLLIN)
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not readable.poll(left_s * 1000):
            return output, False
        chunk = os.read(process.stdout.fileno(), _OUTPUT_LIMIT)
        if not chunk:
            break
        output = (output + chunk)[-_OUTPUT_LIMIT:]
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:  # it closed its output and went on
        return output, False
    return output, True


def program_path() -> str:
    """PATH, and where servers are installed on systems that do not show them to ordinary users."""
    path = os.environ.get("PATH", os.defpath)
    there = path.split(os.pathsep)
    return os.pathsep.join([path, *(d for d in _SERVER_DIRS if d not in there)])
