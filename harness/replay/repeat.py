"""One carrying out of a plan, and who does it: what replays and the shrinker have in common."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from harness.failure import Failure
from harness.plan import Plan


@dataclass(frozen=True)
class Repeat:
    """How one carrying out of a plan ended: the run's folder, its outcome, what went wrong, how
    many seconds it took, and how many ops were done."""

    folder: Path
    outcome: str
    failures: tuple[Failure, ...]
    seconds: float
    ops: int

    def reproduced(self, wanted: Failure) -> bool:
        """Whether it failed as `wanted` did."""
        return any(wanted.same(failure) for failure in self.failures)


Carry: TypeAlias = Callable[[Plan], "Future[Repeat]"]
"""Carries out a plan, soon: a fixed number at once, the others wait. The future raises
`HarnessError` where there came no run of it."""
