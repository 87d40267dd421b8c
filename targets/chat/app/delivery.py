"""From the log to the sockets: what was just written is told to everybody it is for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from . import protocol
from .entries import Entry
from .hub import Hub
from .store import Store
from .streams import Streams


class Delivery:
    def __init__(self, store: Store, hub: Hub, streams: Streams, mutant: str | None = None) -> None:
        self._store = store
        self._hub = hub
        self._streams = streams
        self._mutant = mutant
        self._given_early: set[tuple[str, int]] = set()

    def written(self, entries: Sequence[Entry]) -> None:
        """Tell of entries, in the step in which they were written."""
        topics: defaultdict[str, list[tuple[Entry, bytes]]] = defaultdict(list)
        for number, entry in enumerate(entries):
            if (entry.origin, entry.seq) in self._given_early:
                self._given_early.discard((entry.origin, entry.seq))
            elif entry.kind == "ask":
                topics[entry.topic].append((entry, self._streams.began(entry)))
            elif entry.kind == "end":
                topics[entry.topic].append((entry, self._streams.ended(entry)))
            elif not self._known(entry, entries, number):
                topics[entry.topic].append((entry, _message(entry)))
        for topic, events in topics.items():
            self._hub.logged(topic, events)

    def early(self, entries: Sequence[Entry]) -> None:
        """Of the mutant `order-by-arrival` alone: tell before it can be written."""
        for entry in entries:
            if entry.kind == "msg":
                self._given_early.add((entry.origin, entry.seq))
                self._hub.logged(entry.topic, [(entry, _message(entry))])

    def _known(self, entry: Entry, written: Sequence[Entry], number: int) -> bool:
        """Whether the same message was told under another name: it was pushed at two nodes that did
        not know of one another."""
        if self._mutant == "duplicate-on-retry":  # Mutant (and see `channels`).
            return False
        named = self._store.named(entry.topic, entry.id)
        if len(named) == 1:
            return False
        later = written[number:]
        return any(other.kind == "msg" and other not in later for other in named)


def _message(entry: Entry) -> bytes:
    return protocol.event(entry.topic, "new_msg", entry.message())
