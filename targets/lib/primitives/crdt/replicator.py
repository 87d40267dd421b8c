"""Spreads the deltas of a map over a mesh, and repairs what got lost.

Every change is sent to all connected peers at once, and may be lost: a peer that is not connected,
or whose queue is full, misses it. So each node compares notes with one peer at a time, at random
each interval and with every peer that connects, and both then send what the other lacks:

    A → B  digest   A's context and the fingerprint of its living dots
    B → A  living   if they differ: B's context and which dots live at B
    A → B  delta …  A's removals, and the values that B has never seen
    A → B  want     which of B's living dots A has never seen
    B → A  delta …  those values

Nothing is buffered here: the mesh's queues are bounded, what does not fit into them is dropped and
found missing in the next round. Messages stay below `MESSAGE_BYTES`, however large the map is.

Source: Almeida, Shoker, Baquero, "Delta state replicated data types" (2018), section 6
(anti-entropy); digests instead of acknowledged delta buffers after Enes et al., "Efficient
synchronization of state-based CRDTs" (2019), section 5, so that a peer that was away costs nothing
while it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any

import orjson

from ..callbacks import Callbacks
from ..mesh import Messenger
from ..tasks import Tasks
from ..telemetry import Metrics, Schema
from .awmap import AWMap, Delta, Key, parse_replica, replica_id
from .dots import Dot, Dots

SCHEMA = Schema(
    component="crdt",
    operations={
        "push": ("ok", "dropped"),
        "merge": ("changed", "nothing"),
        "compare": ("equal", "different", "dropped"),
    },
    gauges=("keys", "replicas"),
)

MESSAGE_BYTES = 256 * 1024
"""Of values in one message; a quarter of the largest frame, which leaves room for the context."""

Changed = Callable[[frozenset[Key]], None]


class Replicator:
    """Replicates one map under the message kind `kind`, which all nodes must have in common.

    `interval_s` is the time between two comparisons with a random peer, which bounds for how long
    a lost delta stays lost: with p peers, p × `interval_s` on average. The map's replica must be
    that of this start of the node. `anti_entropy=False` leaves only the pushes.
    What this node added before it was restarted is removed, as it is of no use where entries say
    what a node does; with `drop_former_starts=False` it stays.
    """

    def __init__(
        self,
        mesh: Messenger,
        crdt: AWMap,
        *,
        kind: str,
        interval_s: float = 1.0,
        random: Random,
        metrics: Metrics,
        anti_entropy: bool = True,
        drop_former_starts: bool = True,
    ) -> None:
        expected = replica_id(mesh.name, mesh.incarnation)
        if crdt.replica != expected:
            raise ValueError(
                f"the map's replica is {crdt.replica!r}, but this start of the node is "
                f"{expected!r}; dots of two starts would collide: make it with "
                "AWMap(replica_id(mesh.name, mesh.incarnation))"
            )
        self._mesh = mesh
        self._crdt = crdt
        self._kind = kind
        self._interval_s = interval_s
        self._random = random
        self._anti_entropy = anti_entropy
        self._drops_former_starts = drop_former_starts
        self._meter = metrics.meter(SCHEMA, adapter=kind)
        self._callbacks: Callbacks[[frozenset[Key]]] = Callbacks(f"change of {kind}")
        self._tasks = Tasks()
        for part, handler in (
            ("delta", self._on_delta),
            ("digest", self._on_digest),
            ("living", self._on_living),
            ("want", self._on_want),
        ):
            mesh.handle(f"{kind}.{part}", handler)
        mesh.on_change(self._on_peer)

    async def start(self) -> None:
        """Begin to compare notes."""
        if self._anti_entropy:
            self._tasks.run(self._compare_for_ever())

    async def close(self) -> None:
        """Stop it. Deltas of peers are still merged until the mesh is closed."""
        await self._tasks.close()

    def on_change(self, callback: Changed) -> None:
        """Call it with the keys whose values changed, here or elsewhere. It must not block."""
        self._callbacks.add(callback)

    def publish(self, delta: Delta) -> None:
        """Send a change of the map, as its mutations return it, to all connected peers."""
        if not delta:
            return
        for peer in sorted(self._mesh.connected):
            self._send(peer, delta)
        self._changed(delta.keys)

    # Messages.

    def _on_delta(self, peer: str, body: Any) -> None:
        self._merge(Delta.from_json(body))

    def _on_digest(self, peer: str, body: Any) -> None:
        equal = (
            int(body["living"], 16) == self._crdt.fingerprint
            and Dots.from_json(body["context"]) == self._crdt.context
        )
        if equal:
            self._meter.count("compare", "equal")
        elif self._anti_entropy:
            self._meter.count("compare", "different")
            self._mesh.send(
                peer,
                f"{self._kind}.living",
                {
                    "context": self._crdt.context.to_json(),
                    "living": self._crdt.living().to_json(),
                },
            )

    def _on_living(self, peer: str, body: Any) -> None:
        theirs = Dots.from_json(body["context"])
        living = Dots.from_json(body["living"])
        self._merge(Delta(context=theirs.without(living)))
        self._send(peer, self._crdt.removed())
        self._send_values(peer, self._crdt.living().without(theirs))
        missing = living.without(self._crdt.context)
        if missing:
            self._mesh.send(peer, f"{self._kind}.want", {"dots": missing.to_json()})

    def _on_want(self, peer: str, body: Any) -> None:
        wanted = Dots.from_json(body["dots"])
        # Those that died since they were offered: the peer learns it from the next comparison.
        living = self._crdt.living()
        self._send_values(peer, wanted.without(wanted.without(living)))

    def _on_peer(self, peer: str, connected: bool) -> None:
        if connected and self._anti_entropy:
            self._compare(peer)

    # What they are made of.

    def _merge(self, delta: Delta) -> None:
        changed = self._crdt.merge(delta)
        self._meter.count("merge", "changed" if changed else "nothing")
        if changed:
            self._changed(changed)
            if self._drops_former_starts:
                self._drop_former_starts()

    def _drop_former_starts(self) -> None:
        """Remove what this node added before it was restarted: nobody else can know that it is
        gone, and this node certainly does."""
        name, incarnation = self._mesh.name, self._mesh.incarnation
        for replica in sorted(self._crdt.replicas):
            owner, started = parse_replica(replica)
            if owner == name and started < incarnation:
                self.publish(self._crdt.drop_replica(replica))

    async def _compare_for_ever(self) -> None:
        while True:
            # Jitter keeps nodes that were started together from asking all at once.
            await asyncio.sleep(self._interval_s * self._random.uniform(0.75, 1.25))
            peers = sorted(self._mesh.connected)
            if peers:
                self._compare(self._random.choice(peers))

    def _compare(self, peer: str) -> None:
        digest = {
            "context": self._crdt.context.to_json(),
            # As text: JSON numbers of 64 bits do not survive every reader.
            "living": f"{self._crdt.fingerprint:016x}",
        }
        if not self._mesh.send(peer, f"{self._kind}.digest", digest):
            self._meter.count("compare", "dropped")

    def _send_values(self, peer: str, dots: Iterable[Dot]) -> None:
        for delta in _in_messages(self._crdt, dots):
            self._send(peer, delta)

    def _send(self, peer: str, delta: Delta) -> None:
        if delta:
            sent = self._mesh.send(peer, f"{self._kind}.delta", delta.to_json())
            self._meter.count("push", "ok" if sent else "dropped")

    def _changed(self, keys: frozenset[Key]) -> None:
        self._meter.gauge("keys", len(self._crdt))
        self._meter.gauge("replicas", len(self._crdt.replicas))
        if keys:
            self._callbacks(keys)


def _in_messages(crdt: AWMap, dots: Iterable[Dot]) -> Iterator[Delta]:
    """The values of living dots, in deltas of about `MESSAGE_BYTES`."""
    batch: list[Dot] = []
    size = 0
    for dot in dots:
        batch.append(dot)
        size += len(orjson.dumps(crdt.part([dot]).to_json()))
        if size >= MESSAGE_BYTES:
            yield crdt.part(batch)
            batch, size = [], 0
    if batch:
        yield crdt.part(batch)
