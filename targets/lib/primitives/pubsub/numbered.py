"""What all adapters share: local subscribers, numbered messages, and how gaps are found.

Each node numbers its messages, over all topics, and relays all of them to all nodes. A number that
is missing is a gap, one that was seen already a duplicate. So that the loss of a last message is
found as well, each node tells its number again and again, in a beat. Who is not heard for a while
is gone. An adapter only carries these items to the other nodes.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from ..callbacks import Callbacks
from ..tasks import Tasks
from ..telemetry import Metrics, emit
from . import SCHEMA, Gap, GapReason, Message


@dataclass(frozen=True, kw_only=True)
class Beat:
    """A node tells its number every `every_s`, and who is not heard for `silent_s` is gone."""

    every_s: float = 0.25
    silent_s: float = 1.0


@dataclass
class _Position:
    """Where a publisher was when it was last heard."""

    incarnation: int
    number: int
    heard_at: float
    silent: bool = False


class NumberedPubSub(ABC):
    """A `PubSub` but for how items travel. `incarnation` grows with every start of the node."""

    def __init__(self, name: str, *, adapter: str, metrics: Metrics, beat: Beat | None) -> None:
        self._name = name
        self._beat = beat or Beat()
        self._meter = metrics.meter(SCHEMA, adapter=adapter)
        self._number = 0
        self._subscribers: dict[str, list[Callable[[Message], object]]] = {}
        self._told_gap = Callbacks[Gap]("gap")
        self._positions: dict[str, _Position] = {}
        self._peers: frozenset[str] = frozenset()
        self._delivering: deque[Message] | None = None
        self._tasks = Tasks()

    @property
    @abstractmethod
    def _incarnation(self) -> int:
        """Of this start of the node."""

    @abstractmethod
    def _relay(self, item: list[Any]) -> None:
        """Carry a message to the other nodes, or drop it; never wait. Counts which it was."""

    @abstractmethod
    def _relay_beat(self, item: list[Any]) -> None:
        """Carry a beat to the other nodes; that one is lost does not matter."""

    @property
    def peers(self) -> frozenset[str]:
        return self._peers

    async def start(self) -> None:
        self._tasks.run(self._keep_beating())

    async def close(self) -> None:
        await self._tasks.close()

    def subscribe(self, topic: str, callback: Callable[[Message], object]) -> Callable[[], None]:
        # Each subscription is told apart, also where one function subscribes twice.
        def subscriber(message: Message) -> object:
            return callback(message)

        self._subscribers.setdefault(topic, []).append(subscriber)
        self._count_subscribers()

        def unsubscribe() -> None:
            of_topic = self._subscribers.get(topic, [])
            if subscriber in of_topic:
                of_topic.remove(subscriber)
                if not of_topic:
                    del self._subscribers[topic]
                self._count_subscribers()

        return unsubscribe

    async def publish(self, topic: str, payload: Mapping[str, Any]) -> None:
        carried = orjson.loads(orjson.dumps(payload))
        if not isinstance(carried, dict):
            raise TypeError(f"a payload is a JSON object, not {payload!r}")
        self._number += 1
        self._meter.count("publish")
        # Before it is delivered: callbacks may publish, and that has the next number.
        self._relay([self._name, self._incarnation, self._number, topic, carried])
        self._deliver(Message(topic, self._name, carried))

    def on_gap(self, callback: Callable[[Gap], object]) -> None:
        self._told_gap.add(callback)

    # For adapters.

    def _beat_item(self) -> list[Any]:
        return [self._name, self._incarnation, self._number]

    def _received(self, item: Any) -> None:
        """An item of some node has arrived, which may be this one."""
        match item:
            case [str(publisher), int(incarnation), int(number)]:
                if publisher != self._name:
                    self._heard(publisher, incarnation, number, None)
            case [str(publisher), int(incarnation), int(number), str(topic), dict(payload)]:
                if publisher != self._name:
                    message = Message(topic, publisher, payload)
                    self._heard(publisher, incarnation, number, message)
            case _:
                self._meter.count("discard", "not understood")

    def _tell_gap(self, publisher: str | None, reason: GapReason) -> None:
        self._meter.count("gap", reason)
        emit("gap", publisher=publisher, reason=reason)
        self._told_gap(Gap(publisher, reason))

    def _hear_nobody(self) -> None:
        """This node's own connection is gone: who else is there is not known."""
        for position in self._positions.values():
            position.silent = True
        self._count_peers()

    # The rest is nobody else's.

    def _heard(
        self, publisher: str, incarnation: int, number: int, message: Message | None
    ) -> None:
        now = asyncio.get_running_loop().time()
        # The number that its last message had, if nothing is missing.
        before = number if message is None else number - 1
        position = self._positions.get(publisher)
        if position is None:
            position = self._positions[publisher] = _Position(incarnation, before, now)
            # Even if this is its first message: it may have been started before, unheard.
            self._tell_gap(publisher, "joined")
            self._count_peers()
        elif incarnation < position.incarnation:
            self._meter.count("discard", "stale")
            return
        elif incarnation > position.incarnation:
            position.incarnation, position.number = incarnation, before
            self._tell_gap(publisher, "restarted")
        elif before > position.number:
            position.number = before
            self._tell_gap(publisher, "lost")
        position.heard_at = now
        if position.silent:
            position.silent = False
            self._count_peers()
        if message is None:
            return
        if number <= position.number:
            self._meter.count("discard", "duplicate")
            return
        position.number = number
        self._deliver(message)

    def _deliver(self, message: Message) -> None:
        if self._delivering is not None:
            self._delivering.append(message)
            return
        self._delivering = deque((message,))
        try:
            while self._delivering:
                self._call_subscribers(self._delivering.popleft())
        finally:
            self._delivering = None

    def _call_subscribers(self, message: Message) -> None:
        for subscriber in tuple(self._subscribers.get(message.topic, ())):
            if subscriber not in self._subscribers.get(message.topic, ()):
                continue  # it has unsubscribed meanwhile
            try:
                subscriber(message)
            except Exception as error:
                self._meter.count("deliver", "failed")
                emit("subscriber-failed", topic=message.topic, error=repr(error))
            else:
                self._meter.count("deliver")

    async def _keep_beating(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._relay_beat(self._beat_item())
            due = loop.time() + self._beat.every_s
            await asyncio.sleep(self._beat.every_s)
            # A node that stood still itself has not listened: it gives the others one more beat.
            if loop.time() < due + self._beat.silent_s / 2:
                self._find_silent(loop.time() - self._beat.silent_s)

    def _find_silent(self, since: float) -> None:
        for publisher, position in self._positions.items():
            if position.heard_at < since and not position.silent:
                position.silent = True
                self._count_peers()
                self._tell_gap(publisher, "silent")

    def _count_peers(self) -> None:
        self._peers = frozenset(
            publisher for publisher, position in self._positions.items() if not position.silent
        )
        self._meter.gauge("peers", len(self._peers))

    def _count_subscribers(self) -> None:
        self._meter.gauge("subscribers", sum(map(len, self._subscribers.values())))
