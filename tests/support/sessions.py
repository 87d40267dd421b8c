"""Sessions of pytest that tests interrupt."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

TIMEOUT_S = 60.0


@contextlib.contextmanager
def session(pytester: pytest.Pytester, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A pytest of its own, with `options`, that is killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options],
        cwd=pytester.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # A job in the background of a script has SIGINT ignored, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=TIMEOUT_S)
