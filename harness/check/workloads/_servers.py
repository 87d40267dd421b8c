"""What a server must have, since it has shown a write: all that its writer had before that."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.check.budget import Budget
from harness.check.workloads._ops import READS, WRITES, Moments, watched
from harness.check.workloads._versions import Newest, Version, Versions
from harness.history import Op


@dataclass(frozen=True, slots=True)
class Case:
    """A read that a server must answer with something not older than what a writer had.

    `late` is that read, `shown` the write that the server had shown before, and `newer` the op by
    which its writer had a newer version of the key than `late` shows; None if all is well. Without
    `shown`, `late` is a write whose version is older than what its process had, or not.
    """

    key: Hashable
    late: Op
    shown: Op | None
    newer: Op | None


def behind(
    keys: Mapping[Hashable, Sequence[Op]],
    versions: Mapping[Hashable, Versions],
    had: tuple[str, ...],
    budget: Budget,
) -> Iterator[Case]:
    """Every case there was something to compare in. `had` are the ops by which processes have
    versions: their writes or their reads. O(n p log n), p processes that have the same key. Raises
    `OverBudgetError`."""
    if not keys:
        return
    when = next(iter(versions.values())).when
    having = {}
    reads: list[tuple[Hashable, Op, Version]] = []
    for key, ops in keys.items():
        told = [(op, _version(op, versions[key])) for op in watched(ops, budget)]
        having[key] = _having(told, versions[key], had, budget)
        yield from _numbered(key, told, having[key])
        reads += [(key, op, one) for op, one in told if op.f in READS and one is not None]
    shows = sorted((read for read in reads if read[2].write is not None), key=_end(when))
    shown: dict[Hashable, dict[int, Op]] = defaultdict(dict)
    place = 0
    reads.sort(key=lambda read: when.start(read[1]))
    for key, op, seen in watched(reads, budget):
        while place < len(shows) and when.end(shows[place][1]) < when.start(op):
            _key, read, version = shows[place]
            place += 1
            _note(shown[_server(read)], version.write)
        last = shown[_server(op)]
        for process, line in having[key].items():
            write = last.get(process)
            newest = None if write is None else line.until(write.index)
            if newest is not None:
                yield Case(key, op, write, newest.newer_than(seen))


class _Line:
    """What one process had of a key, after each of its ops."""

    def __init__(self) -> None:
        self.indexes: list[int] = []
        self.newest: list[Newest] = []

    def until(self, index: int) -> Newest | None:
        place = bisect_left(self.indexes, index)
        return self.newest[place - 1] if place else None


def _version(op: Op, versions: Versions) -> Version | None:
    return versions.written(op) if op.f in WRITES else versions.seen(op)


def _having(
    told: Sequence[tuple[Op, Version | None]],
    versions: Versions,
    had: tuple[str, ...],
    budget: Budget,
) -> dict[int, _Line]:
    lines: dict[int, _Line] = defaultdict(_Line)
    for op, version in watched(told, budget):
        if op.f not in had or version is None:
            continue
        line = lines[op.process]
        newest = line.newest[-1].copy() if line.newest else Newest(versions)
        newest.add(version, op)
        line.indexes.append(op.index)
        line.newest.append(newest)
    return dict(lines)


def _numbered(
    key: Hashable, told: Sequence[tuple[Op, Version | None]], having: Mapping[int, _Line]
) -> Iterator[Case]:
    for op, made in told:
        line = having.get(op.process)
        if line is None or op.f not in WRITES or made is None or made.number is None:
            continue
        newest = line.until(op.index)
        if newest is not None:
            yield Case(key, op, None, newest.newer_than(Version(op, made.number)))


def _note(shown: dict[int, Op], write: Op | None) -> None:
    if write is not None:
        known = shown.get(write.process)
        if known is None or known.index < write.index:
            shown[write.process] = write


def _end(when: Moments) -> Callable[[tuple[Hashable, Op, Version]], int]:
    return lambda read: when.end(read[1])


def _server(op: Op) -> Hashable:
    return ("process", op.process) if op.node is None else op.node
