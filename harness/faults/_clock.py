"""clock_skew: a node's clock is wrong."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from harness.errors import BrokenError, FaultError, UsageError
from harness.faults._base import Proof
from harness.faults._containers import ContainerFault, let_go, up
from harness.runtime.needs import CLOCK
from harness.units import Duration, minutes

if TYPE_CHECKING:
    from harness.nemesis import Site

TOLERANCE_S = 2.0
"""How far what a node says of its time may be off: it says whole seconds."""


@dataclass(frozen=True)
class ClockSkew(ContainerFault):
    """Move the wall clocks of the nodes by `by`, forward or (below zero) back, at once; healed,
    they jump back. What a node measures by the monotonic clock goes on as it was, as do all waits.

    Several that hold one node add up. A node that is started again meanwhile starts with the moved
    clock. Programs that are linked statically (those in Go: etcd) cannot be moved: the cluster is
    refused, before any fault.
    """

    kind: ClassVar[str] = "clock-skew"
    need: ClassVar[str] = CLOCK

    by: Duration = field(default_factory=lambda: minutes(5))

    def __post_init__(self) -> None:
        super().__post_init__()
        by = self.by.total_seconds() if isinstance(self.by, timedelta) else self.by
        number = isinstance(by, (int, float)) and not isinstance(by, bool)
        if not number or not math.isfinite(by) or round(by, 3) == 0:
            raise UsageError(
                f"faults.clock_skew: by={self.by!r} moves no clock.",
                do="Write minutes(5), or -seconds(30) for one that is late.",
            )
        object.__setattr__(self, "by", round(float(by), 3))

    @property
    def _by_s(self) -> float:
        assert isinstance(self.by, float), "since __post_init__"
        return self.by

    async def inject(self, site: Site) -> None:
        for node in await site.resolve(self.who):
            await self.use(site, lambda m, n: m.clocks.move(site.id, n, self._by_s), node)

    async def prove(self, site: Site) -> Proof:
        return await self._skews(site, "should be")

    async def heal(self, site: Site) -> None:
        await let_go(site, lambda means: means.clocks.release(site.id))

    async def prove_healed(self, site: Site) -> Proof:
        return await self._skews(site, "was healed, and should be")

    async def _skews(self, site: Site, words: str) -> Proof:
        """How far the clocks are off, in seconds, as a process in each node says. Nothing is said
        by a node that is down or paused, or by one without `date`."""
        skews = {}
        for node in up(site):
            wanted = await self.use(site, lambda m, n: m.clocks.moved_s(n), node)
            if site.cluster.state(node) != "running":
                continue
            if site.cluster.serving(node):
                pids = site.cluster.processes(node)[:1]
                if pids and not await self.use(site, lambda m, p: m.clocks.loaded(p), pids[0]):
                    raise FaultError(f"{site.id}: the clock of {node} cannot be moved any more.")
            try:
                status, said = await site.cluster.runtime.inside(node, ["date", "+%s"])
            except BrokenError:
                continue
            if status or not said.isdigit():
                continue
            skew = int(said) - time.time()
            if abs(skew - wanted) > TOLERANCE_S:
                raise FaultError(
                    f"{site.id}: the clock of {node} {words} {wanted:+.1f} s off, but is "
                    f"{skew:+.1f} s."
                )
            skews[node] = round(skew, 1)
        return {"off_s": skews}

    def describe(self) -> str:
        return super().describe().replace("clock-skew", f"clock skew {self._by_s:+g} s", 1)
