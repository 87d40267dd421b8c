"""Ops in the words of evidence: who did what, when, and with what answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness.check._text import span, table
from harness.history import Op

_PAST = {
    "write": "wrote",
    "put": "put",
    "append": "appended",
    "enqueue": "enqueued",
    "push": "pushed",
    "add": "added",
    "remove": "removed",
}
_TAKES = {"dequeue": "dequeued", "pop": "popped"}
_LOCKS = {"acquire": "acquired the lock", "release": "released the lock"}


def who(op: Op) -> str:
    return f"process {op.process}"


def when(op: Op) -> str:
    return f"at {span(op)}"


def did(op: Op) -> str:
    """What an op with an answer did, after its subject: `read 5 from node-1`."""
    if op.f in ("read", "get"):
        return f"read {op.result!r}" + (f" from {op.node}" if op.node else "")
    on = f" on {op.node}" if op.node else ""
    if op.outcome == "fail":
        return f"was refused {call(op)}{on}"
    if op.f in _TAKES:
        return (f"{_TAKES[op.f]} {op.result!r}" if op.result is not None else "found nothing") + on
    if op.f == "contains":
        return f"saw that {op.value!r} was {'' if op.result else 'not '}there{on}"
    if op.f in _LOCKS:
        return _LOCKS[op.f] + on
    if op.f in _PAST and not isinstance(op.result, bool):
        return f"{_PAST[op.f]} {op.value!r}{on}"
    if op.f == "txn":
        return f"did {(op.value if op.result is None else op.result)!r}{on}"
    answered = f" with the answer {op.result!r}" if _answers(op) else ""
    return f"did {call(op)}{answered}{on}"


def call(op: Op) -> str:
    """The op as it was asked: `cas [1, 2]`."""
    return op.f if op.value is None or op.f in ("read", "get") else f"{op.f} {op.value!r}"


def rows(ops: Iterable[Op]) -> list[str]:
    """A table of ops, in the order given."""
    return table([(span(op), who(op), op.node or "", call(op), _outcome(op)) for op in ops])


def _outcome(op: Op) -> str:
    if op.outcome == "ok":
        return f"ok {op.result!r}" if _answers(op) else "ok"
    word = "no answer" if op.outcome == "info" else "failed"
    return f"{word} ({op.error})" if op.error else word


def _answers(op: Op) -> bool:
    """Whether the answer says more than that it was done; many clients repeat what was asked."""
    if op.f in ("read", "get", *_TAKES):
        return True
    return op.result is not None and not _same(op.result, op.value)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)
