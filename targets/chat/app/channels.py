"""What clients do on their channels: join, leave, write, read on, type, ask."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import orjson
from primitives.crdt import Dot
from primitives.telemetry import emit

from . import models, protocol
from .assistant import Assistant
from .entries import Entry, Kind, read_cursor
from .fanout import Fanout
from .history import History, Page
from .hub import Hub
from .metrics import ChatMetrics
from .presence import Presence
from .protocol import Push
from .sockets import Socket
from .store import OverloadedError, StorageError, Store
from .streams import Streams, ended_state

TOPIC: Final = re.compile(r"room:[A-Za-z0-9_.:-]{1,64}")
LONGEST_NAME: Final = 64
LONGEST_BODY: Final = 8 * 1024
LONGEST_PROMPT: Final = 4 * 1024
MOST_CHANNELS: Final = 100
TYPING_S: Final = 0.2
"""Between two of one channel."""

Answer: TypeAlias = Mapping[str, Any]


class Refusal(Exception):  # noqa: N818  an answer, not a failure
    """The push is answered with an error; it certainly changed nothing."""


class Channel:
    """A topic that a socket has joined. `live`: it is given what happens; not while it is behind
    and reads on. `ahead` is what it has seen elsewhere and this node has not."""

    __slots__ = ("ahead", "dot", "join_ref", "live", "socket", "topic", "typed_at", "user")

    def __init__(self, socket: Socket, topic: str, join_ref: str | None, user: str) -> None:
        self.socket = socket
        self.topic = topic
        self.join_ref = join_ref
        self.user = user
        self.live = False
        self.ahead: dict[str, int] | None = None
        self.dot: Dot | None = None
        self.typed_at = -TYPING_S


class Channels:
    """Of all sockets of a node."""

    def __init__(
        self,
        node: str,
        store: Store,
        history: History,
        hub: Hub,
        presence: Presence,
        streams: Streams,
        assistant: Assistant,
        fanout: Fanout,
        metrics: ChatMetrics,
        *,
        clock: Callable[[], float],
        mutant: str | None = None,
    ) -> None:
        self.draining = False
        self._handling = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._node = node
        self._store = store
        self._history = history
        self._hub = hub
        self._presence = presence
        self._streams = streams
        self._assistant = assistant
        self._fanout = fanout
        self._metrics = metrics
        self._clock = clock
        self._mutant = mutant
        self._events: dict[str, Callable[[Channel, Push], Awaitable[Answer]]] = {
            "new_msg": self._new_msg,
            "history": self._read_on,
            "typing": self._typing,
            "ask": self._ask,
            "stream": self._stream,
        }

    async def handle(self, socket: Socket, push: Push) -> None:
        """Do what a client wants and answer it."""
        self._handling += 1
        self._idle.clear()
        try:
            await self._handle(socket, push)
        finally:
            self._handling -= 1
            if not self._handling:
                self._idle.set()

    async def drain(self, within_s: float) -> None:
        """Take nothing more, and answer what was taken. A socket that is closed after this has all
        its answers: a push without one was not done."""
        self.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._idle.wait()

    async def _handle(self, socket: Socket, push: Push) -> None:
        if push.event == protocol.JOIN:
            try:
                self._join(socket, push)
            except Refusal as refusal:
                self._refuse(socket, push, str(refusal))
            except Exception as error:  # a bug, or a disk that cannot be read
                emit("join-failed", topic=push.topic, error=repr(error))
                if push.topic in socket.channels:
                    self._leave(socket.channels[push.topic])
                self._refuse(socket, push, "join crashed")
            return
        if push.topic == protocol.SYSTEM_TOPIC and push.event == protocol.HEARTBEAT:
            socket.send(protocol.reply(push, "ok", {}))
            return
        channel = socket.channels.get(push.topic)
        if channel is not None and push.join_ref not in (None, channel.join_ref):
            channel = None  # a message of before the last join
        if push.event == protocol.LEAVE:
            socket.send(protocol.reply(push, "ok", {}))
            if channel is not None:
                self._close(channel)
            return
        event = self._events.get(push.event)
        if channel is None or event is None:
            reason = "unmatched topic" if channel is None else "unmatched event"
            self._refuse(socket, push, reason)
            return
        try:
            answer = await event(channel, push)
        except Refusal as refusal:
            self._refuse(socket, push, str(refusal))
        except OverloadedError:
            self._refuse(socket, push, "overloaded")
        except StorageError as error:
            emit("cannot-write", error=str(error))
            self._refuse(socket, push, "storage")
        except Exception as error:
            # A bug. As in Phoenix the channel has crashed, and its client joins again.
            emit("channel-failed", topic=push.topic, push=push.event, error=repr(error))
            self._leave(channel)
            socket.send(protocol.event(push.topic, protocol.ERROR, {}, channel.join_ref))
        else:
            self._metrics.pushes.labels("ok").inc()
            socket.send(protocol.reply(push, "ok", answer))

    def gone(self, socket: Socket) -> None:
        """The socket has ended."""
        for channel in tuple(socket.channels.values()):
            self._leave(channel)

    # Joining and leaving. All in one step: what is written later is told, what was before is read.

    def _join(self, socket: Socket, push: Push) -> None:
        before = socket.channels.get(push.topic)
        if before is not None:
            self._close(before)
        if self.draining:
            raise Refusal("draining")
        if not TOPIC.fullmatch(push.topic):
            raise Refusal("topic: room:<1 to 64 letters, digits and _ . : ->")
        if len(socket.channels) >= MOST_CHANNELS:
            raise Refusal(f"at most {MOST_CHANNELS} channels on one socket")
        user = _text(push.payload, "user", LONGEST_NAME)
        cursor = _cursor(push.payload)
        channel = Channel(socket, push.topic, push.join_ref, user)
        socket.channels[push.topic] = channel
        if cursor is None:
            page = self._history.recent(push.topic)
        else:
            page = self._history.after(push.topic, cursor)
        self._hub.enter(channel)
        answer = self._page(channel, page)
        self._metrics.pushes.labels("ok").inc()
        socket.send(protocol.reply(push, "ok", {**answer, "node": self._node}))
        if push.payload.get("presence", True):
            state = self._presence.state(push.topic)
            socket.send(protocol.event(push.topic, "presence_state", state, channel.join_ref))
            channel.dot = self._presence.join(push.topic, user)

    def _page(self, channel: Channel, page: Page) -> dict[str, Any]:
        """What the client is told of a page. After the last one it is given what happens."""
        streams = [ended_state(entry) for entry in page.entries if entry.kind == "end"]
        if not page.more:
            streams += self._streams.of_topic(channel.topic)
        if not page.more and not channel.live:
            channel.live = True
            have = self._store.have
            ahead = {one: seq for one, seq in page.cursor.items() if seq > have.get(one, 0)}
            channel.ahead = ahead or None
        return {
            "messages": page.messages(),
            "cursor": page.cursor,
            "more": page.more,
            "streams": streams,
        }

    def _close(self, channel: Channel) -> None:
        self._leave(channel)
        closed = protocol.event(channel.topic, protocol.CLOSE, {}, channel.join_ref)
        channel.socket.send(closed)

    def _leave(self, channel: Channel) -> None:
        channel.live = False
        self._hub.leave(channel)
        if channel.socket.channels.get(channel.topic) is channel:
            del channel.socket.channels[channel.topic]
        if channel.dot is not None:
            self._presence.leave(channel.topic, channel.user, channel.dot)
            channel.dot = None

    # What can be pushed.

    async def _new_msg(self, channel: Channel, push: Push) -> Answer:
        name = _text(push.payload, "id", LONGEST_NAME)
        body = _text(push.payload, "body", LONGEST_BODY)
        entry = await self._once(channel, "msg", name, body)
        return {"id": name, "origin": entry.origin, "seq": entry.seq, "clock": entry.clock}

    async def _ask(self, channel: Channel, push: Push) -> Answer:
        name = _text(push.payload, "id", LONGEST_NAME)
        prompt = _text(push.payload, "prompt", LONGEST_PROMPT)
        model = push.payload.get("model", models.DEFAULT)
        if not isinstance(model, str) or not self._assistant.knows(model):
            raise Refusal("unknown model")
        if self._assistant.busy:
            raise Refusal("overloaded")
        body = orjson.dumps({"prompt": prompt, "model": model}).decode()
        entry = await self._once(channel, "ask", name, body)
        return {"id": name, "stream": entry.stream}

    async def _once(self, channel: Channel, kind: Kind, name: str, body: str) -> Entry:
        """Write it, or find that it is written."""
        if self.draining:
            raise Refusal("draining")
        if self._mutant != "duplicate-on-retry":  # Mutant: every push is another message.
            entry = await self._store.find(channel.topic, name)
            if entry is not None:
                if (entry.kind, entry.user, entry.body) != (kind, channel.user, body):
                    raise Refusal("id belongs to another message")
                return entry
        return await self._store.append(channel.topic, kind, name, channel.user, body)

    async def _read_on(self, channel: Channel, push: Push) -> Answer:
        cursor = _cursor(push.payload)
        return self._page(channel, self._history.after(channel.topic, cursor or {}))

    async def _typing(self, channel: Channel, push: Push) -> Answer:
        typing = push.payload.get("typing")
        if not isinstance(typing, bool):
            raise Refusal("typing: true or false")
        now = self._clock()
        if now - channel.typed_at < TYPING_S:
            raise Refusal("rate limited")
        channel.typed_at = now
        told = {"user": channel.user, "typing": typing}
        self._hub.typing(channel.topic, told, besides=channel)
        told_elsewhere = {"what": "typing", "topic": channel.topic, **told}
        self._fanout.pass_on(told_elsewhere, droppable=True)
        return {}

    async def _stream(self, channel: Channel, push: Push) -> Answer:
        stream = _text(push.payload, "stream", 2 * LONGEST_NAME)
        answer = self._streams.find(stream)
        if answer is not None and answer.question.topic == channel.topic:
            return answer.state()
        for entry in self._store.named(channel.topic, stream):
            if entry.kind == "end":
                return ended_state(entry)
        raise Refusal("no such stream")

    def _refuse(self, socket: Socket, push: Push, reason: str) -> None:
        self._metrics.pushes.labels("error").inc()
        socket.send(protocol.reply(push, "error", {"reason": reason}))


def _text(payload: Mapping[str, Any], name: str, longest: int) -> str:
    given = payload.get(name)
    if not isinstance(given, str) or not 1 <= len(given) <= longest:
        raise Refusal(f"{name}: a text of 1 to {longest} characters")
    return given


def _cursor(payload: Mapping[str, Any]) -> dict[str, int] | None:
    given = payload.get("cursor")
    if given is None:
        return None
    try:
        return read_cursor(given)
    except ValueError as error:
        raise Refusal(str(error)) from None
