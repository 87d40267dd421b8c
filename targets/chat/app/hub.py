"""Who listens to which topic at this node, and what each is given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from . import protocol
from .entries import Entry

if TYPE_CHECKING:
    from .channels import Channel

TYPING: Final = "typing"


class Hub:
    """Events that come from a log carry their `Entry`, so that a client which has seen it elsewhere
    is spared it."""

    def __init__(self, dropped: Callable[[str], None]) -> None:
        self._topics: defaultdict[str, set[Channel]] = defaultdict(set)
        self._dropped = dropped

    def enter(self, channel: Channel) -> None:
        self._topics[channel.topic].add(channel)

    def leave(self, channel: Channel) -> None:
        channels = self._topics.get(channel.topic)
        if channels is not None:
            channels.discard(channel)
            if not channels:
                del self._topics[channel.topic]

    def listeners(self, topic: str) -> Sequence[Channel]:
        return tuple(self._topics.get(topic, ()))

    def logged(self, topic: str, events: Sequence[tuple[Entry, bytes]]) -> None:
        """Give what was just written to all who are up to date: one write each, however many
        events there are."""
        together = b"".join(frame for _, frame in events)
        for channel in self.listeners(topic):
            if not channel.live:
                continue
            if channel.ahead is None:
                channel.socket.send(together)
            else:
                frames = [frame for entry, frame in events if not entry.covered(channel.ahead)]
                if frames:
                    channel.socket.send(b"".join(frames))

    def passing(self, topic: str, event: str, payload: Any) -> None:
        """Tell all who are up to date what is not kept anywhere."""
        if self.listeners(topic):
            self.passing_frame(topic, protocol.event(topic, event, payload))

    def passing_frame(self, topic: str, frame: bytes) -> None:
        for channel in self.listeners(topic):
            if channel.live:
                channel.socket.send(frame)

    def typing(self, topic: str, payload: Any, besides: Channel | None = None) -> None:
        """Tell who types, to all others who have room for it."""
        frame = protocol.event(topic, TYPING, payload)
        for channel in self.listeners(topic):
            others = channel.live and channel is not besides
            if others and not channel.socket.send(frame, droppable=True):
                self._dropped(TYPING)

    def presence(self, topic: str, difference: Any) -> None:
        """Tell who came and went, to all who are told of presence."""
        frame = protocol.event(topic, "presence_diff", difference)
        for channel in self.listeners(topic):
            if channel.dot is not None:
                channel.socket.send(frame)
