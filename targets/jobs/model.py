"""What a sound system may answer about one account, whichever path is asked."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.check.models import INCONSISTENT, Model, UnfitOpError
from harness.history import History, Op
from targets.jobs.client import NOT_SO

CHANGES = frozenset({"create", "rename", "delete", "restore"})
LOOKS = frozenset({"get", "listed", "found", "counted"})

ABSENT = ("absent", None)


@dataclass(frozen=True)
class AccountModel(Model):
    """An account is absent, live with a name, or deleted, and then keeps its name until it is
    restored. Changes answer the name, or `NOT_SO` if they cannot be made, as `create` cannot for
    the id of a deleted account. To every look a deleted account is absent."""

    name: ClassVar[str] = "account"
    initial: Hashable = ABSENT
    by_process: ClassVar[bool] = False

    def step(self, state: Any, op: Op) -> Any:
        kind, name = state
        if op.f in LOOKS:
            return state if op.result == _seen(op, kind, name) else INCONSISTENT
        after = _changed(op, kind, name)
        if op.outcome != "ok":
            return state if after is None else after
        answer = NOT_SO if after is None else after[1]
        if op.result != answer:
            return INCONSISTENT
        return state if after is None else after

    def parts(self, history: History) -> Mapping[Hashable, Sequence[Op]]:
        ops = [op for op in history.ops if op.f in CHANGES | LOOKS]
        return History(ops).by_key()

    def told(self, ops: Sequence[Op]) -> Sequence[Op]:
        return [
            op for op in ops if op.outcome == "ok" or (op.outcome == "info" and op.f in CHANGES)
        ]


def _seen(op: Op, kind: str, name: str | None) -> Any:
    """What a look answers in that state."""
    live = name if kind == "live" else None
    if op.f == "counted":
        return int(live is not None)
    return live if op.f != "found" or live == op.value else None


def _changed(op: Op, kind: str, name: str | None) -> tuple[str, str | None] | None:
    """The state after a change; None if it cannot be made."""
    if op.f == "create":
        return ("live", op.value) if kind == "absent" else None
    if op.f == "rename":
        return ("live", op.value) if kind == "live" else None
    if op.f == "delete":
        return ("deleted", name) if kind == "live" else None
    if op.f == "restore":
        return ("live", name) if kind == "deleted" else None
    raise UnfitOpError(f"{op.f!r} is nothing that is done to an account")
