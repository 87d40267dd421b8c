"""A limit over all nodes that is never exceeded, and refuses where it cannot be sure.

The elected leader holds the log of admissions; other nodes ask it. Why no window ever holds more
than the limit: an admission takes place at the moment at which the leader read its clock and held
its lease, within the `acquire` that asked for it. While one node leads its log is complete, so no
window within its time is too full. At most one node leads at any moment (`coordination`), and a new
leader, which does not know its predecessor's log, admits nothing for `per_s` after it was elected:
by then no admission of a predecessor is in any window that holds one of its own. (What it logged
when it led before has run out by then, too.)

So after a leader is lost there are no admissions for about `lease_s` (until nobody can lead any
more), the election, and `per_s`. A node that does not reach the leader, or is in a minority, says
"unavailable" within `timeout_s`; an answer that is lost on its way leaves budget unused, no more.
"""

from __future__ import annotations

from typing import Any

from ..coordination import DRIFT, Election
from ..mesh import Messenger, Unreachable
from ..telemetry import Metrics
from ._measured import Measured
from .contract import Decision

PENDING = 1000
"""Requests of one node that wait for the leader. More are answered "unavailable" at once."""


class StrictLimiter(Measured):
    """One member's part. `kind` names the limiter's messages; all nodes have it in common.

    Mutant `limiter-forgets-on-failover`: a new leader begins with an empty window at once. (The
    election's mutant `strict-without-lease` breaks the other half of the promise.)
    """

    def __init__(
        self,
        mesh: Messenger,
        election: Election,
        limit: int,
        per_s: float,
        *,
        metrics: Metrics,
        kind: str = "limiter.strict",
        timeout_s: float = 0.5,
        mutant: str | None = None,
    ) -> None:
        super().__init__(limit, per_s, metrics=metrics, adapter="strict")
        self._mesh = mesh
        self._election = election
        self._kind = kind
        self._timeout_s = timeout_s
        self._pending = 0
        self._quiet_s = per_s * (1 + DRIFT)
        if mutant == "limiter-forgets-on-failover":
            self._quiet_s = 0.0
        mesh.handle(kind, self._on_request)

    async def _decide(self, key: str) -> Decision:
        decision = self._as_leader(key)
        if decision is not None:
            return decision
        leader = self._election.leader
        if leader is None or self._pending >= PENDING:
            return self._unavailable()
        self._pending += 1
        try:
            answer = await self._mesh.request(leader, self._kind, {"key": key}, self._timeout_s)
        except Unreachable:
            self._meter.count("peer", "failed")
            return self._unavailable()
        finally:
            self._pending -= 1
        self._meter.count("peer", "ok")
        return Decision(answer["admitted"], answer["reason"], answer["retry_after_s"])

    def _on_request(self, peer: str, body: Any) -> dict[str, Any]:
        decision = (self._as_leader(body["key"]) if self._open else None) or self._unavailable()
        return {
            "admitted": decision.admitted,
            "reason": decision.reason,
            "retry_after_s": decision.retry_after_s,
        }

    def _as_leader(self, key: str) -> Decision | None:
        """The decision if this node leads. Nothing may be awaited here."""
        # The clock is read before the lease is looked at: if the process is stopped in between, the
        # lease is found to have lapsed, and not to have held at a moment that came later.
        now = self._now()
        since = self._election.leading_since
        if since is None:
            return None
        if now < since + self._quiet_s:
            return self._unavailable(since + self._quiet_s - now)
        return self._logs.admit(key, now, self._limit)
