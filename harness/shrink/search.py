"""Searching a set for a smallest part that still fails: the algorithms, without plans and runs.

Each is a generator. It yields a batch, parts to be tried in that order, and is sent the index of
the first one that fails, or None; it returns the part that it found. In a batch nothing depends on
what comes before, so that all of it can be tried at the same time.

What is found failed when it was tried, whatever the oracle is like. If parts of what does not
fail do not fail either, it is 1-minimal: without any one element it does not fail.

`ddmin` is the delta debugging of A. Zeller and R. Hildebrandt, Simplifying and Isolating
Failure-Inducing Input, IEEE Transactions on Software Engineering 28 (2002), reduced to its
complements. `smallest` gets to the same minimum with fewer tries where few of many elements are
needed: it looks for one needed element after the other by bisection, as does QuickXplain (U.
Junker, AAAI 2004). The k needed of n elements take about k (1 + log₂ n) tries.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeAlias, TypeVar

T = TypeVar("T")

Search: TypeAlias = Generator[list[list[T]], int | None, list[T]]


def smallest(items: Sequence[T], *, least: int = 0, ways: int = 1) -> Search[T]:
    """The needed elements, the last one first: it ends the shortest beginning of `items` that
    fails. Never tries fewer than `least` (0 or 1) elements. `ways` parts are tried at once."""
    rest, kept = list(items), list[T]()
    while rest:
        low, high = 0, len(rest)
        if len(kept) >= least and (yield [kept]) is not None:
            return kept
        while high - low > 1:
            # What is needed stands in rest[low:high]; with rest[:high] it fails.
            steps = min(ways, high - low - 1)
            ends = [low + (high - low) * step // (steps + 1) for step in range(1, steps + 1)]
            got = yield [rest[:end] + kept for end in ends]
            if got is None:
                low = ends[-1]
            else:
                low, high = (ends[got - 1] if got else low), ends[got]
        kept = [rest[high - 1], *kept]
        rest = rest[: high - 1]
    return kept


def without_one(items: Sequence[T], *, least: int = 0) -> Search[T]:
    """Leave out one element after the other, until none can be left out: what comes out is
    1-minimal also where parts of what does not fail may fail."""
    kept, at = list(items), 0
    while len(kept) > least:
        order = [*range(at, len(kept)), *range(at)]
        got = yield [kept[:number] + kept[number + 1 :] for number in order]
        if got is None:
            break
        at = order[got]
        del kept[at]
        at = at if at < len(kept) else 0
    return kept


def ddmin(items: Sequence[T], *, finest: int = 1) -> Search[T]:
    """Leave out halves, then quarters, eighths …, down to pieces of `finest` elements; always
    leaves one piece."""
    pieces = _halved([list(items)])
    while True:
        at = 0
        while at < len(pieces) > 1:
            order = range(at, len(pieces))
            got = yield [_joined(pieces[:number] + pieces[number + 1 :]) for number in order]
            if got is None:
                break
            at += got
            del pieces[at]
        if max(len(piece) for piece in pieces) <= finest:
            return _joined(pieces)
        pieces = _halved(pieces)


def _halved(pieces: list[list[T]]) -> list[list[T]]:
    halves = []
    for piece in pieces:
        middle = (len(piece) + 1) // 2
        halves += [half for half in (piece[:middle], piece[middle:]) if half]
    return halves


def _joined(pieces: Sequence[Sequence[T]]) -> list[T]:
    return [item for piece in pieces for item in piece]
