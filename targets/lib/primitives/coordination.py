"""A leader elected by a majority, which leads for as long as its lease certainly holds.

A node that wants to lead, or to go on leading, asks all members for a lease. A member grants it for
`lease_s` if it has granted none to another node that may still hold, and no later term is known to
it. With the leases of a majority the node leads, and renews them every quarter of `lease_s`.

Why two nodes never lead at the same moment, whatever the network does and whenever nodes stop,
pause and restart: each counts its lease from before it asked, a member from when it granted, so on
a member's clock the lease ends later than on the leader's (`DRIFT` covers clocks that do not run at
the same speed). Two majorities share a member. That member grants the second lease only after the
first has run out on its own clock, so later than the first leader stopped. A member that restarted
does not remember what it granted; it grants nothing until any such lease has run out. A node that
let its lease lapse stops leading for good and has to be elected again in a later term.

What is not promised: that there is a leader while no majority can talk; and that terms never repeat
if a majority restarts at once (nothing is kept on disk), so terms tell leaderships apart only while
some of the members that saw them live.

The clock is the loop's, which must be read anew by every call of `time()`, as asyncio's own loop
does. uvloop's is as old as the current iteration: a node that was paused in it would take its lease
for valid.

Source: Ongaro, Ousterhout, "In search of an understandable consensus algorithm" (2014), section 5.2
(terms, one vote a term, randomized candidacy), without a log; Gray, Cheriton, "Leases: an efficient
fault-tolerant mechanism for distributed file cache consistency" (1989), sections 2 and 5 (terms of
leases, clocks that drift).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from .callbacks import Callbacks
from .mesh import Messenger, Unreachable
from .tasks import Tasks
from .telemetry import Metrics, Schema, emit

SCHEMA = Schema(
    component="election",
    operations={
        "lease": ("granted", "refused", "unreachable"),
        "stand": ("won", "lost"),
        "lead": ("lapsed", "resigned"),
    },
    gauges=("leading", "term"),
)

DRIFT = 0.01
"""By which share two clocks may differ in speed. Those of computers differ by less than 0.0005."""

_LEASE = "election.lease"
_RELEASE = "election.release"


@dataclass
class _Grant:
    """What this member has granted to whom. `until` is on this member's clock."""

    node: str = ""
    incarnation: int = 0
    term: int = 0
    until: float = -math.inf
    leading: bool = False

    def is_to(self, node: str, incarnation: int) -> bool:
        return (self.node, self.incarnation) == (node, incarnation)


@dataclass
class _Leadership:
    """Of this node in one term. Leases are counted from when they were asked for."""

    term: int
    asked_at: dict[str, float] = field(default_factory=dict)
    since: float | None = None
    again_in_s: float = 0.0

    def granted_since(self, moment: float) -> int:
        """How many members granted what was asked for then or later."""
        return sum(asked_at >= moment for asked_at in self.asked_at.values())

    def holds_until(self, majority: int, lease_s: float) -> float:
        """The moment to which a majority's leases certainly hold."""
        if len(self.asked_at) < majority:
            return -math.inf
        return sorted(self.asked_at.values(), reverse=True)[majority - 1] + lease_s * (1 - DRIFT)


