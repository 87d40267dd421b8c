"""What a monitor says, and the words in which it tells of the ops that prove it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.check._text import span
from harness.history import Op


@dataclass(frozen=True)
class Judgement:
    """Whether the ops of one object have a legal order.

    Where they have none, `kind` names what is wrong (e.g. `stale-read`), `sentence` says in plain
    words why no order is legal, and `ops` are the one to five ops that prove it, in order of
    invocation.
    """

    legal: bool
    kind: str | None = None
    sentence: str | None = None
    ops: tuple[Op, ...] = ()


LEGAL = Judgement(True)


def illegal(kind: str, sentence: str, ops: Iterable[Op | None]) -> Judgement:
    """An illegal judgement. None among `ops` stands for what was there from the beginning."""
    known = {op.index: op for op in ops if op is not None}
    return Judgement(False, kind, sentence, tuple(known[index] for index in sorted(known)))


def told(op: Op) -> str:
    """Who did what and when, e.g. `process 3 read 5 at 1.000-1.100 s`."""
    return f"process {op.process} {_did(op)} {when(op)}"


def when(op: Op) -> str:
    """The span of an op; an open end is shown as such."""
    return f"at {span(op)}"


_PAST = {
    "read": "read",
    "write": "wrote",
    "enqueue": "enqueued",
    "dequeue": "dequeued",
    "push": "pushed",
    "pop": "popped",
    "add": "added",
    "remove": "removed",
}


def _did(op: Op) -> str:
    if op.outcome == "info":
        return f"began to {op.f} {op.value!r}"
    if op.f in ("dequeue", "pop") and (op.result is None or op.outcome == "fail"):
        return "found it empty"
    if op.outcome == "fail":
        return f"was refused {op.f} {op.value!r}"
    if op.f == "cas":
        return f"replaced {op.value[0]!r} by {op.value[1]!r}"
    if op.f in ("contains", "read") and op.value is not None:
        return f"saw that {op.value!r} was {'' if op.result else 'not '}there"
    if op.f in ("add", "remove") and op.result is False:
        return f"was told that it had nothing to {op.f}: {op.value!r}"
    if op.f in _PAST:
        return f"{_PAST[op.f]} {(op.result if op.value is None else op.value)!r}"
    return f"did {op.f} {op.value!r}"
