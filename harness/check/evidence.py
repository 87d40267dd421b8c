"""Why no order is legal, told to people: the sentence, the few ops involved, and a table of them.

The search names the op that cannot be ordered. For registers there is often a proof of two or
three ops that needs no search to be believed (a value that was never written, or one that had been
replaced before the reader began); where there is none, the ops around the blocked one are shown
with the values that could have been there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.check._text import table
from harness.check.models import Entry, Model, Register, expects, writes
from harness.check.search import Found
from harness.history import Op, hashable

_SHOWN = 8  # ops in a table without a proof of its own
_VALUES_SHOWN = 5


@dataclass(frozen=True)
class Evidence:
    """`summary` is the sentence, `text` the sentence with its table, `data` both for programs."""

    summary: str
    text: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Reason:
    kind: str
    sentence: str
    ops: list[Op]


def explain(model: Model, key: Any, ops: Sequence[Op], found: Found) -> Evidence:
    """The evidence for an `illegal` answer about the ops of `key`."""
    blocked = found.blocked
    assert blocked is not None
    reason = None
    if isinstance(model, Register):
        reason = _proof(model, ops, blocked.source)
    if reason is None:
        reason = _surroundings(ops, blocked, found)
    shown = sorted(reason.ops, key=lambda op: op.index)
    prefix = [entry.source.index for entry in found.prefix]
    summary = f"Key {key!r}: {reason.sentence}"
    lines = [
        summary,
        *_table(shown),
        f"The longest legal order holds {len(prefix)} ops and does not hold {_name(blocked)}.",
    ]
    data = {
        "key": blocked.source.key,
        "kind": reason.kind,
        "ops": [asdict(op) for op in shown],
        "blocked": blocked.source.index,
        "prefix": prefix,
    }
    return Evidence(summary, "\n".join(lines), data)


def _proof(model: Register, ops: Sequence[Op], blocked: Op) -> _Reason | None:
    """Two or three ops that suffice to show that `blocked` cannot have been answered like that."""
    if blocked.outcome != "ok" or blocked.f == "write":
        return None
    case = _Case(model, ops, blocked)
    for proof in (_unwritten, _from_the_future, _replaced_twice, _stale):
        reason = proof(case)
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
            op for op in ops if _may_write(op) and op is not blocked and self.writes(op)
        ]
        self.told = f"{_who(blocked)} {_did(blocked)} {_when(blocked)}"

    def writes(self, op: Op) -> bool:
        return bool(hashable(writes(op)) == self.value)

    def asks(self, op: Op) -> bool:
        asked = op.value[1] if op.f == "cas" else op.value
        return bool(hashable(asked) == self.value)

    def sources(self) -> int:
        """How many things may have put the value there."""
        return len(self.writers) + int(self.from_start)


def _unwritten(case: _Case) -> _Reason | None:
    if case.sources():
        return None
    failed = [op for op in case.ops if op.outcome == "fail" and op.f != "read" and case.asks(op)]
    if failed:
        sentence = f"{case.told}, but the only op that ever wrote it had failed."
        return _Reason("failed-write-read", sentence, [failed[0], case.blocked])
    return _Reason("never-written", f"{case.told}, but nobody ever wrote it.", [case.blocked])


def _from_the_future(case: _Case) -> _Reason | None:
    end = _end_index(case.blocked)
    if case.from_start or not case.writers or any(op.index < end for op in case.writers):
        return None
    first = min(case.writers, key=lambda op: op.index)
    sentence = f"{case.told}, but nobody had begun to write it before {_clock(first.start)} s."
    return _Reason("read-before-write", sentence, [case.blocked, first])


def _replaced_twice(case: _Case) -> _Reason | None:
    blocked = case.blocked
    if blocked.f != "cas" or case.sources() != 1 or case.writes(blocked):
        return None
    for op in case.ops:
        same = op.f == "cas" and op.outcome == "ok" and hashable(expects(op)) == case.value
        if same and op is not blocked and not case.writes(op):
            sentence = (
                f"{case.told}, but {_who(op)} {_did(op)} {_when(op)}, and {case.value!r} was there "
                "only once: an update is lost."
            )
            return _Reason("lost-update", sentence, [*case.writers, op, blocked])
    return None


def _stale(case: _Case) -> _Reason | None:
    settled = _settled(case)
    if settled is None:
        return None
    after, witness = settled
    newer = [
        op
        for op in case.ops
        if op.outcome == "ok"
        and after < op.index
        and _end_index(op) < case.blocked.index
        and hashable(_left(op)) != case.value
    ]
    if not newer:
        return None
    # A write that was acknowledged says more than a read that saw it.
    other = max(newer, key=lambda op: (op.f != "read", _end_index(op)))
    value = _left(other)
    sought = {hashable(expects(op)) for op in case.ops if op.outcome == "ok" and op.f != "write"}
    seen = any(hashable(_left(op)) in sought for op in newer)
    what = (
        f"{_who(other)} had read {value!r}"
        if other.f == "read"
        else f"{value!r} had been acknowledged"
    )
    since = "" if other.end is None else f" at {_clock(other.end)} s"
    again = f"nobody wrote {case.value!r} again"
    kind, end = "stale-read", "."
    if not seen:
        kind, end = "lost-write", f"; {value!r} was never seen."
    sentence = f"{case.told}, but {what}{since}, and {again}{end}"
    involved = [other, case.blocked] if witness is None else [witness, other, case.blocked]
    return _Reason(kind, sentence, involved)


def _settled(case: _Case) -> tuple[int, Op | None] | None:
    """The index from which on the value was not written any more, and the op that shows it.

    None if some writer may still have been at work when the blocked op ended.
    """
    writers = [op for op in case.writers if op.index < _end_index(case.blocked)]
    if case.from_start and not writers:
        return -1, None
    witnesses = [op for op in writers if op.end_index is not None]
    if len(writers) == 1 and not case.from_start:
        # One source: whoever saw the value shows as well that it had been written.
        seen = [
            op
            for op in case.ops
            if op.outcome == "ok"
            and op is not case.blocked
            and op.f != "write"
            and hashable(expects(op)) == case.value
        ]
        first = min([*witnesses, *seen], key=_end_index, default=None)
        return None if first is None else (_end_index(first), first)
    if not witnesses or len(witnesses) < len(writers):
        return None
    last = max(witnesses, key=_end_index)
    return _end_index(last), last


def _surroundings(ops: Sequence[Op], blocked: Entry, found: Found) -> _Reason:
    source = blocked.source
    values = sorted(map(repr, found.states))
    if len(values) > _VALUES_SHOWN:
        values = [*values[:_VALUES_SHOWN], f"{len(values) - _VALUES_SHOWN} others"]
    sentence = (
        f"{_who(source)} {_did(source)} {_when(source)}, but every order of what ended before "
        f"leaves {' or '.join(values)}."
    )
    start, end = source.index, _end_index(source)
    beside = [
        op
        for op in ops
        if op is not source
        and op.index < end
        and (op.end_index is None or op.end_index > start)
        and _may_write(op)
    ]
    known = {op.index for op in (*beside, source)}
    before = [entry.source for entry in found.prefix if entry.source.index not in known]
    chosen = beside[-_SHOWN // 2 :]
    chosen += before[len(chosen) - _SHOWN :]
    return _Reason("no-order", sentence, [*chosen, source])


def _may_write(op: Op) -> bool:
    return op.f != "read" and op.outcome != "fail"


def _left(op: Op) -> Any:
    """The value that was there once an acknowledged op had taken effect."""
    return op.result if op.f == "read" else writes(op)


def _end_index(op: Op) -> int:
    assert op.end_index is not None
    return op.end_index


def _table(ops: Iterable[Op]) -> list[str]:
    rows = [
        (f"{_span(op)} s", f"process {op.process}", op.node or "", _call(op), _answer(op))
        for op in ops
    ]
    return table(rows)


def _call(op: Op) -> str:
    return op.f if op.f == "read" else f"{op.f} {op.value!r}"


def _answer(op: Op) -> str:
    if op.outcome == "info":
        return f"no answer ({op.error})" if op.error else "no answer"
    if op.outcome == "fail":
        return f"failed ({op.error})" if op.error else "failed"
    return f"ok {op.result!r}" if op.f == "read" else "ok"


def _name(entry: Entry) -> str:
    return f"the {entry.source.f} of process {entry.source.process} at {_span(entry.source)} s"


def _who(op: Op) -> str:
    return f"process {op.process}"


def _did(op: Op) -> str:
    if op.f == "read":
        return f"read {op.result!r}" + (f" from {op.node}" if op.node else "")
    on = f" on {op.node}" if op.node else ""
    return f"{'was refused' if op.outcome == 'fail' else 'did'} {_call(op)}{on}"


def _when(op: Op) -> str:
    return f"at {_span(op)} s"


def _span(op: Op) -> str:
    return f"{_clock(op.start)}-{'…' if op.end is None else _clock(op.end)}"


def _clock(time_ns: int) -> str:
    return f"{time_ns / 1e9:.3f}"
