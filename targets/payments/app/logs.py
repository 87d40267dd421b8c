"""Structured logs: one JSON object a line on standard output."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

Clock = Callable[[], float]
"""Seconds; the loop's time, which is CLOCK_MONOTONIC and so the same for all nodes of a machine."""

_STDOUT = 1


class Log:
    """Writes events of one process. Lines about a request carry its idempotency key as `key`."""

    def __init__(self, node: str, clock: Clock, write: Callable[[bytes], object] | None = None):
        self._node = node
        self._clock = clock
        self._write = write or _to_stdout
        self._instance = os.getpid()

    def info(self, event: str, **data: Any) -> None:
        self._line("info", event, data)

    def warning(self, event: str, **data: Any) -> None:
        self._line("warning", event, data)

    def _line(self, level: str, event: str, data: dict[str, Any]) -> None:
        line = {
            "at": self._clock(),
            "level": level,
            "event": event,
            "node": self._node,
            "instance": self._instance,
            **data,
        }
        self._write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


def _to_stdout(line: bytes) -> None:
    # One write a line: workers share the file, and their lines must not mix.
    os.write(_STDOUT, line)
