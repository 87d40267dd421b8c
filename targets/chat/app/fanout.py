"""What this node tells the others as it happens, over PubSub: its own entries, tokens, who types.

Nothing here is certain to arrive. Entries that did not are fetched by whoever misses them
(`replication`), tokens as well (`streams`); who typed is nobody's business a second later. So the
queues are bounded, and when the other side does not take what is in them the oldest go.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from primitives.pubsub import Message, PubSub
from primitives.telemetry import emit

from .entries import Entry
from .store import PAGE_BYTES, fitting

ENTRIES: Final = "entries"
PASSING: Final = "passing"

MOST_ENTRIES: Final = 5000
MOST_PASSING: Final = 2000
TOGETHER: Final = 200
PUBLISH_S: Final = 1.0


class Fanout:
    """`entries` and `passing` are called with what the other nodes tell."""

    def __init__(
        self,
        node: str,
        pubsub: PubSub,
        *,
        entries: Callable[[Sequence[Entry]], None],
        passing: Callable[[dict[str, Any]], None],
    ) -> None:
        self._node = node
        self._pubsub = pubsub
        self._heard_entries = entries
        self._heard_passing = passing
        self._entries: deque[Entry] = deque(maxlen=MOST_ENTRIES)
        self._passing: deque[dict[str, Any]] = deque(maxlen=MOST_PASSING)
        self._something = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    async def start(self) -> None:
        self._pubsub.subscribe(ENTRIES, self._on_entries)
        self._pubsub.subscribe(PASSING, self._on_passing)
        self._task = asyncio.create_task(self._send())

    async def close(self, flush_s: float) -> None:
        """Send what is queued, but not for longer than `flush_s`."""
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(flush_s):
                while self._entries or self._passing:
                    await self._send_some()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def wrote(self, entries: Sequence[Entry]) -> None:
        """This node has written these into its own log."""
        self._entries.extend(entries)
        self._something.set()

    def pass_on(self, event: dict[str, Any], *, droppable: bool = False) -> None:
        """Tell the others something that is not kept; what is `droppable` only if there is room."""
        if droppable and len(self._passing) > MOST_PASSING // 4:
            return
        self._passing.append(event)
        self._something.set()

    async def _send(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            while self._entries or self._passing:
                await self._send_some()

    async def _send_some(self) -> None:
        if self._entries:
            some = [self._entries[at] for at in range(min(TOGETHER, len(self._entries)))]
            some = fitting(some)
            for _ in some:
                self._entries.popleft()
            await self._publish(ENTRIES, {"entries": [entry.packed() for entry in some]})
        if self._passing:
            await self._publish(PASSING, {"events": self._next_events()})

    def _next_events(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        size = 0
        while self._passing and len(events) < TOGETHER and size < PAGE_BYTES:
            events.append(self._passing.popleft())
            size += len(events[-1].get("text", ""))
        return events

    async def _publish(self, topic: str, payload: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(PUBLISH_S):
                await self._pubsub.publish(topic, payload)
        except Exception as error:  # whatever the adapter's trouble is: the others fetch it
            if not self._failing:
                emit("fanout-fails", topic=topic, error=repr(error))
            self._failing = True
        else:
            self._failing = False

    def _on_entries(self, message: Message) -> None:
        if message.publisher == self._node:
            return
        try:
            entries = [Entry.unpacked(packed) for packed in message.payload["entries"]]
        except (KeyError, TypeError, ValueError) as error:
            emit("not-understood", of=message.publisher, error=repr(error))
            return
        self._heard_entries(entries)

    def _on_passing(self, message: Message) -> None:
        if message.publisher == self._node:
            return
        try:
            for event in message.payload["events"]:
                self._heard_passing(event)
        except (KeyError, TypeError, ValueError) as error:
            emit("not-understood", of=message.publisher, error=repr(error))