class Election:
    """One member's part in electing a leader among `members`, which are the same at all of them.

    `lease_s` is also for how long there is no leader after one was lost, and how long members that
    were started say nothing; candidates stand at random moments in the third of a lease after that.
    """

    def __init__(
        self,
        mesh: Messenger,
        members: tuple[str, ...],
        *,
        random: Random,
        metrics: Metrics,
        lease_s: float = 1.0,
        mutant: str | None = None,
    ) -> None:
        if mesh.name not in members:
            raise ValueError(
                f"{mesh.name} is not one of the members {', '.join(members)}: only members vote, "
                "and all must know the same ones"
            )
        self._mesh = mesh
        self._members = members
        self._others = tuple(name for name in members if name != mesh.name)
        self._majority = len(members) // 2 + 1
        self._random = random
        self._lease_s = lease_s
        self._mutant = mutant
        self._meter = metrics.meter(SCHEMA, adapter="majority")
        self._tell: Callbacks[[]] = Callbacks("election")
        self._term = 0
        self._grant = _Grant()
        self._mine: _Leadership | None = None
        self._silent_until = math.inf
        self._free = asyncio.Event()
        self._tasks = Tasks()
        mesh.handle(_LEASE, self._on_lease)
        mesh.handle(_RELEASE, self._on_release)

    async def start(self) -> None:
        """Take part: vote after one lease, and stand if nobody leads then."""
        self._silent_until = self._now() + self._lease_s * (1 + DRIFT)
        self._tasks.run(self._take_part())

    async def close(self) -> None:
        """Stop taking part. A leader hands its leases back, so that another can follow at once."""
        await self._tasks.close()
        self._silent_until = math.inf
        if self._mine is not None:
            self._meter.count("lead", "resigned")
            self._give_up(self._mine)

    def is_leader(self) -> bool:
        """Whether this node leads at the moment of the call. No other node does if it is true."""
        mine = self._mine
        return mine is not None and mine.since is not None and not self._lapsed(mine)

    @property
    def leader(self) -> str | None:
        """Who leads, as far as this node knows. Only a hint: it may have been replaced since."""
        if self.is_leader():
            return self._mesh.name
        grant = self._grant
        if grant.leading and grant.node != self._mesh.name and self._now() < grant.until:
            return grant.node
        return None

    @property
    def term(self) -> int:
        """The latest term that this node has taken part in."""
        return self._term

    @property
    def leading_since(self) -> float | None:
        """The loop's time at which this node began to lead without a break, if it does."""
        return self._mine.since if self._mine is not None and self.is_leader() else None

    def on_change(self, callback: Callable[[], object]) -> None:
        """Have it called when this node began or ceased to lead, or hears of another leader. That a
        lease ran out may be noticed late; `is_leader` never is."""
        self._tell.add(callback)

    # The voter.

    def _on_lease(self, peer: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._vote(peer, body["incarnation"], body["term"], leading=body["leading"])

    def _vote(self, node: str, incarnation: int, term: int, *, leading: bool) -> dict[str, Any]:
        """Grant a lease, or say why not and in how many seconds to ask again."""
        now = self._now()
        held = self._grant
        again = held.is_to(node, incarnation)
        if node not in self._members:
            return self._refusal(f"{node} is not a member", self._lease_s)
        if now < self._silent_until:
            return self._refusal("not voting yet", self._silent_until - now)
        if now < held.until and not again:
            return self._refusal(f"granted to {held.node}", held.until - now)
        # A leader may renew in a term that others have tried to end: the leases keep it alone, and
        # those who tried without success must be able to follow it again.
        if not leading and term <= self._term:
            return self._refusal("an old term", 0.0)
        self._term = max(self._term, term)
        self._grant = _Grant(node, incarnation, term, now + self._lease_s * (1 + DRIFT), leading)
        if leading and node != self._mesh.name and not (again and held.leading):
            self._tell()
        return {"granted": True}

    def _refusal(self, reason: str, again_in_s: float) -> dict[str, Any]:
        return {
            "granted": False,
            "reason": reason,
            "term": self._term,
            "again_in_s": min(again_in_s, self._lease_s * (1 + DRIFT)),
        }

    def _on_release(self, peer: str, body: Mapping[str, Any]) -> None:
        self._release(peer, body["incarnation"], body["term"])

    def _release(self, node: str, incarnation: int, term: int) -> None:
        """The node has given up leading in that term, or trying to, for good."""
        if self._grant.is_to(node, incarnation) and self._grant.term == term:
            self._grant.until = -math.inf
            self._free.set()

    # The candidate and leader.

    async def _take_part(self) -> None:
        again_at = -math.inf
        while True:
            free_at = max(self._silent_until, self._grant.until, again_at)
            await self._rest(free_at - self._now())
            # Members whose leases end together must not stand together.
            await asyncio.sleep(self._lease_s * self._random.uniform(0.02, 0.3))
            if self._now() >= max(self._silent_until, self._grant.until) and self._sees_majority():
                again_at = self._now() + await self._stand()

    async def _rest(self, seconds: float) -> None:
        """Wait, but no longer than until a lease is handed back."""
        self._free.clear()
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._free.wait()

    def _sees_majority(self) -> bool:
        return 1 + len(self._mesh.connected.intersection(self._others)) >= self._majority

    async def _stand(self) -> float:
        """Try to be elected, and lead for as long as that lasts. Gives the seconds for which
        standing again is useless."""
        mine = self._mine = _Leadership(self._term + 1)
        await self._ask_all(mine)
        if self._lapsed(mine):
            self._meter.count("stand", "lost")
            self._give_up(mine)
            return mine.again_in_s
        mine.since = self._now()
        self._meter.count("stand", "won")
        self._meter.gauge("leading", 1)
        self._meter.gauge("term", mine.term)
        emit("leading", node=self._mesh.name, term=mine.term)
        self._tell()
        while not self._lapsed(mine):
            began = self._now()
            await self._ask_all(mine)
            await asyncio.sleep(max(0.0, began + self._lease_s / 4 - self._now()))
        self._meter.count("lead", "lapsed")
        self._give_up(mine)
        return 0.0

    async def _ask_all(self, mine: _Leadership) -> None:
        """Ask every member for its lease, until a majority has granted it or half a lease is over:
        after that an answer comes too late to be of use."""
        asked_at = self._now()
        own = self._vote(
            self._mesh.name, self._mesh.incarnation, mine.term, leading=mine.since is not None
        )
        self._answered(mine, self._mesh.name, asked_at, own)
        asking = {asyncio.create_task(self._ask(mine, name, asked_at)) for name in self._others}
        try:
            async with asyncio.timeout(self._lease_s / 2):
                while asking and mine.granted_since(asked_at) < self._majority:
                    _, asking = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            pass
        finally:
            for task in asking:
                task.cancel()

    async def _ask(self, mine: _Leadership, name: str, asked_at: float) -> None:
        body = {
            "incarnation": self._mesh.incarnation,
            "term": mine.term,
            "leading": mine.since is not None,
        }
        try:
            answer = await self._mesh.request(name, _LEASE, body, self._lease_s / 2)
        except Unreachable:
            self._meter.count("lease", "unreachable")
        else:
            self._answered(mine, name, asked_at, answer)

    def _answered(
        self, mine: _Leadership, name: str, asked_at: float, answer: Mapping[str, Any]
    ) -> None:
        if answer["granted"]:
            self._meter.count("lease", "granted")
            # A lease that lapsed is not mended: somebody else may have led in between.
            if mine.since is None or not self._lapsed(mine):
                mine.asked_at[name] = asked_at
        else:
            self._meter.count("lease", "refused")
            mine.again_in_s = max(mine.again_in_s, answer["again_in_s"])
            if mine.since is None:
                # The next candidacy must be in a term that is new to those who know later ones.
                self._term = max(self._term, answer["term"])

    def _lapsed(self, mine: _Leadership) -> bool:
        if self._mutant == "strict-without-lease" and mine.since is not None:
            return False
        return self._now() >= mine.holds_until(self._majority, self._lease_s)

    def _give_up(self, mine: _Leadership) -> None:
        """End this leadership or candidacy for good, and let others have what was granted to it."""
        self._mine = None
        incarnation = self._mesh.incarnation
        self._release(self._mesh.name, incarnation, mine.term)
        for name in self._others:
            self._mesh.send(name, _RELEASE, {"incarnation": incarnation, "term": mine.term})
        if mine.since is not None:
            self._meter.gauge("leading", 0)
            emit("leading-no-more", node=self._mesh.name, term=mine.term)
            self._tell()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
