"""Short proofs about registers: two or three ops that show why one cannot have been answered so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.check._op_words import did, when, who
from harness.check._reason import Reason, end_index
from harness.check._text import end_of, start_of
from harness.check.models import Register, expects, writes
from harness.history import Op, hashable


def proof(model: Register, ops: Sequence[Op], blocked: Op) -> Reason | None:
    """Why `blocked` cannot have been answered like that, if a few ops suffice to show it.

    `ops` are all of the register, the failed ones too. O(n).
    """
    if blocked.outcome != "ok" or blocked.f == "write":
        return None
    case = _Case(model, ops, blocked)
    for attempt in (_unwritten, _from_the_future, _replaced_twice, _stale):
        reason = attempt(case)
        if reason is not None:
            return reason
    return None


class _Case:
    """What is known about the value that the blocked op saw."""

    def __init__(self, model: Register, ops: Sequence[Op], blocked: Op) -> None:
        self.ops = ops
        self.blocked = blocked
        self.value = hashable(expects(blocked))
        self.from_start = self.value == model.initial
        self.writers = [
            op for op in ops if _may_write(op) and op.index != blocked.index and self.writes(op)
        ]
        self.told = f"{who(blocked)} {did(blocked)} {when(blocked)}"

    def writes(self, op: Op) -> bool:
        return bool(hashable(writes(op)) == self.value)

    def asks(self, op: Op) -> bool:
        asked = op.value[1] if op.f == "cas" else op.value
        return bool(hashable(asked) == self.value)

    def sources(self) -> int:
        """How many things may have put the value there."""
        return len(self.writers) + int(self.from_start)


def _unwritten(case: _Case) -> Reason | None:
    if case.sources():
        return None
    failed = [op for op in case.ops if op.outcome == "fail" and op.f != "read" and case.asks(op)]
    if failed:
        sentence = f"{case.told}, but the only op that ever wrote {case.value!r} had failed."
        return Reason("failed-write-read", sentence, [failed[0], case.blocked])
    return Reason(
        "never-written", f"{case.told}, but nobody ever wrote {case.value!r}.", [case.blocked]
    )


def _from_the_future(case: _Case) -> Reason | None:
    end = end_index(case.blocked)
    if case.from_start or not case.writers or any(op.index < end for op in case.writers):
        return None
    first = min(case.writers, key=lambda op: op.index)
    sentence = f"{case.told}, but nobody had begun to write it before {start_of(first)}."
    return Reason("read-before-write", sentence, [case.blocked, first])


def _replaced_twice(case: _Case) -> Reason | None:
    blocked = case.blocked
    if blocked.f != "cas" or case.sources() != 1 or case.writes(blocked):
        return None
    for op in case.ops:
        same = op.f == "cas" and op.outcome == "ok" and hashable(expects(op)) == case.value
        if same and op.index != blocked.index and not case.writes(op):
            sentence = (
                f"{case.told}, but {who(op)} {did(op)} {when(op)}, and {case.value!r} was there "
                "only once: an update is lost."
            )
            return Reason("lost-update", sentence, [*case.writers, op, blocked])
    return None


def _stale(case: _Case) -> Reason | None:
    settled = _settled(case)
    if settled is None:
        return None
    after, witness = settled
    newer = [
        op
        for op in case.ops
        if op.outcome == "ok"
        and after < op.index
        and end_index(op) < case.blocked.index
        and hashable(_left(op)) != case.value
    ]
    if not newer:
        return None
    # A write that was acknowledged says more than a read that saw it.
    other = max(newer, key=lambda op: (op.f != "read", end_index(op)))
    value = _left(other)
    sought = {hashable(expects(op)) for op in case.ops if op.outcome == "ok" and op.f != "write"}
    seen = any(hashable(_left(op)) in sought for op in newer)
    what = (
        f"{who(other)} had read {value!r}"
        if other.f == "read"
        else f"{value!r} had been acknowledged"
    )
    since = "" if other.end is None else f" at {end_of(other)}"
    again = f"nobody wrote {case.value!r} again"
    kind, end = "stale-read", "."
    if not seen:
        kind, end = "lost-write", f"; {value!r} was never seen."
    sentence = f"{case.told}, but {what}{since}, and {again}{end}"
    involved = [other, case.blocked] if witness is None else [witness, other, case.blocked]
    return Reason(kind, sentence, involved)


def _settled(case: _Case) -> tuple[int, Op | None] | None:
    """The index from which on the value was not written any more, and the op that shows it.

    None if some writer may still have been at work when the blocked op ended.
    """
    writers = [op for op in case.writers if op.index < end_index(case.blocked)]
    if case.from_start and not writers:
        return -1, None
    witnesses = [op for op in writers if op.end_index is not None]
    if len(writers) == 1 and not case.from_start:
        # One source: whoever saw the value shows as well that it had been written.
        seen = [
            op
            for op in case.ops
            if op.outcome == "ok"
            and op.index != case.blocked.index
            and op.f != "write"
            and hashable(expects(op)) == case.value
        ]
        first = min([*witnesses, *seen], key=end_index, default=None)
        return None if first is None else (end_index(first), first)
    if not witnesses or len(witnesses) < len(writers):
        return None
    last = max(witnesses, key=end_index)
    return end_index(last), last


def _may_write(op: Op) -> bool:
    return op.f != "read" and op.outcome != "fail"


def _left(op: Op) -> Any:
    """The value that was there once an acknowledged op had taken effect."""
    return op.result if op.f == "read" else writes(op)
