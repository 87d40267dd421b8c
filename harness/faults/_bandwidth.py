"""bandwidth: links carry only so many kilobytes a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from harness.errors import UsageError
from harness.faults._links import LinkFault
from harness.faults._probing import Sounding, sound_rate
from harness.network import Bandwidth as BandwidthEffect
from harness.network import Effect
from harness.runtime.spec import Address


@dataclass(frozen=True)
class Bandwidth(LinkFault):
    """Limit each connection on the links of `who` to `kilobytes_per_s` in each direction.

    Proved by answers that cannot have come sooner, unless a thousand of them would be over at once
    (some MB/s).
    """

    kind: ClassVar[str] = "bandwidth"

    kilobytes_per_s: int = field(default=32)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.kilobytes_per_s, int) or self.kilobytes_per_s < 1:
            raise UsageError(
                f"faults.bandwidth: {self.kilobytes_per_s!r} kB/s is no bandwidth.",
                do="Give a whole number of at least 1; to stop all bytes use faults.netsplit.",
            )

    def effects(self) -> Sequence[Effect]:
        return (BandwidthEffect(self.kilobytes_per_s),)

    async def sound(self, address: Address, probe: bytes) -> Sounding | None:
        return await sound_rate(address, probe, self.kilobytes_per_s * 1000)

    def describe(self) -> str:
        who = super().describe().removeprefix("bandwidth ")
        return f"bandwidth {self.kilobytes_per_s} kB/s {who}"
