"""Messages of one peer that wait for their handlers."""

from __future__ import annotations

from collections import deque
from typing import Any

from ..connection import FramedConnection


class Inbox:
    """In the order of arrival, over all connections that the peer has made. When `limit` wait, no
    more is read from the peer until half of them are done."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[tuple[str, Any]] = deque()
        self._busy = False
        self._held: FramedConnection | None = None

    def put(self, kind: str, body: Any, connection: FramedConnection) -> bool:
        """True if somebody must begin to take them out with `next`."""
        self._waiting.append((kind, body))
        if len(self._waiting) >= self._limit and self._held is not connection:
            self._held = connection
            connection.pause()
        idle, self._busy = not self._busy, True
        return idle

    def next(self) -> tuple[str, Any] | None:
        """The next one; None ends the taking out."""
        if self._held is not None and len(self._waiting) <= self._limit // 2:
            self._held.resume()
            self._held = None
        if not self._waiting:
            self._busy = False
            return None
        return self._waiting.popleft()

    def clear(self) -> None:
        self._waiting.clear()
