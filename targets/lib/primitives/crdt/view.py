"""A map without what belongs to nodes that are believed dead.

Being believed dead is an opinion of one node, and often a wrong one (a netsplit). So entries of
dead nodes are hidden on this node only, and shown again when the node turns out to live. They are
replaced for good by the node's next start, see `Replicator`. Phoenix.Tracker does the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from .awmap import AWMap, Key, parse_replica
from .dots import Dot


class Seen(Protocol):
    """What a view needs to know of a member."""

    @property
    def status(self) -> str: ...

    @property
    def incarnation(self) -> int: ...


def alive_of(members: Mapping[str, Seen]) -> dict[str, int]:
    """Members that are not dead, with their incarnations."""
    return {name: member.incarnation for name, member in members.items() if member.status != "dead"}


class View:
    """What `crdt` holds of living nodes. Nobody is alive before the first `update`."""

    def __init__(self, crdt: AWMap) -> None:
        self._crdt = crdt
        self._alive: dict[str, int] = {}

    def update(self, alive: Mapping[str, int]) -> frozenset[Key]:
        """Take over who is alive; gives the keys whose visible values changed by that."""
        before = {replica for replica in self._crdt.replicas if self._shows(replica)}
        self._alive = dict(alive)
        after = {replica for replica in self._crdt.replicas if self._shows(replica)}
        return frozenset(key for replica in before ^ after for key in self._crdt.keys_of(replica))

    def get(self, key: Key) -> dict[Dot, Any]:
        """The visible values of a key by their dots."""
        return {dot: value for dot, value in self._crdt.get(key).items() if self._shows(dot[0])}

    def keys(self) -> frozenset[Key]:
        """Keys with at least one visible value."""
        return frozenset(
            key
            for replica in self._crdt.replicas
            if self._shows(replica)
            for key in self._crdt.keys_of(replica)
        )

    def _shows(self, replica: str) -> bool:
        name, incarnation = parse_replica(replica)
        known = self._alive.get(name)
        # Entries may outrun the gossip that tells of the node's new start.
        return known is not None and incarnation >= known
