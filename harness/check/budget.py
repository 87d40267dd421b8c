"""How long a check may take and how much memory it may use (D8)."""

from __future__ import annotations

import os
import time
from functools import lru_cache
from typing import Literal, TypeAlias

import psutil

from harness.errors import UsageError
from harness.units import Duration, to_seconds

Limit: TypeAlias = Literal["time", "memory"]

TIMEOUT_S = 30.0

_TO_FREE = 0.08
"""The part of the time that is kept for what comes after the last look: a step that cannot be
interrupted, and freeing what was remembered, which takes up to 10 % of what it took to fill."""

_STEPS_BETWEEN_LOOKS = 4096
_BETWEEN_LOOKS_AT_MEMORY_S = 0.001  # in which a process grows by some 2 MiB


class OverBudgetError(Exception):
    """A check ran out of `limit`. Checks turn it into `unknown`; it never reaches their callers."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(limit)
        self.limit: Limit = limit


class Budget:
    """The time and the memory that are left, from the moment this is made.

    `memory` bounds in bytes by how much the process grows. A look at it costs some 15 µs and is
    taken once in a millisecond at most, one at the clock less than 1 µs: loops call `demand` every
    few hundred rounds. Steps in between that cannot be interrupted should take less than a tenth of
    what led up to them: then a check ends within 10 % of its limits.
    """

    def __init__(self, timeout_s: float, memory: int) -> None:
        self.timeout_s = timeout_s
        self.memory = memory
        self.began = time.monotonic()
        self.deadline = self.began + (1 - _TO_FREE) * timeout_s
        self._steps = 0
        self._memory_due = self.began + _BETWEEN_LOOKS_AT_MEMORY_S
        self._process = _process(os.getpid())
        self._most = self._process.memory_info().rss + memory

    @property
    def spent_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def exceeded(self) -> Limit | None:
        """The limit that has been passed, if any."""
        now = time.monotonic()
        if now > self.deadline:
            return "time"
        if now < self._memory_due:
            return None
        self._memory_due = now + _BETWEEN_LOOKS_AT_MEMORY_S
        if self._process.memory_info().rss > self._most:
            return "memory"
        return None

    def demand(self) -> None:
        """Raise `OverBudgetError` if a limit has been passed."""
        limit = self.exceeded()
        if limit is not None:
            raise OverBudgetError(limit)

    def reserve(self, size: int) -> None:
        """`demand` before a step that takes `size` bytes and cannot be interrupted."""
        self.demand()
        if self._process.memory_info().rss + size > self._most:
            raise OverBudgetError("memory")

    def worked(self, steps: int) -> None:
        """`demand`, once there have been some thousands of steps (of a microsecond or so): for
        loops whose rounds may be short or long."""
        self._steps += steps
        if self._steps > _STEPS_BETWEEN_LOOKS:
            self._steps = 0
            self.demand()

    def told(self, limit: Limit) -> str:
        """The limit within a sentence, with the option that raises it."""
        if limit == "time":
            return f"{self.timeout_s:g} s (timeout=)"
        return f"{self.memory / 2**20:.0f} MiB (memory=)"


@lru_cache(maxsize=1)
def _process(pid: int) -> psutil.Process:
    """This process (again after a fork): making one costs more than several looks."""
    return psutil.Process(pid)


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
