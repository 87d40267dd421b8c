"""The kinds of anomaly: which is a case of which, and how grave each is.

The names are Elle's. G0, G1 and G2 are Adya's (Weak Consistency, 1999); `-item` says that every
anti-dependency is on a key that was read, not on a predicate; `-process` and `-realtime` that the
cycle needs the order of one process, or that one transaction ended before another began.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

EMPTY = "empty-transaction-graph"
"""No transaction depends on another: nothing was tested."""

CYCLES = ("G0", "G1c", "G-single-item", "G-nonadjacent-item", "G2-item")
"""What cycles of dependencies are called, the gravest first."""

VARIANTS = ("", "-process", "-realtime")


def _variants(kind: str, *, of: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """`kind` is a case of each of `of`; a cycle in the data is one in each order besides, and what
    needs the order within processes also shows in real time, as a process does one at a time."""
    table = {}
    for place, variant in enumerate(VARIANTS):
        weaker = (kind + VARIANTS[place + 1],) if place < 2 else ()
        table[kind + variant] = tuple(parent + variant for parent in of) + weaker
    return table


IMPLIES: Mapping[str, tuple[str, ...]] = {
    **_variants("G0", of=("G1c",)),
    **_variants("G1c", of=("G1",)),
    **_variants("G1", of=()),
    **_variants("G-single-item", of=("G-single", "G-nonadjacent-item")),
    **_variants("G-single", of=("G-nonadjacent",)),
    **_variants("G-nonadjacent-item", of=("G-nonadjacent", "G2-item")),
    **_variants("G-nonadjacent", of=("G2",)),
    **_variants("G2-item", of=("G2",)),
    **_variants("G2", of=()),
    "G1a": ("G1",),
    "G1b": ("G1",),
    "incompatible-order": ("G1a",),
    "dirty-update": ("G1a",),
    "future-read": ("G1c",),
    "lost-update": ("write-skew", "G2-item"),
    "write-skew": ("G2",),
    "internal": (),
    "cyclic-versions": (),
    "duplicate-elements": (),
    "phantom-read": (),
}
"""Whoever shows the first shows the others too."""

GRAVITY = (
    "phantom-read",
    "duplicate-elements",
    "cyclic-versions",
    "G0",
    "incompatible-order",
    "dirty-update",
    "G1a",
    "G1b",
    "future-read",
    "G1c",
    "internal",
    "lost-update",
    *CYCLES[2:],
    *(kind + "-process" for kind in CYCLES),
    *(kind + "-realtime" for kind in CYCLES),
    EMPTY,
)
"""Everything that is ever reported, the gravest (what the weakest models exclude) first."""


def implied(kinds: Iterable[str]) -> set[str]:
    """The kinds, and whatever shows with them."""
    return closure(kinds, IMPLIES)


def implying(kinds: Iterable[str]) -> set[str]:
    """The kinds, and whatever is a case of them."""
    return closure(kinds, inverse(IMPLIES))


def gravest_first(kinds: Iterable[str]) -> list[str]:
    """Kinds that are reported, in order."""
    return sorted(kinds, key=GRAVITY.index)


def closure(names: Iterable[str], leads_to: Mapping[str, Iterable[str]]) -> set[str]:
    """All that can be reached from `names`, themselves included."""
    reached: set[str] = set()
    ahead = list(names)
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead.extend(leads_to.get(name, ()))
    return reached


def inverse(leads_to: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The same relation, backwards."""
    backwards: dict[str, list[str]] = {}
    for name, targets in leads_to.items():
        for target in targets:
            backwards.setdefault(target, []).append(name)
    return backwards
