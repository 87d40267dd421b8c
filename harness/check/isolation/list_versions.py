"""The versions of every list, and what the transactions' reads of them say about their order.

A version is a key and a length; all are numbered in one row, each key's empty list first. Reads
that are no prefix of the longest have no version, only a last element.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np

from harness.check.budget import Budget
from harness.check.isolation.graph import Builder, Ints, Label
from harness.check.isolation.lists import Lists

NOBODY = -1

_KEYS = 1024  # keys, and reads, between two looks at the budget
_ADDED = 40  # bytes that adding an edge takes at most, for a while
_READS = 32768


@dataclass
class Versions:
    """`first[k]` is the empty list of key k; `appended[v]` the append that made version v, or -1
    (the empty list, an element that nobody wrote or that stands there twice); `writer[v]` its
    transaction as in `Lists`; `version[r]` what read r saw, or -1."""

    lists: Lists
    first: Ints
    appended: Ints
    writer: Ints
    version: Ints
    unseen: dict[int, list[int]]
    """Of each key: the transactions that may be committed and whose appends no read saw."""
    unwritten: dict[int, list[Any]]
    """Of each key: elements of its longest read that nobody wrote."""
    twice: list[int]
    """Keys whose longest read holds an element more than once."""

    @property
    def odd(self) -> Ints:
        """Reads that are no prefix of the longest of their key."""
        return np.flatnonzero(self.version < 0)

    @cached_property
    def some_empty(self) -> bool:
        """Whether some read found nothing."""
        return not all(self.lists.read_value)

    @cached_property
    def reads(self) -> dict[int, list[int]]:
        """The reads of each key."""
        grouped: dict[int, list[int]] = {}
        for read, key in enumerate(self.lists.read_key):
            grouped.setdefault(key, []).append(read)
        return grouped


def versions(lists: Lists, budget: Budget) -> Versions:
    """Lay out all versions. O(total length of all reads), as comparisons of slices."""
    budget.demand()
    longest, read_value = lists.longest, lists.read_value
    lengths = np.array([len(value) for value in longest], np.int64) + 1
    first = np.zeros(len(longest) + 1, np.int64)
    np.cumsum(lengths, out=first[1:])
    starts = first.tolist()
    version: list[int] = []
    for begin in range(0, len(read_value), _READS):
        budget.demand()
        chunk = slice(begin, begin + _READS)
        version += [
            starts[key] + len(value) if value == longest[key][: len(value)] else -1
            for key, value in zip(lists.read_key[chunk], read_value[chunk], strict=True)
        ]
    odd_values: dict[int, set[Any]] = {}
    for read, at in enumerate(version):
        if at < 0:
            odd_values.setdefault(lists.read_key[read], set()).update(read_value[read])
    appended: list[int] = []
    unseen: dict[int, list[int]] = {}
    unwritten: dict[int, list[Any]] = {}
    twice: list[int] = []
    writer = lists.writer
    for key, (value, appends) in enumerate(zip(longest, lists.appends, strict=True)):
        if not key % _KEYS:
            budget.demand()
        row = list(map(appends.get, value, repeat(NOBODY)))
        distinct = set(row)
        if NOBODY in distinct:
            unwritten[key] = [element for element in value if element not in appends]
            distinct.discard(NOBODY)
        if len(set(value)) < len(value):
            twice.append(key)
            row = _without_repeats(row)
        appended.append(NOBODY)
        appended += row
        if len(distinct) < len(appends):
            others = odd_values.get(key, ())
            # Whoever has a place in another read has one that is not known, but not at the end.
            late = [
                append
                for element, append in appends.items()
                if append not in distinct and element not in others
            ]
            owners = {writer[append] for append in late if writer[append] >= 0}
            if owners:
                unseen[key] = sorted(owners)
    made = np.array(appended, np.int64)
    owner = np.append(np.array(writer, np.int64), NOBODY)[made]
    seen = np.array(version, np.int64)
    return Versions(lists, first[:-1], made, owner, seen, unseen, unwritten, twice)


def _without_repeats(row: list[int]) -> list[int]:
    met: set[int] = set()
    for at, append in enumerate(row):
        if append in met:
            row[at] = NOBODY
        met.add(append)
    return row


def add_dependencies(builder: Builder, all_versions: Versions, budget: Budget) -> None:
    """Add ww, wr and rw. O(versions + reads), and a sort of the reads where appends are unseen."""
    budget.demand()
    lists, writer = all_versions.lists, all_versions.writer
    if not len(writer):
        return
    # After the last version of a key comes the empty list of the next one, which nobody wrote.
    following = np.append(writer[1:], NOBODY)
    lasts = np.append(all_versions.first[1:], len(writer)) - 1
    both = (writer >= 0) & (following >= 0)
    builder.add(writer[both], following[both], Label.WW)
    budget.demand()

    reader = np.array(lists.reader, np.int64)
    seen = all_versions.version
    reader, version = reader[seen >= 0], seen[seen >= 0]
    source = writer[version]
    budget.reserve(_ADDED * len(version))
    builder.add(source[source >= 0], reader[source >= 0], Label.WR)
    budget.reserve(_ADDED * len(version))
    overwriter = following[version]
    builder.add(reader[overwriter >= 0], overwriter[overwriter >= 0], Label.RW)
    odd = [(read, lists.read_value[read][-1]) for read in all_versions.odd.tolist()]
    sources = [
        (lists.writer[append], lists.reader[read])
        for read, last in odd
        if (append := lists.appends[lists.read_key[read]].get(last)) is not None
    ]
    pairs = np.array([pair for pair in sources if pair[0] >= 0], np.int64).reshape(-1, 2)
    builder.add(pairs[:, 0], pairs[:, 1], Label.WR)
    _add_unseen(builder, all_versions, lasts, reader, version, budget)


def _add_unseen(
    builder: Builder, found: Versions, lasts: Ints, reader: Ints, version: Ints, budget: Budget
) -> None:
    """Appends that no read saw come after everything that some read saw."""
    if not found.unseen:
        return
    budget.demand()
    order = np.argsort(version, kind="stable")
    sorted_versions = version[order]
    keys = np.array(list(found.unseen), np.int64)
    begins = np.searchsorted(sorted_versions, lasts[keys], "left").tolist()
    ends = np.searchsorted(sorted_versions, lasts[keys], "right").tolist()
    sorted_readers = reader[order]
    last_writers = found.writer[lasts[keys]].tolist()
    singles: dict[Label, list[tuple[int, int]]] = {Label.WW: [], Label.RW: []}
    for count, (targets, begin, end, last) in enumerate(
        zip(found.unseen.values(), begins, ends, last_writers, strict=True)
    ):
        if not count % _KEYS:
            budget.demand()
        readers = list(set(sorted_readers[begin:end].tolist()))
        for label, sources in ((Label.WW, [last] if last >= 0 else []), (Label.RW, readers)):
            if len(sources) * len(targets) <= 8:
                singles[label] += [(one, other) for one in sources for other in targets]
            else:
                builder.fan(sources, targets, label)
    for label, pairs in singles.items():
        array = np.array(pairs, np.int64).reshape(-1, 2)
        builder.add(array[:, 0], array[:, 1], label)
