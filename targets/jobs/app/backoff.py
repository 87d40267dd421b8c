"""How long to wait before the next try."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Exponential backoff with full jitter: before the n-th retry anything from 0 to
    min(cap, base × 2^(n-1)) seconds, evenly (Brooker, "Exponential Backoff And Jitter", AWS
    Architecture Blog 2015). Without `jitter` it is the upper bound."""

    base_s: float
    cap_s: float
    jitter: bool = True

    def delay_s(self, retry: int, random: random.Random) -> float:
        """`retry` counts from 1."""
        most_s = min(self.cap_s, self.base_s * 2.0 ** min(retry - 1, 60))
        return random.uniform(0, most_s) if self.jitter else most_s
