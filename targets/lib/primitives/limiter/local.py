"""A limit of one node alone."""

from __future__ import annotations

from ..telemetry import Metrics
from ._measured import Measured
from .contract import Decision


class LocalLimiter(Measured):
    """Exact for one node; n nodes with one each admit n times the limit. A node that is started
    again begins with an empty window: what it admitted before is not counted, so use it where the
    limit protects this process."""

    def __init__(self, limit: int, per_s: float, *, metrics: Metrics) -> None:
        super().__init__(limit, per_s, metrics=metrics, adapter="local")

    async def _decide(self, key: str) -> Decision:
        return self._logs.admit(key, self._now(), self._limit)
