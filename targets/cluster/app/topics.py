"""Topics: whoever publishes anywhere is read everywhere, also across a netsplit.

PubSub delivers at most once: what is published while a link is down is gone. So each node numbers
what it publishes to a topic, keeps what it knows of every topic, and asks its peers for what is
missing: when a number is skipped, when PubSub says that there may be a gap, when a peer comes back,
and every second. A topic is a log on each node: it holds every message once, those of one publisher
in the order in which they were published. How those of several publishers interleave differs from
node to node.

The repair goes over the mesh, whichever PubSub adapter carries the messages.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from primitives.mesh import Messenger, Unreachable
from primitives.pubsub import Message, PubSub

CHANNEL = "topics"
"""The one topic of PubSub that carries all of ours."""

HEADS = "topics.heads"
RANGE = "topics.range"

SYNC_S = 1.0
ASK_S = 0.5
PAGE_BYTES = 256 * 1024
"""Of messages in one answer: a quarter of the largest frame."""

MOST_TOPICS = 1_000
MOST_MESSAGES = 10_000
"""Of one topic; the oldest are forgotten. Who was cut off for longer than that misses some, and
counts them."""

MOST_WAITING = 1_000
"""Messages of one publisher that came too early and wait for those before them."""


class TooManyTopicsError(Exception):
    """No further topic can be published to."""


@dataclass
class _Line:
    """What one start of one node published to one topic: numbers `first` to `first +
    len(bodies)`."""

    first: int = 1
    bodies: list[Any] = field(default_factory=list)
    waiting: dict[int, Any] = field(default_factory=dict)

    @property
    def next(self) -> int:
        return self.first + len(self.bodies)


@dataclass
class _Log:
    """A topic as this node knows it: messages number `first` (from 0) and on."""

    first: int = 0
    messages: list[Any] = field(default_factory=list)


class Topics:
    """The topics of one node. `origin` is its name with this start of it."""

    def __init__(
        self,
        origin: str,
        mesh: Messenger,
        pubsub: PubSub,
        tell: Callable[..., None],
        *,
        mutant: str | None = None,
    ) -> None:
        self._origin = origin
        self._mesh = mesh
        self._pubsub = pubsub
        self._tell = tell
        self._repairs = mutant != "no-catch-up"  # Mutant: nobody asks for what was missed.
        self._lines: dict[str, dict[str, _Line]] = defaultdict(dict)
        self._logs: dict[str, _Log] = defaultdict(_Log)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self.missed = 0
        """Messages that no peer had any more."""

    async def start(self) -> None:
        """Subscribe, and keep in step with the peers."""
        self._mesh.handle(HEADS, lambda _peer, _body: self.heads())
        self._mesh.handle(RANGE, lambda _peer, body: self._range(body))
        self._mesh.on_change(lambda *_: self._wake.set())
        self._pubsub.on_gap(lambda *_: self._wake.set())
        self._unsubscribe = self._pubsub.subscribe(CHANNEL, self._came)
        self._task = asyncio.create_task(self._keep_in_step())

    async def close(self) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def publish(self, topic: str, body: Any) -> None:
        """Append a message to the topic here, and send it to all who can be reached now. The others
        get it when they can be. Raises `TooManyTopicsError`."""
        if topic not in self._lines and len(self._lines) >= MOST_TOPICS:
            raise TooManyTopicsError(f"there are {MOST_TOPICS} topics already")
        line = self._line(topic, self._origin)
        number = line.next
        self._apply(topic, line, number, body)
        await self._pubsub.publish(
            CHANNEL, {"topic": topic, "origin": self._origin, "number": number, "body": body}
        )

    def read(self, topic: str, since: int = 0) -> tuple[list[Any], int]:
        """The messages of a topic from number `since` on, in the order in which they came here, and
        the number after the last one."""
        log = self._logs.get(topic, _Log())
        messages = log.messages[max(0, since - log.first) :]
        return messages, log.first + len(log.messages)

    def _line(self, topic: str, origin: str) -> _Line:
        return self._lines[topic].setdefault(origin, _Line())

    def _came(self, message: Message) -> None:
        told = message.payload
        self._take(told["topic"], told["origin"], told["number"], told["body"])

    def _take(self, topic: str, origin: str, number: int, body: Any) -> None:
        """One message of a publisher: applied if it is the next one, kept if it came too early."""
        line = self._line(topic, origin)
        if number < line.next or origin == self._origin:
            return
        if number > line.next and not self._repairs:
            line.first, line.bodies = number, []
        if number > line.next:
            if len(line.waiting) < MOST_WAITING:
                line.waiting[number] = body
            self._wake.set()
            return
        self._apply(topic, line, number, body)
        while line.next in line.waiting:
            self._apply(topic, line, line.next, line.waiting.pop(line.next))

    def _apply(self, topic: str, line: _Line, number: int, body: Any) -> None:
        assert number == line.next
        line.bodies.append(body)
        log = self._logs[topic]
        log.messages.append(body)
        log.first += _cut(log.messages)
        line.first += _cut(line.bodies)

    # In step with the peers

    def heads(self) -> dict[str, dict[str, int]]:
        """Topic → publisher → number of the next message: two nodes with the same heads have the
        same messages."""
        return {
            topic: {origin: line.next for origin, line in lines.items() if line.next > 1}
            for topic, lines in self._lines.items()
        }

    def _range(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        line = self._lines.get(asked["topic"], {}).get(asked["origin"], _Line())
        begin = max(int(asked["from"]), line.first)
        bodies: list[Any] = []
        size = 0
        for body in itertools.islice(line.bodies, begin - line.first, None):
            size += len(orjson.dumps(body))
            if bodies and size > PAGE_BYTES:
                break
            bodies.append(body)
        return {"from": begin, "bodies": bodies}

    async def _keep_in_step(self) -> None:
        while True:
            try:
                async with asyncio.timeout(SYNC_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if self._repairs:
                peers = sorted(self._mesh.connected)
                await asyncio.gather(*(self._catch_up(peer) for peer in peers))

    async def _catch_up(self, peer: str) -> None:
        """Get from `peer` what it has and this node has not."""
        try:
            heads = await self._mesh.request(peer, HEADS, {}, ASK_S)
            for topic, origin, head in _each(heads):
                while self._behind(topic, origin, head):
                    begin = self._line(topic, origin).next
                    asked = {"topic": topic, "origin": origin, "from": begin}
                    told = await self._mesh.request(peer, RANGE, asked, ASK_S)
                    if not told["bodies"]:
                        break
                    self._skip(topic, origin, told["from"])
                    for number, body in enumerate(told["bodies"], told["from"]):
                        self._take(topic, origin, number, body)
        except Unreachable:
            return  # it is asked again in a second, or when it is back
        except Exception as error:
            self._tell("failed", what="catching up", error=repr(error))

    def _behind(self, topic: str, origin: str, head: int) -> bool:
        return origin != self._origin and self._line(topic, origin).next < head

    def _skip(self, topic: str, origin: str, first: int) -> None:
        """The peer has nothing before `first`, so nobody may have."""
        line = self._line(topic, origin)
        if first > line.next:
            self.missed += first - line.next
            self._tell("missed", topic=topic, origin=origin, messages=first - line.next)
            line.first, line.bodies = first, []
            line.waiting = {n: body for n, body in line.waiting.items() if n >= first}


def _cut(messages: list[Any]) -> int:
    """Forget the oldest messages, if there are too many; how many that were."""
    cut = MOST_MESSAGES // 10 if len(messages) > MOST_MESSAGES else 0
    del messages[:cut]
    return cut


def _each(heads: Mapping[str, Mapping[str, int]]) -> Iterable[tuple[str, str, int]]:
    return [(topic, origin, head) for topic, some in heads.items() for origin, head in some.items()]
