"""A room's log as people read it: in one order, in pages, every message once.

A client's place is a cursor, a version vector: what it has seen of each origin. A single number
would not do, because what was said elsewhere an hour ago may arrive only now, far up in the room.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from .entries import Cursor, Entry
from .store import PAGE, Store, fitting

RECENT: Final = 50
"""Messages that somebody gets who joins for the first time."""


@dataclass(frozen=True)
class Page:
    """`entries` are of all kinds; `cursor` covers them and all before. `more`: there are others."""

    entries: list[Entry]
    cursor: Cursor
    more: bool

    def messages(self) -> list[dict[str, Any]]:
        return [entry.message() for entry in self.entries if entry.kind == "msg"]


class History:
    def __init__(self, store: Store, mutant: str | None = None) -> None:
        self._store = store
        self._mutant = mutant

    def recent(self, topic: str) -> Page:
        """What there was at the end, for those who do not know the room."""
        # The last ones that fit, should they be long.
        entries = fitting(self._store.last(topic, "msg", RECENT)[::-1])[::-1]
        return Page(list(self._once(entries, {})), dict(self._store.have), more=False)

    def after(self, topic: str, cursor: Cursor, limit: int = PAGE) -> Page:
        """What follows `cursor`."""
        if self._mutant == "no-catch-up":  # Mutant.
            return Page([], dict(self._store.have), more=False)
        if self._mutant == "cursor-off-by-one":  # Mutant.
            cursor = {origin: max(seq - 1, 0) for origin, seq in cursor.items()}
        entries = self._store.after(topic, cursor, limit + 1)
        page = fitting(entries[:limit])
        more = len(page) < len(entries)
        # The end of a room is the end of all logs, other rooms' entries included.
        reached = dict(cursor) if more else {**cursor, **self._furthest(cursor)}
        if more:
            for entry in page:
                reached[entry.origin] = max(reached.get(entry.origin, 0), entry.seq)
        return Page(list(self._once(page, cursor)), reached, more)

    def all(self, topic: str) -> Iterator[Entry]:
        """The whole room, read page by page."""
        cursor: Cursor = {}
        while True:
            page = self.after(topic, cursor)
            yield from page.entries
            if not page.more:
                return
            cursor = page.cursor

    def _once(self, entries: list[Entry], cursor: Cursor) -> Iterator[Entry]:
        """Without those whose message is there already under another name. That happens when it was
        pushed again at another node that did not know it: all nodes show the first in order."""
        for entry in entries:
            if self._mutant == "duplicate-on-retry" or entry.kind != "msg":
                yield entry
                continue
            others = [
                other
                for other in self._store.named(entry.topic, entry.id)
                if other != entry and other.kind == "msg"
            ]
            if not any(other.order < entry.order or other.covered(cursor) for other in others):
                yield entry

    def _furthest(self, cursor: Cursor) -> dict[str, int]:
        have = self._store.have
        return {origin: max(seq, cursor.get(origin, 0)) for origin, seq in have.items()}
