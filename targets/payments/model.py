"""What a sound system may answer about one key."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from harness.check.models import INCONSISTENT, Entry, Model, UnfitOpError
from harness.history import History, Op, hashable


@dataclass(frozen=True)
class ChargeModel(Model):
    """A key is uncharged until its charge takes effect, and then has that amount for ever: `charge`
    with `[account, amount]` answers the amount, `status` the amount or None. Final reads of ledgers
    have no key and are left to other checks."""

    name: ClassVar[str] = "charge"
    initial: Hashable = None

    def step(self, state: Any, op: Op) -> Any:
        if op.f == "status":
            return state if state == op.result else INCONSISTENT
        amount = op.value[1]
        if op.outcome == "ok" and op.result != amount:
            return INCONSISTENT
        return amount if state in (None, amount) else INCONSISTENT

    def parts(self, history: History) -> Mapping[Hashable, Sequence[Op]]:
        return {key: ops for key, ops in history.by_key().items() if key is not None}

    def entries(self, ops: Iterable[Op]) -> list[Entry]:
        """Failed ops and unanswered reads say nothing; only one charge of a key ever changes it."""
        entries = []
        for op in ops:
            if op.f not in ("charge", "status"):
                raise UnfitOpError(f"{op.f!r} is neither charge nor status")
            if op.outcome == "ok" or (op.outcome == "info" and op.f == "charge"):
                known = replace(op, value=hashable(op.value))
                entries.append(Entry(known, op, op.index, op.end_index, op.f == "status"))
        return entries
