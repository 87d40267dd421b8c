"""Which write a read saw, and which of two writes of a key is the older one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.check.workloads._ops import READS, WRITES, Moments
from harness.history import Op, hashable


@dataclass(frozen=True, slots=True)
class Version:
    """One state of a key: the write that made it (None: what was there from the start), and the
    number that the target gave it, if it told one."""

    write: Op | None
    number: float | None = None


@dataclass
class Versions:
    """The versions of one key. `unclear` is a value that was written twice, if there is one."""

    when: Moments
    writes: dict[Hashable, Op] = field(default_factory=dict)
    unclear: Hashable = None

    @classmethod
    def of(cls, ops: Iterable[Op], when: Moments) -> Versions:
        """Those that the ops of a key, of which those that failed are left out, may have written.
        O(n)."""
        versions = cls(when)
        for op in ops:
            if op.f in WRITES:
                value = hashable(op.value)
                if value in versions.writes and versions.unclear is None:
                    versions.unclear = value
                versions.writes[value] = op
        return versions

    def seen(self, read: Op) -> Version | None:
        """What a read saw; None if it cannot be told: a value that nobody wrote."""
        value = hashable(_value(read.result))
        number = _number(read.result)
        write = self.writes.get(value)
        if write is not None:
            own = _number(write.result)
            return Version(write, own if number is None else number)
        return Version(None, number) if value is None or (value == 0 and number is None) else None

    def written(self, write: Op) -> Version:
        """What a write made."""
        return Version(write, _number(write.result))

    def older(self, one: Version, other: Version) -> bool:
        """Whether `one` is certainly older than `other`: its number is less or, where one has
        none, its write had ended before the other's began."""
        if one.number is not None and other.number is not None:
            return one.number < other.number
        if one.write is None or other.write is None:
            return one.write is None and other.write is not None
        if one.write.process == other.write.process:
            return one.write.index < other.write.index
        return self.when.before(one.write, other.write)


def steps(op: Op) -> bool:
    """Whether it is a read that was answered or a write that may have happened."""
    return op.outcome == "ok" if op.f in READS else op.f in WRITES and op.outcome != "fail"


def _value(result: Any) -> Any:
    if isinstance(result, Mapping) and "version" in result:
        return result.get("value")
    return result


def _number(result: Any) -> float | None:
    number = result.get("version") if isinstance(result, Mapping) else None
    return number if isinstance(number, int | float) else None


class Newest:
    """The newest of several versions, as far as that is known, each with the op that tells it.

    Whether any of them is newer than another one takes two comparisons: with the one of the
    greatest number, and with the one whose write began last.
    """

    def __init__(self, versions: Versions) -> None:
        self._versions = versions
        self._numbered: tuple[Version, Op] | None = None
        self._begun: tuple[Version, Op] | None = None

    def add(self, version: Version, op: Op) -> None:
        """Take one more into account."""
        number, write = version.number, version.write
        best = self._numbered
        if number is not None and (best is None or (best[0].number or 0) < number):
            self._numbered = version, op
        if write is not None:
            last = self._begun
            if last is None or last[0].write is None or last[0].write.index <= write.index:
                self._begun = version, op

    def newer_than(self, version: Version) -> Op | None:
        """The op that tells a newer version, if there is one."""
        for known in (self._numbered, self._begun):
            if known is not None and self._versions.older(version, known[0]):
                return known[1]
        return None

    def copy(self) -> Newest:
        """The same, to which others can be added."""
        one = Newest(self._versions)
        one._numbered, one._begun = self._numbered, self._begun
        return one
