"""Every node's log at every node, whole and in its order, whatever happened in between.

What other nodes tell as it happens is taken if it is the next of its log, and held back if it is
not. What is missing is fetched from whoever has it, the writer or any other node. Nodes compare
what they have (a version vector) when they meet, when something is missing, and every `COMPARE_S`
in any case, because a message whose successor never comes is missed by nobody.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from primitives.mesh import Messenger, Unreachable
from primitives.telemetry import emit

from .entries import Entry
from .metrics import ChatMetrics
from .store import StorageError, Store

COMPARE_S: Final = 1.0
HAVE_S: Final = 1.0
PART_S: Final = 2.0
MOST_HELD: Final = 1000
"""Of each log; what is beyond is fetched in its turn."""


class Replication:
    """`early` is called with entries that came before others of their log, by a mutant alone."""

    def __init__(
        self,
        mesh: Messenger,
        store: Store,
        *,
        random: Random,
        metrics: ChatMetrics,
        early: Callable[[Sequence[Entry]], None],
        mutant: str | None = None,
    ) -> None:
        self._mesh = mesh
        self._store = store
        self._random = random
        self._metrics = metrics
        self._early = early
        self._mutant = mutant
        self._held: defaultdict[str, dict[int, Entry]] = defaultdict(dict)
        self._fetching: set[str] = set()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        mesh.handle("log.have", lambda _peer, _body: self._store.have)
        mesh.handle("log.part", self._on_part)
        mesh.on_change(self._on_peer)

    async def start(self) -> None:
        if self._mutant != "no-anti-entropy":  # Mutant: what was missed is gone.
            self._task = asyncio.create_task(self._compare_for_ever())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def missed(self) -> None:
        """Something must have been missed: compare now."""
        if self._mutant != "order-by-arrival":  # Mutant: who minds no gap is in no hurry.
            self._wanted.set()

    def told(self, entries: Sequence[Entry]) -> None:
        """Take entries of other nodes, in whatever order they come and however often."""
        for entry in entries:
            if entry.origin == self._store.origin:
                continue
            last = self._store.reached.get(entry.origin, 0)
            if entry.seq == last + 1 or (self._mutant == "no-anti-entropy" and entry.seq > last):
                self._take(entry)
            elif entry.seq > last:
                self._hold(entry)

    def _take(self, entry: Entry) -> None:
        """The next of its log, and those held back for it."""
        held = self._held[entry.origin]
        held.pop(entry.seq, None)
        taken = [entry]
        while (following := held.pop(taken[-1].seq + 1, None)) is not None:
            taken.append(following)
        self._store.add(taken)

    def _hold(self, entry: Entry) -> None:
        held = self._held[entry.origin]
        if entry.seq not in held and len(held) < MOST_HELD:
            held[entry.seq] = entry
            self._metrics.held_back.inc()
            if self._mutant == "order-by-arrival":  # Mutant: it is here, is it not?
                self._early([entry])
        self.missed()

    def _on_part(self, _peer: str, body: Any) -> list[Any]:
        return [entry.packed() for entry in self._store.part(body["origin"], body["after"])]

    def _on_peer(self, _peer: str, connected: bool) -> None:
        if connected:
            self.missed()

    async def _compare_for_ever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(COMPARE_S * self._random.uniform(0.75, 1.25)):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            await asyncio.gather(*(self._compare(peer) for peer in sorted(self._mesh.connected)))

    async def _compare(self, peer: str) -> None:
        """Fetch what `peer` has and this node has not, unless another is being asked for it."""
        try:
            theirs = await self._mesh.request(peer, "log.have", None, HAVE_S)
            for origin, last in theirs.items():
                if origin == self._store.origin or origin in self._fetching:
                    continue
                self._fetching.add(origin)
                try:
                    await self._fetch(peer, origin, last)
                finally:
                    self._fetching.discard(origin)
        except Unreachable:
            pass  # it is asked again, and so are others
        except StorageError as error:
            emit("cannot-write", error=str(error))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            emit("not-understood", of=peer, error=repr(error))

    async def _fetch(self, peer: str, origin: str, last: int) -> None:
        fetched = 0
        while (reached := self._store.reached.get(origin, 0)) < last:
            wanted = {"origin": origin, "after": reached}
            part = await self._mesh.request(peer, "log.part", wanted, PART_S)
            if not part:
                break
            self.told([Entry.unpacked(packed) for packed in part])
            fetched += len(part)
            # Not faster than the disk takes it.
            await self._store.flush()
        if fetched:
            self._metrics.fetched.inc(fetched)
            emit("caught-up", origin=origin, entries=fetched, peer=peer)
