"""slow close: connections that one side closes stay open for a while on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from harness.faults._links import LinkFault, select
from harness.faults._probing import TELLING_S, Sounding, free_links, sound_end
from harness.network import Effect, Link
from harness.network import SlowClose as SlowCloseEffect
from harness.runtime.spec import Address
from harness.units import Duration, seconds, to_seconds

if TYPE_CHECKING:
    from harness.nemesis import Site

LOOK_S = 0.3
"""For how long a proof looks whether a connection ends; shorter than most delays."""


@dataclass(frozen=True)
class SlowClose(LinkFault):
    """Delay the end of every connection on the links of `who` by `delay`.

    Proved by probes where nodes end a connection as soon as its client has ended its side, for
    delays of at least 20 ms: no end comes within the delay, of which 0.3 s are waited for.
    """

    kind: ClassVar[str] = "slow-close"

    delay: Duration = field(default_factory=lambda: seconds(1))

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "delay", to_seconds(self.delay, "faults.slow_close: delay"))

    async def inject(self, site: Site) -> None:
        await site.resolve(self.who)
        chosen = select(site, self.links)
        await site.meet(chosen)
        site.memory["ending"] = await free_links(site, chosen, self.sound)
        await site.hold({link: self.effects() for link in chosen})

    def effects(self) -> Sequence[Effect]:
        return (SlowCloseEffect(round(to_seconds(self.delay, "delay") * 1000)),)

    async def sound(self, address: Address, probe: bytes) -> Sounding | None:
        return await sound_end(address, probe, min(to_seconds(self.delay, "delay"), LOOK_S))

    def sounded(self, site: Site) -> Sequence[Link]:
        if to_seconds(self.delay, "delay") < TELLING_S:
            return ()
        ending = site.memory["ending"]
        return [link for link in site.alone if link in ending]
