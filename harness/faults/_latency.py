"""latency: every byte comes later, by a constant or by amounts that the plan lists."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Self

from harness.errors import UsageError
from harness.faults._base import Members, Proof
from harness.faults._links import LinkFault
from harness.faults._probing import TELLING_S, Sounding, sound_answer
from harness.network import Effect, Link
from harness.network import Latency as LatencyEffect
from harness.runtime.spec import Address
from harness.units import Duration, milliseconds, to_seconds

if TYPE_CHECKING:
    from harness.nemesis import Site

STEP_S = 0.25
"""How often latency changes under `latency_jitter`. Each change is one call per link, so shorter
steps would load Toxiproxy rather than vary the latency more."""


@dataclass(frozen=True)
class Latency(LinkFault):
    """Delay the links of `who` by `latency` in each direction, so that an answer takes twice as
    much longer. With `latency_jitter` the delay changes every quarter of a second by up to ± that
    much; the amounts are drawn from the seed and stand in the plan as `steps_ms`. Answers are
    measured unless they may take less than 20 ms longer."""

    kind: ClassVar[str] = "latency"

    latency: Duration = field(default_factory=lambda: milliseconds(100))
    latency_jitter: Duration = field(default=0, kw_only=True)
    steps_ms: Sequence[int] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        latency_s = to_seconds(self.latency, "faults.latency: latency")
        jitter_s = to_seconds(
            self.latency_jitter, "faults.latency: latency_jitter", allow_zero=True
        )
        if jitter_s > latency_s:
            raise UsageError(
                "faults.latency: latency_jitter is more than latency.",
                do="A delay cannot be negative; give a jitter of at most the latency.",
            )
        object.__setattr__(self, "latency", latency_s)
        object.__setattr__(self, "latency_jitter", jitter_s)

    def resolve(self, rng: random.Random, members: Members, lasting_s: float) -> Self:
        resolved = super().resolve(rng, members, lasting_s)
        latency_ms = to_seconds(self.latency, "latency") * 1000
        jitter_ms = to_seconds(self.latency_jitter, "latency_jitter", allow_zero=True) * 1000
        if not jitter_ms:
            return resolved
        steps = [
            round(latency_ms + rng.uniform(-jitter_ms, jitter_ms))
            for _ in range(int(lasting_s / STEP_S) + 1)
        ]
        return dataclasses.replace(resolved, steps_ms=steps)

    @property
    def first_ms(self) -> int:
        """The delay at injection, in each direction."""
        if self.steps_ms:
            return self.steps_ms[0]
        return round(to_seconds(self.latency, "latency") * 1000)

    def effects(self) -> Sequence[Effect]:
        return (LatencyEffect(self.first_ms),)

    async def sound(self, address: Address, probe: bytes) -> Sounding | None:
        least_s = 2 * min(self.steps_ms, default=self.first_ms) / 1000
        return await sound_answer(address, probe, least_s)

    def sounded(self, site: Site) -> Sequence[Link]:
        # On a busy machine a shorter delay could not be told from none after healing.
        least_ms = 2 * min(self.steps_ms, default=self.first_ms)
        return site.alone if least_ms >= TELLING_S * 1000 else ()

    async def prove(self, site: Site) -> Proof:
        proof = await super().prove(site)
        if self.steps_ms:
            site.spawn(self._vary(site))
        return proof

    def describe(self) -> str:
        return f"latency {self.first_ms} ms {super().describe().removeprefix('latency ')}"

    async def _vary(self, site: Site) -> None:
        for step_ms in self.steps_ms[1:]:
            await asyncio.sleep(STEP_S)
            effects = {link: (LatencyEffect(step_ms),) for link in site.links}
            await site.cluster.network.update(site.id, effects)
