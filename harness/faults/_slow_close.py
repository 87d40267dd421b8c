"""slow close: connections that one side closes stay open for a while on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from harness.faults._links import LinkFault
from harness.network import Effect
from harness.network import SlowClose as SlowCloseEffect
from harness.units import Duration, seconds, to_seconds


@dataclass(frozen=True)
class SlowClose(LinkFault):
    """Delay the end of every connection on the links of `who` by `delay`."""

    kind: ClassVar[str] = "slow-close"

    delay: Duration = field(default_factory=lambda: seconds(1))

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "delay", to_seconds(self.delay, "faults.slow_close: delay"))

    def effects(self) -> Sequence[Effect]:
        return (SlowCloseEffect(round(to_seconds(self.delay, "delay") * 1000)),)
