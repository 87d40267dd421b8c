"""How often something happens, from few tries, with the confidence that these give."""

from __future__ import annotations

import math
from dataclasses import dataclass

_Z = 1.959964
"""The quantile of the normal distribution that gives 95 % on two sides."""


@dataclass(frozen=True)
class Rate:
    """A plan failed the same way `hits` times in `runs` runs."""

    hits: int = 0
    runs: int = 0

    @property
    def share(self) -> float:
        """hits / runs; 0 if there was no run."""
        return self.hits / self.runs if self.runs else 0.0

    @property
    def expected(self) -> float:
        """What to expect of the next run: never quite 0 or 1 (Krichevsky and Trofimov's estimate:
        half a run of each kind was seen before)."""
        return (self.hits + 0.5) / (self.runs + 1)

    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the true rate (Wilson 1927: sound for few runs, and for
        all or none of them)."""
        if not self.runs:
            return (0.0, 1.0)
        n, share = self.runs, self.share
        middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
        return (max(0.0, middle - half), min(1.0, middle + half))

    def __add__(self, other: Rate) -> Rate:
        return Rate(self.hits + other.hits, self.runs + other.runs)

    def __str__(self) -> str:
        low, high = self.interval()
        return f"reproduced {self.hits} of {self.runs} (95 % interval {low:.2f}-{high:.2f})"
