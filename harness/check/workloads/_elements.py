"""What the reads of a set show and miss of each element: when it came, and when it was gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from harness.check._findings import Findings, brief, told_op
from harness.check.workloads._ops import Moments, at, collection
from harness.history import Op, hashable


@dataclass(slots=True)
class Element:
    """`known` is the first op that showed it to be there; `present` and `absent` are the reads
    that show and miss it and began last. `start` is where it may first have been there."""

    value: Hashable
    start: int
    known: Op | None = None
    present: Op | None = None
    absent: Op | None = None


def elements_of(
    ops: Sequence[Op], when: Moments
) -> tuple[dict[Hashable, Element], dict[Hashable, Op]]:
    """Every element that may have been added, and the failed adds of all others."""
    elements: dict[Hashable, Element] = {}
    refused: dict[Hashable, Op] = {}
    for op in ops:
        if op.f != "add":
            continue
        value = hashable(op.value)
        if op.outcome == "fail":
            refused.setdefault(value, op)
            continue
        one = elements.setdefault(value, Element(value, when.start(op)))
        one.start = min(one.start, when.start(op))
        if op.outcome == "ok" and (one.known is None or when.end(op) < when.end(one.known)):
            one.known = op
    return elements, {value: op for value, op in refused.items() if value not in elements}


def strange(
    read: Op,
    elements: Mapping[Hashable, Element],
    refused: Mapping[Hashable, Op],
    key: Hashable,
    found: Findings,
) -> None:
    """What a read shows that cannot be there, or not twice."""
    seen = _seen(read)
    for value in sorted(seen - elements.keys(), key=repr):
        what = told_op(read, f"read {brief(value)}{at(key)}")
        if value in refused:
            found.add("of-refused", f"{what}, and its add had failed", refused[value], read)
        else:
            found.add("unexpected", f"{what}, which nobody ever added", read)
    if len(seen) < len(read.result):
        value, times = Counter(map(hashable, read.result)).most_common(1)[0]
        what = f"read {brief(value)}{at(key)} {times} times at once"
        found.add("duplicated", told_op(read, what), read)


def shown_by(elements: Mapping[Hashable, Element], reads: Sequence[Op], when: Moments) -> None:
    """Find the read that shows each element and ended first, and the one that began last.

    Each is found once, so that all but the set operations is linear in the elements.
    """
    waiting = set(elements)
    for read in sorted(reads, key=when.end):
        for value in _seen(read) & waiting:
            one = elements[value]
            if one.known is None or when.end(read) < when.end(one.known):
                one.known = read
            waiting.remove(value)
    waiting = set(elements)
    for read in sorted(reads, key=when.start, reverse=True):
        for value in _seen(read) & waiting:
            elements[value].present = read
            waiting.remove(value)


def missed_by(elements: Mapping[Hashable, Element], reads: Sequence[Op], when: Moments) -> None:
    """Find the last read that misses each element and ended after it may have been there.

    From the read that began last to the first, only those elements are kept that no read has
    missed yet: each read shows them all, but for those it is the first to miss, and for the few
    that were not added yet. So the work is that of the sizes of all reads.
    """
    ordered = sorted(reads, key=when.start)
    latest_end = list(accumulate((when.end(read) for read in ordered), max))
    waiting = set(elements)
    for read, latest in zip(reversed(ordered), reversed(latest_end), strict=True):
        ended = when.end(read)
        for value in waiting - _seen(read):
            one = elements[value]
            if one.start < ended:
                one.absent = read
            if one.start < ended or latest < one.start:
                waiting.remove(value)


def _seen(read: Op) -> frozenset[Hashable]:
    return collection(read.result) or frozenset()
