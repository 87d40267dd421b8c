"""A reason why an op has no place in any order."""

from __future__ import annotations

from dataclasses import dataclass

from harness.check._text import end_of
from harness.history import Op


@dataclass(frozen=True)
class Reason:
    """`kind` is its name, `ops` are those that show it, in any order."""

    kind: str
    sentence: str
    ops: list[Op]


def end_index(op: Op) -> int:
    """The place of the completion of an op that has one."""
    assert op.end_index is not None
    return op.end_index


def ended(op: Op) -> str:
    """When it ended, after a verb: ` at 1.200 s`, or nothing."""
    return "" if op.end is None else f" at {end_of(op)}"
