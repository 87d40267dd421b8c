"""Sliding logs: when what was admitted, for each key."""

from __future__ import annotations

from collections import deque

from .contract import Decision

KEYS = 10_000
"""Keys that are remembered at a time. Those of which nothing was admitted lately are forgotten."""


class SlidingLogs:
    """Admits, for each key, at most as many as it is told in any `per_s` seconds.

    Exact, and takes memory for every admission of the last `per_s`. Times are passed in and must
    not go back. With more than `keys` keys in use, admissions of new ones are refused as
    "unavailable", because what cannot be remembered cannot be limited.
    """

    def __init__(self, per_s: float, keys: int = KEYS) -> None:
        self._per_s = per_s
        self._most_keys = keys
        self._logs: dict[str, deque[float]] = {}

    def __len__(self) -> int:
        """Keys that are remembered."""
        return len(self._logs)

    def admit(self, key: str, now: float, limit: int) -> Decision:
        """Admit if fewer than `limit` were admitted in the `per_s` before `now`."""
        log = self._logs.get(key)
        if log is None:
            if len(self._logs) >= self._most_keys and not self.sweep(now):
                return Decision(False, "unavailable", self._per_s)
            log = self._logs[key] = deque()
        self._expire(log, now)
        if len(log) >= limit:
            # When so many have left that one more fits.
            retry_after_s = log[len(log) - limit] + self._per_s - now if limit else self._per_s
            return Decision(False, "limit", retry_after_s)
        log.append(now)
        return Decision(True, "ok", 0.0)

    def sweep(self, now: float) -> int:
        """Forget keys that hold nothing any more; gives how many."""
        empty = []
        for key, log in self._logs.items():
            self._expire(log, now)
            if not log:
                empty.append(key)
        for key in empty:
            del self._logs[key]
        return len(empty)

    def _expire(self, log: deque[float], now: float) -> None:
        # A window is [t, t + per_s): what was admitted exactly per_s ago is no longer in it.
        while log and log[0] + self._per_s <= now:
            log.popleft()
