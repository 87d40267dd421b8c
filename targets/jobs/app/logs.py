"""Structured logs: one JSON object a line on standard output, the libraries' warnings included."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from typing import Any

Clock = Callable[[], float]
"""Seconds; the loop's time, which is CLOCK_MONOTONIC and so the same for all nodes of a machine."""

_STDOUT = 1


class Log:
    """Writes events of one process. Every line says which deployment it is of; those about a
    request carry its `request_id`, those about a job its `key`."""

    def __init__(
        self,
        node: str,
        deployment: str,
        clock: Clock,
        write: Callable[[bytes], object] | None = None,
    ):
        self._node = node
        self._deployment = deployment
        self._clock = clock
        self._write = write or _to_stdout
        self._instance = os.getpid()

    def info(self, event: str, **data: Any) -> None:
        self._line("info", event, data)

    def warning(self, event: str, **data: Any) -> None:
        self._line("warning", event, data)

    def take_over_logging(self) -> None:
        """Warnings of libraries become lines of this log, without their stack traces."""
        root = logging.getLogger()
        root.handlers[:] = [_Handler(self)]
        root.setLevel(logging.WARNING)
        # Tells of every failed job with a stack trace; `execution` does that in one line.
        logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
        # Tells of each lost connection several times; `database` makes one error of it.
        logging.getLogger("psycopg").setLevel(logging.ERROR)

    def _line(self, level: str, event: str, data: dict[str, Any]) -> None:
        line = {
            "at": self._clock(),
            "level": level,
            "event": event,
            "node": self._node,
            "instance": self._instance,
            "deployment": self._deployment,
            **data,
        }
        self._write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


class _Handler(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = repr(record.exc_info[1]) if record.exc_info else None
        self._log.warning(
            "library", logger=record.name, message=record.getMessage()[:500], error=error
        )


def _to_stdout(line: bytes) -> None:
    os.write(_STDOUT, line)
