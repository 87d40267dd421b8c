"""cpu: a node gets only a part of a processor, as beside a noisy neighbour."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from harness.errors import BrokenError, FaultError, UsageError
from harness.faults._base import Proof
from harness.faults._containers import ContainerFault, let_go, up
from harness.runtime.needs import CPU

if TYPE_CHECKING:
    from harness.nemesis import Site

BUSY_S = 0.3
"""For how long a proof keeps the node busy."""

PERIOD_S = 0.1
"""Of the kernel's accounts."""


@dataclass(frozen=True)
class Cpu(ContainerFault):
    """Leave all processes of the nodes together `cores` of processor time: 0.1 is 10 ms in every
    100 ms, after which they stand still until the next.

    A node that is started again meanwhile starts with the limit. Proved by the kernel's own limit,
    and by the count of times that it held the node up while it was busy.
    """

    kind: ClassVar[str] = "cpu"
    need: ClassVar[str] = CPU

    cores: float = field(default=0.1)

    def __post_init__(self) -> None:
        super().__post_init__()
        number = isinstance(self.cores, (int, float)) and not isinstance(self.cores, bool)
        if not number or not math.isfinite(self.cores) or self.cores < 0.01:
            raise UsageError(
                f"faults.cpu: cores={self.cores!r} cannot be.", do="Give at least 0.01."
            )

    async def inject(self, site: Site) -> None:
        for node in await site.resolve(self.who):
            await self.use(site, lambda m, n: m.squeeze.hold_cpu(site.id, n, self.cores), node)

    async def prove(self, site: Site) -> Proof:
        held_up = {}
        limits = await self._limits(site)
        for node in limits:
            before = await self._account(site, node)
            if site.cluster.state(node) != "running" or not await self._busy(site, node):
                continue
            after = await self._account(site, node)
            if before is None or after is None:
                continue  # it ended meanwhile
            times, used_s, took_s = (new - old for old, new in zip(before, after, strict=True))
            # On a machine that is busy itself, it may not have got as much as it may use.
            if not times and used_s > self.cores * took_s + PERIOD_S:
                raise FaultError(
                    f"{site.id}: {node} was busy, and was never held up.",
                    why=f"It had {used_s:.2f} s of processor time in {took_s:.2f} s.",
                )
            held_up[node] = int(times)
        return {"cores": limits, "held_up": held_up}

    async def heal(self, site: Site) -> None:
        await let_go(site, lambda means: means.squeeze.release(site.id))

    async def prove_healed(self, site: Site) -> Proof:
        return {"cores": await self._limits(site)}

    async def _busy(self, site: Site, node: str) -> bool:
        """Have one core's worth of work done in the node; False where it has no shell for it."""
        argv = ["timeout", str(BUSY_S), "sh", "-c", "while :; do :; done"]
        try:
            status, _ = await site.cluster.runtime.inside(node, argv)
        except BrokenError:
            return False
        return status == 124  # of `timeout`, when the time was up

    async def _account(self, site: Site, node: str) -> tuple[float, float, float] | None:
        """How often the node was held up until now, the processor time it has had, and when that
        was, both in seconds; None if it is down."""
        now = time.monotonic()
        times, used_s = await self.use(
            site, lambda m, n: (m.squeeze.throttled(n), m.squeeze.cpu_used_s(n)), node
        )
        return None if times is None or used_s is None else (times, used_s, now)

    async def _limits(self, site: Site) -> dict[str, float]:
        """The limits that the kernel has of the nodes that run, which must be those wanted."""
        found = {}
        for node in up(site):
            wanted, said = await self.use(
                site, lambda m, n: (m.squeeze.cores_of(n), m.squeeze.cpu_limit(n)), node
            )
            if said is None:
                continue  # it ended meanwhile
            if abs(said - (-1.0 if wanted is None else wanted)) > 0.001:
                has = "all" if said < 0 else f"{said:g}"
                raise FaultError(f"{site.id}: {node} should have {wanted} cores, but has {has}.")
            found[node] = said
        return found

    def describe(self) -> str:
        return super().describe().replace("cpu", f"cpu {self.cores:g}", 1)
