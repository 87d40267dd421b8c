"""A limit over all nodes that every node can decide by itself, and that may be exceeded a little.

Each member has a share of the limit, which it may use without asking anybody, so both sides of a
netsplit go on. Every `sync_s` the members tell each other how much was asked of them in the last
window, and what some leave of their shares is lent to others (`division`). What belongs to a member
that is not heard is not lent: it may be cut off, and be using it. So in a netsplit all sides
together soon keep to the limit, and a member that is down leaves its share unused: the price of not
knowing which of the two it is.

`error_bound` states by how much the limit may be exceeded and `unsettled_s` for how long.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Mapping
from random import Random
from typing import Any

from ..mesh import Messenger
from ..tasks import Tasks
from ..telemetry import Metrics
from ._measured import Measured
from .contract import Decision
from .division import divide, error_bound, shares
from .window import KEYS

REPORTED_KEYS = 500
"""Keys in one report, those asked for most. Of others the rest of the members believe that nobody
asks here; the cap holds all the same."""

_SILENT = 2.4
"""In intervals: for how long a report is believed. Two may be lost or late."""


class ApproximateLimiter(Measured):
    """One member's part. `members` are the same at all of them, and are not only those alive.

    `sync_s` should be well below `per_s`, and above the time a message takes: reports say what was
    asked in the last `per_s`, so what is lent changes slowly even if they come often. It rises by
    half of what it could at every report, and falls at once. Mutant `approximate-ignores-peers`:
    every node admits the whole limit.
    """

    def __init__(
        self,
        mesh: Messenger,
        members: tuple[str, ...],
        limit: int,
        per_s: float,
        *,
        sync_s: float,
        random: Random,
        metrics: Metrics,
        burst: float = 1.5,
        kind: str = "limiter.approximate",
        mutant: str | None = None,
    ) -> None:
        super().__init__(limit, per_s, metrics=metrics, adapter="approximate")
        if mesh.name not in members:
            raise ValueError(f"{mesh.name} is not one of {', '.join(members)}: it has no share")
        if burst < 1 or sync_s <= 0:
            raise ValueError(
                f"burst={burst:g} and sync_s={sync_s:g}: give at least 1, so that a member may use "
                "its share, and more than 0 s"
            )
        self.error = error_bound(limit, len(members), burst)
        self._mesh = mesh
        self._members = members
        self._share = shares(limit, members)[mesh.name]
        self._burst = burst
        self._sync_s = sync_s
        self._random = random
        self._kind = kind
        self._mutant = mutant
        self._quiet_until = math.inf
        self._asked: dict[str, deque[float]] = {}
        self._reports: dict[str, tuple[float, Mapping[str, float]]] = {}
        self._allowed: dict[str, float] = {}
        self._tasks = Tasks()
        mesh.handle(kind, self._on_report)

    async def start(self) -> None:
        await super().start()
        # This node may have been started again: what its former start admitted is in the window.
        self._quiet_until = self._now() + self._per_s
        self._tasks.run(self._sync_for_ever())

    async def close(self) -> None:
        await super().close()
        await self._tasks.close()

    def allowed(self, key: str) -> int:
        """How many this node admits in a window now."""
        if self._mutant == "approximate-ignores-peers":
            return self._limit
        return math.floor(self._allowed.get(key, self._share) + 1e-9)

    async def _decide(self, key: str) -> Decision:
        now = self._now()
        self._note(key, now)
        if now < self._quiet_until:
            return self._unavailable(self._quiet_until - now)
        return self._logs.admit(key, now, self.allowed(key))

    def _note(self, key: str, now: float) -> None:
        asked = self._asked.get(key)
        if asked is None:
            if len(self._asked) >= KEYS:
                return
            asked = self._asked[key] = deque(maxlen=self._limit)
        asked.append(now)

    async def _sync_for_ever(self) -> None:
        mine: dict[str, float] = {}
        while True:
            await asyncio.sleep(self._sync_s * self._random.uniform(0.9, 1.1))
            now = self._now()
            # What this node asks for counts from one report later on, when the others know it too:
            # two that begin to ask at once then do not both take what is spare.
            self._divide(now, mine)
            mine = self._demand(now)
            self._report(mine)

    def _demand(self, now: float) -> dict[str, float]:
        """How often each key was asked for in the last window, at most `limit` times."""
        for key, asked in list(self._asked.items()):
            while asked and asked[0] + self._per_s <= now:
                asked.popleft()
            if not asked:
                del self._asked[key]
        self._logs.sweep(now)
        return {key: float(len(asked)) for key, asked in self._asked.items()}

    def _report(self, demand: Mapping[str, float]) -> None:
        most = heapq.nlargest(REPORTED_KEYS, demand.items(), key=lambda item: item[1])
        for name in self._members:
            if name != self._mesh.name:
                sent = self._mesh.send(name, self._kind, dict(most))
                self._meter.count("peer", "ok" if sent else "failed")

    def _on_report(self, peer: str, body: Mapping[str, Any]) -> None:
        if peer in self._members:
            self._reports[peer] = (
                self._now(),
                {str(key): float(claim) for key, claim in body.items()},
            )

    def _divide(self, now: float, mine: Mapping[str, float]) -> None:
        believed_from = now - _SILENT * self._sync_s
        heard = {
            peer: report for peer, (at, report) in self._reports.items() if at >= believed_from
        }
        allowed: dict[str, float] = {}
        for key, claim in mine.items():
            claims: dict[str, float | None] = {
                peer: report.get(key, 0.0) for peer, report in heard.items()
            }
            claims[self._mesh.name] = claim
            given = divide(self._limit, self._members, self._burst, claims)[self._mesh.name]
            before = self._allowed.get(key, float(self._share))
            allowed[key] = given if given < before + 1 else (before + given) / 2
        self._allowed = allowed
