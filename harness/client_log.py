"""What client libraries log goes to the run's folder, not into pytest's report.

A library that loses its connection may log a stack trace for each operation; under a netsplit that
would bury the verdict.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def client_log(path: Path) -> Iterator[None]:
    """While it lasts, log records of all threads but this one go to `path`, and nowhere else."""
    mine = threading.get_ident()
    root = logging.getLogger()
    handler = logging.FileHandler(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(lambda record: record.thread != mine)
    others = list(root.handlers)

    def only_mine(record: logging.LogRecord) -> bool:
        return record.thread == mine

    for other in others:
        other.addFilter(only_mine)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
        for other in others:
            other.removeFilter(only_mine)
