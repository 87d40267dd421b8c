"""Who runs which worker, on both sides of a netsplit, and how it is settled afterwards.

Every node looks at the same two things, the registry and who is alive, and draws its own
conclusions; nobody is asked for permission. That is why both sides of a netsplit go on, and why the
rule for conflicts has to be one that everybody comes to alone:

    claims of living nodes     what follows
    none                       the living node that ranks first starts it, after `ADOPT_S`
    one                        that node is the owner
    several                    a conflict: the claimant that ranks first stays; the others write it
                               down, stop their worker, and then take their claim back

Ranks are those of `placement`: nothing in them depends on time or on the order of arrival, so the
same claims always leave the same owner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from primitives.membership import Membership
from primitives.mesh import Messenger, Unreachable

from .conflicts import Journal
from .placement import best, ranked
from .registry import Claim, Registry
from .runner import Runner

START = "workers.start"

ADOPT_S = 0.3
"""So long a worker must have been nobody's before it is started anew: claims that are on their way
arrive within that time."""

LOOK_S = 0.1
"""Conclusions are drawn whenever something changes, and at least so often."""

ASK_S = 0.5


class Ownership:
    """Of one node. `changed` is to be called whenever the registry or the membership has."""

    def __init__(
        self,
        node: str,
        registry: Registry,
        runner: Runner,
        journal: Journal,
        membership: Membership,
        mesh: Messenger,
        tell: Callable[..., None],
        *,
        mutant: str | None = None,
    ) -> None:
        self._node = node
        self._registry = registry
        self._runner = runner
        self._journal = journal
        self._membership = membership
        self._mesh = mesh
        self._tell = tell
        self._mutant = mutant
        self._ownerless: dict[str, float] = {}
        self._first_met: dict[str, str] = {}
        self._haunted: set[str] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to draw conclusions, and to start workers when peers ask for it."""
        self._mesh.handle(START, self._asked)
        self._membership.on_change(self.changed)
        self._task = asyncio.create_task(self._look())

    async def close(self) -> None:
        """End, stop all workers of this node, and take its claims back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        for worker in list(self._runner.running):
            await self._give_up(worker)

    def changed(self, *_what: object) -> None:
        """Something that conclusions depend on is different."""
        self._wake.set()

    # What users ask for

    def owners(self) -> dict[str, str | None]:
        """The owner of each wanted worker as this node sees it."""
        claims, wanted = self._registry.claims(), self._registry.wanted
        return {
            worker: self._owner(worker, self._visible(claims.get(worker, {})))
            for worker in sorted(wanted)
        }

    async def ensure(self, worker: str, *, here: bool = False) -> tuple[str, bool]:
        """Have the worker run somewhere: its owner, and whether it was started for this.

        The node that ranks first of those alive is asked, then the next; with `here`, and if nobody
        can be reached, it starts on this node.
        """
        self._registry.want(worker)
        visible = self._visible(self._registry.claims().get(worker, {}))
        owner = self._owner(worker, visible)
        if owner is not None:
            return owner, False
        for node in () if here else ranked(worker, self._membership.alive):
            if node == self._node:
                break
            try:
                told = await self._mesh.request(node, START, {"worker": worker}, ASK_S)
                return str(told["owner"]), bool(told["started"])
            except Unreachable:
                continue
        if worker in self._runner:  # (while somebody was asked)
            return self._node, False
        self._start(worker)
        return self._node, True

    def drop(self, worker: str) -> bool:
        """Have the worker run nowhere. Whether anybody wanted it."""
        return self._registry.unwant(worker)

    async def _asked(self, _peer: str, body: Mapping[str, str]) -> dict[str, object]:
        owner, started = await self.ensure(body["worker"], here=True)
        return {"owner": owner, "started": started}

    # Conclusions

    async def _look(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.conclude()
            except Exception as error:
                # Of one look (a full disk: nothing follows from what is not journaled). The next
                # one begins anew.
                self._tell("failed", what="conclusions", error=repr(error))

    async def conclude(self) -> None:
        """Draw all conclusions once, and act on them."""
        claims, wanted = self._registry.claims(), self._registry.wanted
        for worker in sorted({*wanted, *claims, *self._runner.running}):
            claimed = claims.get(worker, {})
            if worker in wanted:
                await self._settle(worker, claimed)
            else:
                await self._dissolve(worker, claimed)

    async def _settle(self, worker: str, claimed: Mapping[str, Claim]) -> None:
        """One worker that is wanted."""
        visible = self._visible(claimed)
        if worker in self._runner and self._node not in visible and worker not in self._haunted:
            # Others took this node for gone, and its claims with it.
            visible[self._node] = self._runner.start(worker)
            self._registry.claim(worker, visible[self._node])
        elif self._node in claimed and worker not in self._runner:
            self._registry.release(worker)  # An earlier start of this node ran it.
            visible.pop(self._node, None)
        self._journal.saw(worker, visible, claimed.keys() - visible.keys())
        owner = self._owner(worker, visible)
        if owner is not None:
            self._ownerless.pop(worker, None)
            if owner != self._node and self._node in visible:
                await self._give_up(worker)
            return
        now = asyncio.get_running_loop().time()
        since = self._ownerless.setdefault(worker, now)
        if now - since >= ADOPT_S and best(worker, self._membership.alive) == self._node:
            self._start(worker)

    async def _dissolve(self, worker: str, claimed: Mapping[str, Claim]) -> None:
        """One worker that nobody wants any more."""
        self._ownerless.pop(worker, None)
        self._journal.saw(worker, {})
        if self._node in claimed or worker in self._runner:
            await self._give_up(worker)
        for owner in claimed:
            if owner not in self._membership.alive:
                self._registry.forget(worker, owner)

    def _visible(self, claimed: Mapping[str, Claim]) -> dict[str, str]:
        """Owner → instance, of the claims that count: their owners live, and are the ones that made
        them."""
        alive, members = self._membership.alive, self._membership.members
        if self._mutant == "dead-keep-workers":  # Mutant: the dead own what they owned.
            return {owner: claim.instance for owner, claim in claimed.items()}
        return {
            owner: claim.instance
            for owner, claim in claimed.items()
            if owner in alive and claim.incarnation >= members[owner].incarnation
        }

    def _owner(self, worker: str, visible: Mapping[str, str]) -> str | None:
        owner = best(worker, visible)
        if self._mutant == "first-met-wins" and owner is not None:
            # Mutant: whose claim came first to this node is the owner for it, for ever.
            if self._first_met.get(worker) not in visible:
                self._first_met[worker] = self._node if self._node in visible else owner
            return self._first_met[worker]
        return owner

    def _start(self, worker: str) -> None:
        self._haunted.discard(worker)
        self._ownerless.pop(worker, None)
        self._registry.claim(worker, self._runner.start(worker))
        self.changed()

    async def _give_up(self, worker: str) -> None:
        """Stop the worker, and only then take the claim back."""
        if self._mutant == "loser-keeps-running":  # Mutant: only the claim is given up.
            self._haunted.add(worker)
        else:
            await self._runner.stop(worker)
        self._registry.release(worker)
