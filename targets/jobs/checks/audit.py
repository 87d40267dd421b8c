"""The audit log: each change has one row, no row is of nothing, and nobody can change one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from harness.check import Verdict
from harness.history import History, Op
from targets.jobs.checks.found import Found, ledger, missing
from targets.jobs.client import ACTOR, NOT_SO

ACTIONS = {
    "create": "account.created",
    "rename": "account.updated",
    "delete": "account.deleted",
    "restore": "account.restored",
}
"""What the client does, and what the log calls it. Each has a request of its own."""

ENQUEUED, DEAD = "job.enqueued", "job.dead"
ENQUEUES = frozenset({"enqueue", "doom", "claim"})


@dataclass(frozen=True)
class AuditComplete:
    """The check that `audit_complete` makes."""

    at_least: int

    @property
    def name(self) -> str:
        return "audit_complete"

    def __call__(self, history: History) -> Verdict:
        found = Found(self.name, "can-be-changed", "unaudited", "audited-twice", "audit-of-nothing")
        rows, letters = ledger(history, "audit"), ledger(history, "letters")
        attempts = ledger(history, "tamper") or []
        counts = Counter((row[0], row[1], row[3]) for row in rows or [] if row[2] == ACTOR)
        by_subject = Counter((row[0], row[1]) for row in rows or [])
        changes = [op for op in history.ops if op.f in ACTIONS]
        enqueues: dict[str, list[Op]] = {}
        for op in history.ops:
            if op.f in ENQUEUES:
                enqueues.setdefault(str(op.key), []).append(op)
        acknowledged = 0
        if rows is not None:
            for user, how, outcome in attempts:
                if outcome != "refused":
                    found.add("can-be-changed", f"{user} could {how} rows of the audit log")
            for op in changes:
                row = (ACTIONS[op.f], str(op.key), str(op.value))
                least, most = _change_rows(op)
                acknowledged += least
                _compare(found, f"{op.f} {op.key} {op.value}", counts.pop(row, 0), least, most)
            for key, ops in enqueues.items():
                least, most = _enqueue_rows(key, ops)
                acknowledged += least
                ours = [row for row in counts if row[:2] == (ENQUEUED, key)]
                count = sum(counts.pop(row) for row in ours)
                _compare(found, f"job {key}", count, least, most)
            for (action, subject, request), _count in counts.items():
                found.add(
                    "audit-of-nothing", f"{action} {subject} by {request}, which nobody asked for"
                )
        dead = [str(row[0]) for row in letters or [] if row[1] == "dead"]
        for key in dead:
            _compare(found, f"dead job {key}", by_subject[DEAD, key], 1, 1)
        refused = sum(outcome == "refused" for _user, _how, outcome in attempts)
        told = (
            f"{acknowledged} acknowledged changes and {len(dead)} dead jobs in {len(rows or [])} "
            f"rows; {refused} attempts to change rows were refused"
        )
        return found.verdict(
            told,
            self._unknown(rows is not None, acknowledged, len(attempts)),
            len(changes) + sum(map(len, enqueues.values())),
            {"acknowledged": acknowledged, "rows": len(rows or []), "refused": refused},
        )

    def _unknown(self, read: bool, acknowledged: int, attempts: int) -> str | None:
        if not read:
            return missing("audit")
        if not attempts:
            return missing("tamper")
        if acknowledged < self.at_least:
            return (
                f"Too little was tested: {acknowledged} changes were acknowledged, "
                f"{self.at_least} are needed."
            )
        return None


def audit_complete(*, at_least: int = 20) -> AuditComplete:
    """Check that the audit log tells of every change once, of nothing else, and cannot be changed.

    Read from the final op `audit`: rows of an action, a subject, an actor and a request; those of
    other actors than the workload's clients are left out. An acknowledged change of an account, and
    an acknowledged job, has exactly one row; one of which nobody knows, at most one; one that
    certainly was not made, none. Each dead job of the final op `letters` has one. The final op
    `tamper` tried to change rows in all ways.

    Anomalies: `can-be-changed`, `unaudited`, `audited-twice`, `audit-of-nothing`. `unknown`: the
    log was not read or not tampered with, or fewer than `at_least` changes were acknowledged.
    """
    return AuditComplete(at_least)


def _change_rows(op: Op) -> tuple[int, int]:
    """How many rows there may be, at least and at most."""
    if op.outcome == "ok":
        made = op.result != NOT_SO
        return int(made), int(made)
    return 0, int(op.outcome == "info")


def _enqueue_rows(key: str, ops: list[Op]) -> tuple[int, int]:
    own = any(op.outcome == "ok" and op.result == key for op in ops)
    # A claim that was answered with the key of another job made none.
    none = all(op.outcome == "fail" or (op.outcome == "ok" and op.result != key) for op in ops)
    return int(own), int(not none)


def _compare(found: Found, what: str, count: int, least: int, most: int) -> None:
    if count < least:
        found.add("unaudited", f"{what} was acknowledged, and the audit log does not tell of it")
    elif count > max(1, most):
        found.add("audited-twice", f"{what} stands in the audit log {count} times")
    elif count > most:
        found.add("audit-of-nothing", f"{what} stands in the audit log, and was not done")
