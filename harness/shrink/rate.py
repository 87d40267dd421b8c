"""How often a plan fails: figures with their confidence, and when a candidate is believed.

Real clusters are not deterministic. A plan that fails nine times of ten may pass when it is tried
once, and one that hardly ever fails may fail once. A `Rule` is a small sequential test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_KEPT = 0.85
"""The least probability with which a plan that fails as often as the one before it is accepted."""

_MOST_MISSES = 8
"""More runs than this are not spent on one candidate before it is given up."""


@dataclass(frozen=True)
class Rule:
    """Accept at `hits` failures of the wanted kind, reject at `misses` runs without it, whichever
    comes first; accept only after `least` runs.

    A plan with the true rate p is accepted with the probability Σ_{j < misses} C(hits-1+j, j)
    pʰⁱᵗˢ (1-p)ʲ (if `least` is 0):

    | hits, misses    | p=0.9 | p=0.7 | p=0.5 | p=0.3 | p=0.1 |
    |-----------------|-------|-------|-------|-------|-------|
    | 1, 1            | 0.90  | 0.70  | 0.50  | 0.30  | 0.10  |
    | 1, 2            | 0.99  | 0.91  | 0.75  | 0.51  | 0.19  |
    | 2, 1            | 0.81  | 0.49  | 0.25  | 0.09  | 0.01  |
    | 2, 2 (2 of ≤ 3) | 0.97  | 0.78  | 0.50  | 0.22  | 0.03  |
    | 3, 2 (3 of ≤ 4) | 0.95  | 0.65  | 0.31  | 0.08  | 0.004 |

    So 2 of ≤ 3 rejects 3 % of the plans that fail 9 times of 10, and accepts 22 % of those that
    fail 3 times of 10. What was accepted wrongly is found at the end, when the best is confirmed;
    what was rejected wrongly leaves the plan larger than it might be.
    """

    hits: int
    misses: int
    least: int = 0

    def decide(self, results: Sequence[bool]) -> tuple[bool | None, int]:
        """Accepted, rejected or None (more runs are needed), and how many of the results, taken in
        order, that took."""
        hits = misses = 0
        for number, hit in enumerate(results, start=1):
            hits, misses = hits + hit, misses + (not hit)
            if misses >= self.misses:
                return False, number
            if hits >= self.hits and number >= self.least:
                return True, number
        return None, len(results)

    def needs(self, results: Sequence[bool]) -> int:
        """How many more runs it will take at least; 0 where it is decided."""
        if self.decide(results)[0] is not None:
            return 0
        hits = sum(results)
        to_accept = max(self.hits - hits, self.least - len(results))
        return min(to_accept, self.misses - (len(results) - hits))

    def accepts(self, rate: float) -> float:
        """The probability with which a plan of that true rate is accepted (if `least` is 0)."""
        return sum(
            math.comb(self.hits - 1 + j, j) * rate**self.hits * (1 - rate) ** j
            for j in range(self.misses)
        )


def rule(hits: int, rate: float) -> Rule:
    """The rule with `hits` that a plan of the true `rate` passes with 85 % or more: where failures
    are certain one miss is enough to reject, where they are rare up to eight runs are spent."""
    for misses in range(1, _MOST_MISSES):
        found = Rule(hits, misses)
        if found.accepts(rate) >= _KEPT:
            return found
    return Rule(hits, _MOST_MISSES)


def confirming(runs: int, wanted: float) -> Rule:
    """`runs` runs, of which the share `wanted` must fail; ends as soon as that cannot be."""
    hits = max(1, math.ceil(wanted * runs - 1e-9))
    return Rule(hits, runs - hits + 1, least=runs)
