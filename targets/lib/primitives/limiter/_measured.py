"""What all adapters do around a decision."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from ..telemetry import Metrics
from .contract import SCHEMA, Decision
from .window import SlidingLogs


class Measured(ABC):
    """Checks the arguments, is open between `start` and `close`, and counts what was decided."""

    error = 0.0

    def __init__(self, limit: int, per_s: float, *, metrics: Metrics, adapter: str) -> None:
        if limit < 1 or per_s <= 0:
            raise ValueError(
                f"a limit of {limit} in {per_s:g} s admits nothing: give at least 1 and a window "
                "of more than 0 s"
            )
        self._limit = limit
        self._per_s = per_s
        self._logs = SlidingLogs(per_s)
        self._meter = metrics.meter(SCHEMA, adapter=adapter)
        self._open = False

    async def start(self) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False

    async def acquire(self, key: str) -> Decision:
        begun = self._now()
        decision = await self._decide(key) if self._open else self._unavailable()
        self._meter.count("acquire", decision.reason)
        self._meter.observe("acquire", self._now() - begun)
        self._meter.gauge("keys", len(self._logs))
        return decision

    @abstractmethod
    async def _decide(self, key: str) -> Decision: ...

    def _unavailable(self, retry_after_s: float | None = None) -> Decision:
        return Decision(
            False, "unavailable", self._per_s if retry_after_s is None else retry_after_s
        )

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
