"""Who belongs to the cluster, as a node sees it: gossip membership with failure detection.

SWIM (Das, Gupta, Motivala: "SWIM: Scalable Weakly-consistent Infection-style Process Group
Membership Protocol", 2002): every period a node probes one other, all of them in turn in a random
order (section 4.3); who does not answer is probed through some others (3.1), then suspected (4.2),
and is dead if the suspicion is not refuted in time. News rides on probes and their answers (4.1).

Beyond the paper: what a node knows of a member is ordered (start of the node, refutations,
alive < suspect < dead) and the greatest wins, so that news may arrive in any order and twice. Two
nodes tell each other all they know when the link between them comes up, and again as long as one is
thought dead although its link is up: the two sides of a netsplit have declared each other dead,
nobody probes the dead, and only so do they hear of it and refute. Now and then any two do, for what
news may have missed. A link that is lost has its peer probed at once, not when its turn comes; and
while a link is up, what others say of the death of its peer is only a suspicion.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from .callbacks import Callbacks
from .mesh import Messenger, Unreachable
from .tasks import Tasks
from .telemetry import Metrics, Schema, emit

Status: TypeAlias = Literal["alive", "suspect", "dead"]

SCHEMA = Schema(
    component="membership",
    operations={
        "probe": ("ok", "indirect", "failed"),
        "exchange": ("ok", "failed"),
        "suspect": ("ok",),
        "refute": ("ok",),
        "dead": ("ok",),
    },
    gauges=("alive", "suspect", "dead"),
)

_RANK: Mapping[Status, int] = {"alive": 0, "suspect": 1, "dead": 2}
_PING, _PING_REQUEST, _EXCHANGE = "membership-ping", "membership-ping-request", "membership-all"
_RETRANSMIT = 3
_NEWS_AT_A_TIME = 10
_EXCHANGE_EVERY = 25
"""Periods."""


@dataclass(frozen=True)
class Member:
    """One node. `incarnation` is of its start: a node that was started again has a greater one.
    `refutations` counts how often it has said, since then, that it is not dead."""

    name: str
    status: Status
    incarnation: int
    refutations: int
    host: str
    port: int

    @property
    def order(self) -> tuple[int, int, int]:
        """The greater of two is the newer."""
        return (self.incarnation, self.refutations, _RANK[self.status])

    def to_json(self) -> list[Any]:
        return list(dataclasses.astuple(self))

    @staticmethod
    def of_json(value: Any) -> Member:
        """Raises `ValueError` if it is not what `to_json` makes."""
        match value:
            case [
                str(name),
                "alive" | "suspect" | "dead" as status,
                int(incarnation),
                int(refutations),
                str(host),
                int(port),
            ]:
                return Member(name, status, incarnation, refutations, host, port)
        raise ValueError(f"{value!r} is not a member")


class Membership:
    """`seeds` are the hosts and ports of nodes by name, of which one must be up for a node to be
    found; a node's own name among them does no harm. `host` is where others find this node, its
    name unless said otherwise. Dead members are forgotten after `forget_s`.

    A node that ends without a word is dead for the others when it was probed (at once if its end
    broke their links, else within 2 × (n - 1) × `probe_s`), nobody has reached it (at most
    3 × `probe_s`, nothing if there are no links), and `suspect_s` have passed.
    """

    def __init__(
        self,
        mesh: Messenger,
        *,
        seeds: Mapping[str, tuple[str, int]],
        random: random.Random,
        metrics: Metrics,
        probe_s: float = 0.2,
        suspect_s: float = 0.8,
        helpers: int = 2,
        forget_s: float = 60.0,
        host: str | None = None,
    ) -> None:
        self._mesh = mesh
        self._seeds = dict(seeds)
        self._random = random
        self._probe_s = probe_s
        self._suspect_s = suspect_s
        self._helpers = helpers
        self._forget_s = forget_s
        self._host = host or mesh.name
        self._meter = metrics.meter(SCHEMA, adapter="swim")
        self._told = Callbacks[Member]("member")
        self._members: dict[str, Member] = {}
        self._alive: frozenset[str] = frozenset((mesh.name,))
        self._untold: dict[str, int] = {}  # how often news of a member has been passed on
        self._turns: list[str] = []
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._probing: set[str] = set()
        self._tasks = Tasks()
        self._started = self._leaving = False
        mesh.handle(_PING, self._pinged)
        mesh.handle(_PING_REQUEST, self._ping_requested)
        mesh.handle(_EXCHANGE, self._exchanged)
        mesh.on_change(self._link_changed)

    @property
    def members(self) -> Mapping[str, Member]:
        """All that are known, this node and those that died not long ago included."""
        return MappingProxyType(self._members)

    @property
    def alive(self) -> frozenset[str]:
        """This node and all that are not dead: who is only suspected belongs to them still."""
        return self._alive

    def on_change(self, callback: Callable[[Member], object]) -> None:
        """Have it called with every member of which something new was learned."""
        self._told.add(callback)

    async def start(self) -> None:
        """Begin to probe. Does not wait for anybody. After `mesh.start`, which finds the port."""
        mesh = self._mesh
        self._started = True
        self._set(Member(mesh.name, "alive", mesh.incarnation, 0, self._host, mesh.port))
        for name, (host, port) in self._seeds.items():
            mesh.add_peer(name, host, port)
        for peer in sorted(mesh.connected):
            self._link_changed(peer, True)
        self._tasks.run(self._probe_in_turn())

    async def leave(self) -> None:
        """Tell the others that this node goes, so that they need not find out."""
        me = self._members.get(self._mesh.name)
        if me is None or self._leaving:
            return
        self._leaving = True
        self._set(dataclasses.replace(me, status="dead"))
        await asyncio.gather(*(self._exchange(peer) for peer in sorted(self._mesh.connected)))

    async def close(self) -> None:
        """Stop probing. Others notice, unless they were told by `leave`."""
        for timer in self._timers.values():
            timer.cancel()
        await self._tasks.close()

    # Probing.

    async def _probe_in_turn(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for period in itertools.count(1):
            target = self._next_in_turn()
            if target is not None:
                self._probe_soon(target)
            peers = self._mesh.connected
            whom = peers - self._alive or (frozenset() if period % _EXCHANGE_EVERY else peers)
            if whom:
                self._tasks.run(self._exchange(self._random.choice(sorted(whom))))
            # Periods that were missed (the node stood still) are not made up for.
            due = max(due + self._probe_s, loop.time())
            await asyncio.sleep(due - loop.time())

    def _next_in_turn(self) -> str | None:
        others = self._alive - {self._mesh.name}
        while self._turns:
            name = self._turns.pop()
            if name in others:
                return name
        self._turns = sorted(others)
        self._random.shuffle(self._turns)
        return self._turns.pop() if self._turns else None

    def _probe_soon(self, target: str) -> None:
        if target not in self._probing:
            self._probing.add(target)
            self._tasks.run(self._probe(target))

    async def _probe(self, target: str) -> None:
        try:
            if await self._ping(target, self._probe_s):
                self._meter.count("probe", "ok")
            elif await self._ping_through_others(target):
                self._meter.count("probe", "indirect")
            else:
                self._meter.count("probe", "failed")
                member = self._members.get(target)
                if member is not None and member.status == "alive":
                    self._meter.count("suspect")
                    self._set(dataclasses.replace(member, status="suspect"))
        finally:
            self._probing.discard(target)

    async def _ping(self, target: str, timeout_s: float) -> bool:
        try:
            answer = await self._mesh.request(target, _PING, self._news(target), timeout_s)
        except Unreachable:
            return False
        self._learn(target, answer)
        return True

    async def _ping_through_others(self, target: str) -> bool:
        others = sorted(self._mesh.connected & self._alive - {target, self._mesh.name})
        helpers = self._random.sample(others, min(self._helpers, len(others)))
        if not helpers:
            return False
        asked = [asyncio.ensure_future(self._ask(helper, target)) for helper in helpers]
        try:
            for answer in asyncio.as_completed(asked):
                if await answer:
                    return True
            return False
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _ask(self, helper: str, target: str) -> bool:
        try:
            body = [target, self._news(helper)]
            answer = await self._mesh.request(helper, _PING_REQUEST, body, 2 * self._probe_s)
            return answer is True
        except Unreachable:
            return False

    def _pinged(self, peer: str, body: Any) -> list[Any]:
        self._learn(peer, body)
        return self._news(peer)

    async def _ping_requested(self, peer: str, body: Any) -> bool:
        match body:
            case [str(target), news]:
                self._learn(peer, news)
                return target == self._mesh.name or await self._ping(target, self._probe_s)
        raise ValueError("not a request to ping somebody")

    # Exchanging everything.

    def _link_changed(self, peer: str, connected: bool) -> None:
        if not self._started:
            return
        if connected:
            self._tasks.run(self._exchange(peer))
        elif peer in self._alive:
            self._probe_soon(peer)

    async def _exchange(self, peer: str) -> None:
        body = [member.to_json() for member in self._members.values()]
        try:
            answer = await self._mesh.request(peer, _EXCHANGE, body, 5 * self._probe_s)
        except Unreachable:
            self._meter.count("exchange", "failed")
            return
        self._learn(peer, answer)
        self._meter.count("exchange")

    def _exchanged(self, peer: str, body: Any) -> list[Any]:
        self._learn(peer, body)
        return [member.to_json() for member in self._members.values()]

    # What is known.

    def _news(self, to: str) -> list[Any]:
        """What was passed on least so far, this node's own state always among it, and what is
        thought of the receiver, who must know if it is to refute it."""
        tell = {
            name: self._members[name] for name in (self._mesh.name, to) if name in self._members
        }
        times = _RETRANSMIT * math.ceil(math.log2(len(self._members) + 2))
        for name in sorted(self._untold, key=self._untold.__getitem__)[:_NEWS_AT_A_TIME]:
            tell[name] = self._members[name]
            self._untold[name] += 1
            if self._untold[name] >= times:
                del self._untold[name]
        return [member.to_json() for member in tell.values()]

    def _learn(self, peer: str, news: Any) -> None:
        """Raises `ValueError` for what no member says."""
        for member in _members(news):
            known = self._members.get(member.name)
            if member.name == self._mesh.name:
                self._refute(member)
            elif known is None:
                # Who was dead before we heard of it is of no interest, and must not be passed on
                # for ever between nodes that forget it at different times.
                if member.status != "dead":
                    self._set(member)
            elif known.order < member.order:
                believed = self._believable(peer, known, member)
                if known.order < believed.order:
                    self._set(believed)

    def _believable(self, peer: str, known: Member, said: Member) -> Member:
        """That a member is dead whose link is up is a suspicion at first, unless it says so itself:
        who was cut off alone brings such rumours of all others along."""
        rumour = said.status == "dead" and known.status != "dead" and peer != said.name
        if not rumour or said.name not in self._mesh.connected:
            return said
        self._probe_soon(said.name)
        return dataclasses.replace(said, status="suspect")

    def _refute(self, said: Member) -> None:
        """Something was said of this node: say something newer, unless that is old news."""
        me = self._members.get(said.name)
        if me is None or self._leaving or me.order >= said.order:
            return
        self._meter.count("refute")
        if said.incarnation > me.incarnation:
            # A later start than this one, as if the clock of starts had gone back (`Messenger`
            # promises that it does not). Members must not take this node for the former one.
            self._set(dataclasses.replace(me, incarnation=said.incarnation + 1, refutations=0))
        else:
            self._set(dataclasses.replace(me, refutations=said.refutations + 1))

    def _set(self, member: Member) -> None:
        name = member.name
        self._members[name] = member
        self._untold[name] = 0
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        if name != self._mesh.name:
            self._mesh.add_peer(name, member.host, member.port)
            if member.status == "suspect":
                self._timers[name] = loop.call_later(self._suspect_s, self._bury, member)
            elif member.status == "dead":
                self._meter.count("dead")
                self._timers[name] = loop.call_later(self._forget_s, self._forget, member)
        self._alive = frozenset(
            one.name for one in self._members.values() if one.status != "dead"
        ) | {self._mesh.name}
        self._count()
        emit("member", member=name, status=member.status, incarnation=member.incarnation)
        self._told(member)

    def _bury(self, suspected: Member) -> None:
        if self._members.get(suspected.name) == suspected:
            self._set(dataclasses.replace(suspected, status="dead"))

    def _forget(self, dead: Member) -> None:
        if self._members.get(dead.name) == dead:
            del self._members[dead.name]
            self._untold.pop(dead.name, None)
            self._timers.pop(dead.name, None)
            self._count()

    def _count(self) -> None:
        for status in _RANK:
            number = sum(member.status == status for member in self._members.values())
            self._meter.gauge(status, number)


def _members(news: Any) -> list[Member]:
    """Raises `ValueError` for what no member says."""
    if not isinstance(news, list):
        raise ValueError(f"{news!r} is not news of members")
    return [Member.of_json(item) for item in news]
