"""Where to look first: what the evidence of a failure names."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from harness.plan import Plan

AROUND_S = 2.0
"""A fault that was healed this long before the first op of an anomaly may still be its cause."""


@dataclass(frozen=True)
class Hints:
    """Guesses: what they leave out is tried first, and a wrong one costs a few runs. `faults` by
    id; `clients` and `keys` of the anomaly's ops; `window_s` when those were, from and to, in
    seconds after the faults' phase began. Empty means no guess."""

    faults: frozenset[str] = frozenset()
    clients: frozenset[int] = frozenset()
    keys: tuple[Any, ...] = ()
    window_s: tuple[float, float] | None = None

    @classmethod
    def around(cls, plan: Plan, ops: Iterable[tuple[int, Any, float, float]]) -> Self:
        """What was in force around an anomaly's ops, given as (client, key, start, end) in seconds
        after the faults' phase began. `client` is negative for who is none (final reads). O(ops +
        faults)."""
        found = [op for op in ops if math.isfinite(op[2]) and math.isfinite(op[3])]
        mine = [op for op in found if op[0] >= 0]
        if not found:
            return cls()
        timed = mine or found
        from_s, to_s = min(op[2] for op in timed), max(op[3] for op in timed)
        keys: list[Any] = []
        for op in found:
            if op[1] is not None and op[1] not in keys:
                keys.append(op[1])
        return cls(
            faults=frozenset(
                fault.id
                for fault in plan.faults
                if fault.at_s <= to_s and fault.at_s + fault.lasting_s >= from_s - AROUND_S
            ),
            clients=frozenset(op[0] for op in mine),
            keys=tuple(keys),
            window_s=(from_s, to_s),
        )
