"""Who is in which room, at any node.

Every joined channel is a value in a replicated map, under (topic, user), tagged with the dot of its
join. A user with three tabs has three. Nodes that are believed dead are hidden (`View`): their
users have left, as far as one can tell here, and are back when the node is.

What the users of a topic were told is kept, and what changes is told as a difference to that, at
most every `TELL_S`. Somebody who joins is told the same state, so that all go on from one.

How stale it can be: a join or leave is with the other nodes within `SEND_S` + `TELL_S` and the way
there; what got lost on the way within one comparison (`COMPARE_S`, at random times of 0.75 to 1.25
of it, per peer); the users of a node that dies when both the membership and the links to it say so,
after 1.3 s of three nodes.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, Final, TypeAlias

from primitives.crdt import AWMap, Delta, Dot, Key, Replicator, View, replica_id
from primitives.mesh import Messenger
from primitives.telemetry import Metrics

from .hub import Hub

SEND_S: Final = 0.02
TELL_S: Final = 0.05
COMPARE_S: Final = 0.3
MOST_UNSENT: Final = 200

Metas: TypeAlias = dict[Dot, dict[str, Any]]
"""The joins of one user in one topic."""


class Presence:
    def __init__(
        self,
        mesh: Messenger,
        hub: Hub,
        *,
        random: Random,
        metrics: Metrics,
        mutant: str | None = None,
    ) -> None:
        self._node = mesh.name
        self._hub = hub
        self._map = AWMap(replica_id(mesh.name, mesh.incarnation))
        self._replicator = Replicator(
            mesh, self._map, kind="presence", interval_s=COMPARE_S, random=random, metrics=metrics
        )
        self._replicator.on_change(self._changed)
        self._view = View(self._map)
        # Mutant `presence-never-removed`: what dead nodes left behind is shown as well.
        self._shown_of = self._map.get if mutant == "presence-never-removed" else self._view.get
        self._told: defaultdict[str, dict[str, Metas]] = defaultdict(dict)
        self._dirty: defaultdict[str, set[str]] = defaultdict(set)
        self._unsent = Delta()
        self._unsent_count = 0
        self._send_timer: asyncio.TimerHandle | None = None
        self._tell_timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        await self._replicator.start()

    async def close(self) -> None:
        """Tell the others that those who are here have left."""
        for key in sorted(self._map.keys_of(self._map.replica)):
            self._change(self._map.discard(key, self._own(key)))
        self._send()
        for timer in (self._send_timer, self._tell_timer):
            if timer is not None:
                timer.cancel()
        await self._replicator.close()

    def alive(self, nodes: Mapping[str, int]) -> None:
        """Which nodes are alive, with their incarnations, has changed."""
        self._changed(self._view.update(nodes))

    def join(self, topic: str, user: str) -> Dot:
        """One more channel of `user`; what to `leave` with."""
        meta = {"online_at": round(asyncio.get_running_loop().time(), 3), "node": self._node}
        delta = self._map.add((topic, user), meta)
        (dot,) = delta.entries[topic, user]
        self._change(delta)
        return dot

    def leave(self, topic: str, user: str, dot: Dot) -> None:
        self._change(self._map.discard((topic, user), [dot]))

    def state(self, topic: str) -> dict[str, Any]:
        """`presence_state`: what everybody in the topic has been told by now."""
        told = self._told.get(topic, {})
        return {user: {"metas": _listed(metas)} for user, metas in told.items()}

    # To the other nodes.

    def _change(self, delta: Delta) -> None:
        # Many joins are one message: after a restart of a node all of its clients come at once.
        self._unsent.merge(delta)
        self._unsent_count += 1
        if self._unsent_count >= MOST_UNSENT:
            self._send()
        elif self._send_timer is None:
            self._send_timer = asyncio.get_running_loop().call_later(SEND_S, self._send)

    def _send(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None
        unsent, self._unsent, self._unsent_count = self._unsent, Delta(), 0
        self._replicator.publish(unsent)

    def _own(self, key: Key) -> list[Dot]:
        return [dot for dot in self._map.get(key) if dot[0] == self._map.replica]

    # To the users.

    def _changed(self, keys: Iterable[Key]) -> None:
        for key in keys:
            topic, user = _topic_and_user(key)
            self._dirty[topic].add(user)
        if self._dirty and self._tell_timer is None:
            self._tell_timer = asyncio.get_running_loop().call_later(TELL_S, self._tell)

    def _tell(self) -> None:
        self._tell_timer = None
        dirty, self._dirty = self._dirty, defaultdict(set)
        for topic, users in dirty.items():
            told = self._told[topic]
            joins: dict[str, Any] = {}
            leaves: dict[str, Any] = {}
            for user in sorted(users):
                before, now = told.get(user, {}), self._shown_of((topic, user))
                came = {dot: meta for dot, meta in now.items() if dot not in before}
                went = {dot: meta for dot, meta in before.items() if dot not in now}
                if came:
                    joins[user] = {"metas": _listed(came)}
                if went:
                    leaves[user] = {"metas": _listed(went)}
                if now:
                    told[user] = now
                else:
                    told.pop(user, None)
            if not told:
                del self._told[topic]
            if joins or leaves:
                self._hub.presence(topic, {"joins": joins, "leaves": leaves})


def _topic_and_user(key: Key) -> tuple[str, str]:
    topic, user = key if isinstance(key, tuple) else ("", key)
    return topic, user


def _listed(metas: Metas) -> list[dict[str, Any]]:
    return [{"phx_ref": f"{replica}.{n}", **meta} for (replica, n), meta in sorted(metas.items())]
