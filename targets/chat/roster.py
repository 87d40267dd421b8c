"""Who is in a room, as a client learns it: `presence_state` once after the join, then diffs.

The rules are those of `Presence` in the stock JavaScript client (phoenix.js 1.8): a user may be
there several times (`metas`, told apart by `phx_ref`), and diffs that come before the state wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Entries: TypeAlias = Mapping[str, Mapping[str, Any]]
"""User → `{"metas": [{"phx_ref": …}, …]}`, as it comes over the wire."""


class Roster:
    """The users of one room. `rejoined` is called before each join: what comes next is a new
    state."""

    def __init__(self) -> None:
        self._refs: dict[str, set[str]] = {}
        self._pending: list[Mapping[str, Entries]] = []
        self.synced = False
        """Whether the state has come since the last join."""

    @property
    def users(self) -> list[str]:
        """Those that are there, in order."""
        return sorted(self._refs)

    def rejoined(self) -> None:
        """The channel is joined anew; what is known stays until the new state is there."""
        self.synced = False
        self._pending.clear()

    def state(self, entries: Entries) -> None:
        """`presence_state`: everybody who is there."""
        self._refs = {user: set(_refs(one)) for user, one in entries.items()}
        self.synced = True
        for diff in self._pending:
            self._apply(diff)
        self._pending.clear()

    def diff(self, diff: Mapping[str, Entries]) -> None:
        """`presence_diff`: who came and who went."""
        if self.synced:
            self._apply(diff)
        else:
            self._pending.append(diff)

    def _apply(self, diff: Mapping[str, Entries]) -> None:
        for user, one in diff.get("joins", {}).items():
            self._refs.setdefault(user, set()).update(_refs(one))
        for user, one in diff.get("leaves", {}).items():
            left = self._refs.get(user)
            if left is not None:
                left.difference_update(_refs(one))
                if not left:
                    del self._refs[user]


def _refs(one: Mapping[str, Any]) -> list[str]:
    return [meta["phx_ref"] for meta in one["metas"]]
