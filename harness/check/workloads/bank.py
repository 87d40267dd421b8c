"""A bank: whatever is transferred, the balances of one read add up to the same total."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.check._findings import Findings, brief, judge, told_op
from harness.check._text import many
from harness.check.verdict import Verdict
from harness.check.workloads._ops import answered, missing, moments
from harness.history import History, Op


@dataclass(frozen=True)
class Bank:
    """The check that `bank` makes."""

    total: float | None
    accounts: frozenset[str] | None
    negative_balances: bool
    name: str = "bank"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        when = moments(history)
        found = Findings(
            "wrong-total",
            "unexpected-account",
            "missing-account",
            "nil-balance",
            "negative-balance",
        )
        reads = [op for op in answered(history.ops, ("read",)) if _balances(op) is not None]
        reads.sort(key=when.end)
        first = (_balances(reads[0]) if reads else None) or {}
        accounts = frozenset(first) if self.accounts is None else self.accounts
        total = _sum(first) if self.total is None else self.total
        for read in reads:
            self._judge(read, reads[0], accounts, total, found)
        unknown = None
        if not reads or not accounts:
            unknown = missing("no read was answered (expected: transfer, and read of all balances)")
        transfers = sum(op.f == "transfer" and op.outcome == "ok" for op in history.ops)
        told = (
            f"{many(len(reads), 'read')}, {many(transfers, 'acknowledged transfer')}, "
            f"{many(len(accounts), 'account')}, total {total}"
        )
        return judge(
            self.name,
            began,
            found,
            ops=len(history),
            told=told,
            unknown=unknown,
            data={"reads": len(reads), "transfers": transfers, "total": total},
        )

    def _judge(
        self, read: Op, first: Op, accounts: Collection[str], total: float, found: Findings
    ) -> None:
        balances = _balances(read) or {}
        shown = [read] if read is first or self.total is not None else [first, read]
        nils = [name for name, amount in balances.items() if not _is_number(amount)]
        negative = [name for name, amount in balances.items() if _is_number(amount) and amount < 0]
        strange = sorted(balances.keys() - accounts)
        lacking = sorted(self.accounts - balances.keys()) if self.accounts is not None else []

        def add(kind: str, what: str) -> None:
            found.add(kind, told_op(read, what), *shown)

        if strange:
            add("unexpected-account", f"read accounts that there are not: {brief(strange)}")
        elif nils:
            add("nil-balance", f"read accounts without a balance: {brief(sorted(nils))}")
        elif _sum(balances) != total:
            add("wrong-total", f"read balances of {_sum(balances)} in all instead of {total}")
        elif lacking:
            add("missing-account", f"read no balance of {brief(lacking)}")
        elif negative and not self.negative_balances:
            worst = min(negative, key=lambda name: balances[name])
            add("negative-balance", f"read a balance of {balances[worst]} on account {worst}")


def bank(
    *,
    total: float | None = None,
    accounts: Collection[Hashable] | None = None,
    negative_balances: bool = False,
) -> Bank:
    """Check that every read of all balances shows the same accounts and the same total.

    Ops: `read` (answers with a mapping from account to balance, or a list of balances or pairs) and
    `transfer` (value: `{"from", "to", "amount"}`; it is only counted). `total` and `accounts` are
    those of the first answered read if not given. Names of accounts are compared as text.

    Anomalies: `wrong-total`, `unexpected-account`, `missing-account` (of those given: else one
    without money may be left out), `nil-balance`, `negative-balance` (unless `negative_balances`);
    one for each read. Source: Jepsen, `tests/bank`, which demands no account to be there. A read
    that shows another total shows part of a transfer: the reads are no snapshots. `unknown`: no
    read was answered. O(n) in the sizes of all reads.

    Example: read {a 5, b 5}, then read {a 5, b 4} is `invalid`, `wrong-total`.
    """
    named = None if accounts is None else frozenset(map(str, accounts))
    return Bank(total, named, negative_balances)


def _balances(read: Op) -> dict[str, Any] | None:
    """By account; None if the answer holds no balances."""
    told = read.result
    if isinstance(told, Mapping):
        return {str(name): amount for name, amount in told.items()}
    if not isinstance(told, list | tuple):
        return None
    if told and all(isinstance(one, list | tuple) and len(one) == 2 for one in told):
        return {str(name): amount for name, amount in told}
    return {str(place): amount for place, amount in enumerate(told)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sum(balances: Mapping[str, Any]) -> float:
    amounts = [amount for amount in balances.values() if _is_number(amount)]
    if any(isinstance(amount, float) for amount in amounts):
        return math.fsum(amounts)  # (rounded once, whatever their order)
    total: float = sum(amounts)
    return total
