"""Sets of dots: which events of which replica were seen, as intervals.

A dot names one event: the `n`-th of a replica, counted from 1. What a replica has seen of another
is usually everything up to some `n`, with few holes, so a set of dots is kept as sorted intervals
for each replica. A version vector is the case of one interval that begins at 1.

Source: Almeida, Shoker, Baquero, "Delta state replicated data types" (2018), section 7 (causal
contexts), where the same is a version vector and a "dot cloud" beside it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

Dot: TypeAlias = tuple[str, int]
"""Replica and number of the event, from 1 on."""

Ranges: TypeAlias = list[int]
"""Disjoint intervals `[low, high, low, high …]`, both ends inside, ascending, never touching."""


class Dots:
    """A mutable set of dots."""

    __slots__ = ("_ranges",)

    def __init__(self, dots: Iterable[Dot] = ()) -> None:
        self._ranges: dict[str, Ranges] = {}
        for dot in dots:
            self.add(dot)

    def __contains__(self, dot: Dot) -> bool:
        replica, n = dot
        ranges = self._ranges.get(replica)
        if ranges is None:
            return False
        # Past an odd number of ends lies the inside of an interval; `high` itself is inside.
        place = bisect_right(ranges, n)
        return place % 2 == 1 or (place > 0 and ranges[place - 1] == n)

    def __iter__(self) -> Iterator[Dot]:
        for replica, ranges in self._ranges.items():
            for low, high in _pairs(ranges):
                for n in range(low, high + 1):
                    yield replica, n

    def __len__(self) -> int:
        return sum(
            high - low + 1 for ranges in self._ranges.values() for low, high in _pairs(ranges)
        )

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dots) and self._ranges == other._ranges

    __hash__ = None  # type: ignore[assignment]  # Mutable.

    def __repr__(self) -> str:
        return f"Dots({self.to_json()})"

    @property
    def replicas(self) -> frozenset[str]:
        return frozenset(self._ranges)

    def next(self, replica: str) -> Dot:
        """The dot after the last one of `replica`. Only the replica itself may use it."""
        ranges = self._ranges.get(replica)
        return replica, ranges[-1] + 1 if ranges else 1

    def add(self, dot: Dot) -> None:
        replica, n = dot
        ranges = self._ranges.setdefault(replica, [])
        if ranges and ranges[-1] + 1 == n:
            ranges[-1] = n
        elif dot not in self:
            ranges[:] = _united(ranges, [n, n])

    def update(self, other: Dots) -> None:
        """Add all of `other`."""
        for replica, ranges in other._ranges.items():
            mine = self._ranges.get(replica)
            self._ranges[replica] = list(ranges) if mine is None else _united(mine, ranges)

    def without(self, other: Dots) -> Dots:
        """A new set: those of this one that are not in `other`."""
        rest = Dots()
        for replica, ranges in self._ranges.items():
            left = _less(ranges, other._ranges.get(replica, []))
            if left:
                rest._ranges[replica] = left
        return rest

    def of(self, replica: str) -> Dots:
        """A new set: those of one replica."""
        one = Dots()
        if replica in self._ranges:
            one._ranges[replica] = list(self._ranges[replica])
        return one

    def copy(self) -> Dots:
        twin = Dots()
        twin._ranges = {replica: list(ranges) for replica, ranges in self._ranges.items()}
        return twin

    def to_json(self) -> dict[str, list[int]]:
        """For each replica its intervals, both ends inside: `{"node-1": [1, 7, 9, 9]}`."""
        return {replica: list(self._ranges[replica]) for replica in sorted(self._ranges)}

    @classmethod
    def from_json(cls, body: Mapping[str, list[int]]) -> Dots:
        """Raises `ValueError` if `body` is not what `to_json` gives."""
        made = cls()
        for replica, ranges in body.items():
            if not _well_formed(ranges):
                raise ValueError(
                    f"{ranges!r} of {replica!r} are not ascending intervals of event numbers; "
                    "the peer speaks another version of the protocol, or is broken"
                )
            made._ranges[replica] = list(ranges)
        return made


def _pairs(ranges: Ranges) -> Iterator[tuple[int, int]]:
    ends = iter(ranges)
    return zip(ends, ends, strict=True)


def _united(one: Ranges, other: Ranges) -> Ranges:
    united: Ranges = []
    for low, high in sorted([*_pairs(one), *_pairs(other)]):
        if united and low <= united[-1] + 1:
            united[-1] = max(united[-1], high)
        else:
            united += [low, high]
    return united


def _less(ranges: Ranges, taken: Ranges) -> Ranges:
    rest: Ranges = []
    holes = list(_pairs(taken))
    place = 0
    for first, high in _pairs(ranges):
        low = first
        while place < len(holes) and holes[place][1] < low:
            place += 1
        # A hole may reach into the next interval too, so `place` stays on the last one looked at.
        here = place
        while here < len(holes) and holes[here][0] <= high:
            if holes[here][0] > low:
                rest += [low, holes[here][0] - 1]
            low = holes[here][1] + 1
            here += 1
        if low <= high:
            rest += [low, high]
    return rest


def _well_formed(ranges: object) -> bool:
    if not isinstance(ranges, list) or not ranges or len(ranges) % 2:
        return False
    if any(type(end) is not int for end in ranges) or ranges[0] < 1:
        return False
    if any(low > high for low, high in _pairs(ranges)):
        return False
    return all(ranges[at] + 1 < ranges[at + 1] for at in range(1, len(ranges) - 1, 2))
