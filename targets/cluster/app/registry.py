"""Which workers there are to be, and who says that it runs them: two replicated maps.

`wanted`, by worker: somebody asked for this worker, and nobody took it back. That outlives whoever
asked. `claims`, by worker and owner: that node runs the worker; the value says as which instance,
and since which start of the node. A node writes claims of its own only, so a takeover never covers
the claim of the node that was taken over: when both are seen again, so is the conflict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from primitives.crdt import AWMap, Delta

Publish = Callable[[Delta], object]
"""Sends a delta of a map to the other nodes."""


class Claim(NamedTuple):
    """`incarnation` is the start of the owner that runs the instance: a later start does not."""

    instance: str
    incarnation: int


class Registry:
    """The maps as seen by this start of `node`, each with the way to publish its deltas."""

    def __init__(
        self,
        node: str,
        incarnation: int,
        wanted: tuple[AWMap, Publish],
        claims: tuple[AWMap, Publish],
    ) -> None:
        self._node = node
        self._incarnation = incarnation
        self._wanted, self._publish_wanted = wanted
        self._claims, self._publish_claims = claims

    @property
    def wanted(self) -> frozenset[str]:
        """The workers that are to run somewhere."""
        return frozenset(str(worker) for worker in self._wanted)

    def want(self, worker: str) -> None:
        """Ask for a worker, which somebody will start."""
        if worker not in self._wanted:
            self._publish_wanted(self._wanted.put(worker, True))

    def unwant(self, worker: str) -> bool:
        """Take it back: whoever runs the worker stops it. Whether it was wanted."""
        wanted = worker in self._wanted
        if wanted:
            self._publish_wanted(self._wanted.remove(worker))
        return wanted

    def claims(self) -> dict[str, dict[str, Claim]]:
        """Worker → owner → claim, of all owners, whether they live or not."""
        found: dict[str, dict[str, Claim]] = {}
        for key in self._claims:
            worker, owner = key if isinstance(key, tuple) else (key, "")
            # Several values are of several starts of the owner: the last one counts.
            values = [Claim(*value) for value in self._claims.get(key).values()]
            latest = max(values, key=lambda claim: (claim.incarnation, claim.instance))
            found.setdefault(worker, {})[owner] = latest
        return found

    def claim(self, worker: str, instance: str) -> None:
        """Say that this node runs the worker."""
        value = [instance, self._incarnation]
        self._publish_claims(self._claims.put((worker, self._node), value))

    def release(self, worker: str) -> None:
        """Say that this node does not run the worker any more."""
        self.forget(worker, self._node)

    def forget(self, worker: str, owner: str) -> None:
        """Remove the claim of a node: of this one, or of one that is gone with the worker."""
        if (worker, owner) in self._claims:
            self._publish_claims(self._claims.remove((worker, owner)))
