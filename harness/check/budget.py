"""How long a check may take and how much memory it may use (D8)."""

from __future__ import annotations

import time
from typing import Literal, TypeAlias

import psutil

from harness.errors import UsageError
from harness.units import Duration, to_seconds

Limit: TypeAlias = Literal["time", "memory"]

TIMEOUT_S = 30.0


class OverBudgetError(Exception):
    """A check ran out of `limit`. Checks turn it into `unknown`; it never reaches their callers."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(limit)
        self.limit: Limit = limit


class Budget:
    """The time and the memory that are left, from the moment this is made.

    `memory` bounds in bytes by how much the process grows. A look costs some 10 µs, so loops call
    `demand` every few hundred rounds, and long steps in between are cut into shorter ones.
    """

    def __init__(self, timeout_s: float, memory: int) -> None:
        self.timeout_s = timeout_s
        self.memory = memory
        self.began = time.monotonic()
        self.deadline = self.began + timeout_s
        self._process = psutil.Process()
        self._most = self._process.memory_info().rss + memory

    @property
    def spent_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def exceeded(self) -> Limit | None:
        """The limit that has been passed, if any."""
        if time.monotonic() > self.deadline:
            return "time"
        if self._process.memory_info().rss > self._most:
            return "memory"
        return None

    def demand(self) -> None:
        """Raise `OverBudgetError` if a limit has been passed."""
        limit = self.exceeded()
        if limit is not None:
            raise OverBudgetError(limit)

    def told(self, limit: Limit) -> str:
        """The limit within a sentence, with the option that raises it."""
        if limit == "time":
            return f"{self.timeout_s:g} s (timeout=)"
        return f"{self.memory / 2**20:.0f} MiB (memory=)"


def limits(timeout: Duration, memory: int | None) -> tuple[float, int]:
    """Seconds and bytes from what people give; without `memory`, half of what the machine has free.

    Raises `UsageError` for wrong ones.
    """
    if memory is None:
        memory = psutil.virtual_memory().available // 2
    if isinstance(memory, bool) or not isinstance(memory, int) or memory < 1:
        raise UsageError(
            f"memory must be a number of bytes, not {memory!r}.", do="Write e.g. memory=2 * 2**30."
        )
    return to_seconds(timeout, "timeout"), memory
