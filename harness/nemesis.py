"""The nemesis: carries out a schedule, or a person's commands, and undoes everything (D3, D4).

For each fault the journal tells: asked (and when it should have been), undo registered, injected,
proved, healing, healed, each with the moment it happened. Of one that went wrong it tells what
failed; `undone` is one that did not land and of which nothing is left.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from harness.cluster import Cluster
from harness.errors import FaultError, UsageError
from harness.faults import Fault
from harness.faults._base import Who
from harness.network import Effect, Link
from harness.plan import PlannedFault
from harness.record.journal import Journal
from harness.record.recorder import Recorder

ROLE_PATIENCE_S = 15.0
"""How long a fault waits for somebody to hold the role it is meant for. A cluster that elects a
leader after another fault needs some seconds."""

STEP_TIMEOUT_S = 60.0
"""The deadline of each step of a fault. Longer than any time-out inside a step."""


class Site:
    """Where one occurrence of a fault takes place, and what it has to remember until it is healed.

    `nodes` are those concerned, `links` what it does to which link, `alone` those of the links
    that no other fault disturbed at that moment, `memory` whatever the fault itself keeps.
    """

    def __init__(self, id: str, fault: Fault, cluster: Cluster) -> None:
        self.id = id
        self.fault = fault
        self.cluster = cluster
        self.nodes: tuple[str, ...] = ()
        self.links: Mapping[Link, Sequence[Effect]] = {}
        self.alone: tuple[Link, ...] = ()
        self.failed = False
        """Whether it failed, and somebody was told."""
        self.lock = asyncio.Lock()
        self.memory: dict[str, Any] = {}
        self.notes: dict[str, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def resolve(self, who: Who) -> tuple[str, ...]:
        """The nodes that `who` means now, kept in `nodes`. Waits for a role to be held."""
        if not isinstance(who, str):
            self.nodes = tuple(who)
        elif who in self.cluster.all_names:
            self.nodes = (who,)
        else:
            self.nodes = await self._holders(who)
        return self.nodes

    def remember(self, node: str, **facts: Any) -> None:
        """Keep `facts` about `node` in `memory`."""
        self.memory.setdefault(node, {}).update(facts)

    def note(self, **facts: Any) -> None:
        """Facts for the journal, written with the injection."""
        self.notes.update(facts)

    async def meet(self, links: Iterable[Link]) -> None:
        """Note how many connections there are on `links`, before the fault makes any of its own."""
        connections = await self.cluster.network.connections()
        self.note(connections=sum(connections.get(link, 0) for link in links))

    async def hold(self, effects: Mapping[Link, Sequence[Effect]]) -> None:
        """Put `effects` on links in this fault's name, and note how many connections it met."""
        network = self.cluster.network
        self.links = effects
        if "connections" not in self.notes:
            await self.meet(effects)
        self.alone = tuple(link for link in effects if not network.held(link))
        await network.hold(self.id, effects)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until the fault is healed; its failure fails the healing."""
        self._tasks.add(asyncio.create_task(work))

    async def end_tasks(self) -> None:
        """End what `spawn` started. Raises what one of them failed with."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def _holders(self, role: str) -> tuple[str, ...]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ROLE_PATIENCE_S
        while True:
            if found := await self.cluster.holders(role):
                self.note(role=role)
                return found
            if loop.time() >= deadline:
                raise FaultError(
                    f"{self.id} ({self.fault.describe()}) found no node to hit: nobody held the "
                    f"role {role!r} for {ROLE_PATIENCE_S:g} s.",
                    do="If the cluster cannot have one at that moment, move the fault in time.",
                )
            await asyncio.sleep(0.05)


class Nemesis:
    """Injects and heals faults on one cluster. Whatever it injected, `heal_all` undoes."""

    def __init__(self, cluster: Cluster, journal: Journal, recorder: Recorder) -> None:
        self._cluster = cluster
        self._journal = journal
        self._recorder = recorder
        self._sites: dict[str, Site] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def in_force(self) -> list[Site]:
        """The faults that were injected and not healed, oldest first."""
        return list(self._sites.values())

    async def carry_out(self, faults: Sequence[PlannedFault]) -> None:
        """Inject and heal every fault of a schedule at its time, counted from now.

        Raises the first failure; the others are then cancelled where they are, and the caller
        heals them all.
        """
        start = asyncio.get_running_loop().time()
        try:
            async with asyncio.TaskGroup() as group:
                for planned in faults:
                    group.create_task(self._one(planned, start))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def inject(self, id: str, fault: Fault, asked_s: float | None = None) -> Site:
        """Inject `fault` and prove it. If that fails, what was done of it is undone first; if that
        fails too, the fault stays in force, for `heal_all` to try again."""
        if id in self._sites:
            raise UsageError(f"A fault {id} is in force already.", do="Give each its own name.")
        site = Site(id, fault, self._cluster)
        self._tell(site, "asked", what=fault.describe(), kind=fault.kind, asked_s=asked_s)
        self._tell(site, "undo")
        self._sites[id] = site
        try:
            async with self._deadline(site, "did not land"):
                in_flight = self._recorder.in_flight
                await fault.inject(site)
            self._tell(site, "injected", nodes=list(site.nodes), in_flight=in_flight, **site.notes)
            async with self._deadline(site, "did not land"):
                proof = await fault.prove(site)
            self._tell(site, "proved", proof=proof)
        except BaseException as error:
            self._failed(site, error)
            await self._shielded(self._undo(site))
            raise
        return site

    async def heal(self, site: Site, *, in_order: bool = True) -> None:
        """Heal one fault and prove that it is gone. Does nothing if it already was healed.

        `in_order` says that it was to hold until now: first it is shown that it did. It is healed
        in any case.
        """
        async with site.lock:
            if self._sites.get(site.id) is not site:
                return
            self._tell(site, "healing")
            undone = await self._undone(site) if in_order else None
            try:
                async with self._deadline(site, "was not healed"):
                    await self._end(site)
                async with self._deadline(site, "was not healed"):
                    proof = await site.fault.prove_healed(site)
            except BaseException as error:
                self._failed(site, error)
                raise
            del self._sites[site.id]
            self._tell(site, "healed", proof=proof)
            if undone is not None:
                raise undone

    async def _undone(self, site: Site) -> FaultError | None:
        """What shows that somebody else undid the fault while it was to hold."""
        try:
            async with self._deadline(site, "was not looked at"):
                await site.fault.prove_held(site)
        except FaultError as error:
            self._failed(site, error)
            return error
        return None

    async def heal_all(self) -> None:
        """Heal everything in force, the newest first. Tries all, then raises the first failure,
        unless of faults that failed before: the first cause counts."""
        failure: Exception | None = None
        for site in reversed(self.in_force):
            failed_before = site.failed
            try:
                await self.heal(site, in_order=False)
            except Exception as error:
                if not failed_before:
                    failure = failure or error
        if failure is not None:
            raise failure

    async def _one(self, planned: PlannedFault, start: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, start + planned.at_s - loop.time()))
        site = await self.inject(planned.id, planned.fault, planned.at_s)
        await asyncio.sleep(max(0.0, start + planned.at_s + planned.lasting_s - loop.time()))
        await self.heal(site)

    async def _undo(self, site: Site) -> None:
        """Undo a fault that did not land; its own failure must not hide why it did not."""
        async with site.lock:
            try:
                async with self._deadline(site, "could not be undone"):
                    await self._end(site)
            except Exception as error:
                self._failed(site, error)
                return
            del self._sites[site.id]
            self._tell(site, "undone")

    async def _end(self, site: Site) -> None:
        """Heal, whatever becomes of what the fault did in the background."""
        try:
            await site.end_tasks()
        finally:
            await site.fault.heal(site)

    @contextlib.asynccontextmanager
    async def _deadline(self, site: Site, failing: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S) as limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise FaultError(
                f"{site.id} ({site.fault.describe()}) {failing} within {STEP_TIMEOUT_S:g} s."
            ) from None

    async def _shielded(self, work: Coroutine[Any, Any, None]) -> None:
        """Await `work`, which goes on to its end if this is cancelled."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        await asyncio.shield(task)

    def _failed(self, site: Site, error: BaseException) -> None:
        # Of a cancellation nobody needs to be told: whoever cancelled knows.
        if isinstance(error, Exception):
            site.failed = True
            self._tell(site, "failed", error=str(error) or type(error).__name__)

    def _tell(self, site: Site, step: str, **data: Any) -> None:
        self._journal.write("fault", step=step, id=site.id, **data)
