"""The shapes of netsplits, and what they mean for links.

A shape is a pure function from node names to directed cuts: `(source, node)` means that bytes
from `source` to `node` are lost. All but `one_way` and `directed` (and `majorities_ring`
of three nodes) cut both directions. Clients keep their links, unless `client` is named in `groups`,
`one_way` or `directed`.

A one-way cut is a cut of bytes, not of packets: with real packet loss the acknowledgements of the
other direction would be lost too, and no connection could be opened.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from harness.errors import UsageError
from harness.network.effects import Drop, Effect, Reject
from harness.network.links import Link
from harness.runtime.spec import CLIENT

Cut: TypeAlias = tuple[str, str]
Cuts: TypeAlias = frozenset[Cut]

_RING_DRAWS = 100


def isolate(nodes: Sequence[str], node: str) -> Cuts:
    """`node` on one side, all others on the other."""
    _require_known([node], nodes)
    _require_size("isolate", nodes, 2)
    return _between([[node], [other for other in nodes if other != node]])


def halves(nodes: Sequence[str]) -> Cuts:
    """The first half from the second half, which is larger by one if their number is odd."""
    _require_size("halves", nodes, 2)
    middle = len(nodes) // 2
    return _between([nodes[:middle], nodes[middle:]])


def random_halves(nodes: Sequence[str], rng: random.Random) -> Cuts:
    """Like `halves`, of the nodes in random order."""
    return halves(_shuffled(nodes, rng))


def majorities_ring(nodes: Sequence[str], rng: random.Random) -> Cuts:
    """Every node hears a majority, and no two nodes hear the same one.

    Up to five nodes form a ring in random order and hear their neighbours: exactly a majority. Of
    three nodes that is two, so each hears one of the others and is heard by the other one.
    More nodes get random partners, those with the fewest first, until each hears a majority, as
    Jepsen does; if two hear the same after 100 draws, a ring is used. O(n³) for a draw.
    """
    _require_size("majorities_ring", nodes, 3)
    if len(nodes) > 5:
        for _ in range(_RING_DRAWS):
            heard = _random_majorities(nodes, rng)
            if len({frozenset(some) for some in heard.values()}) == len(nodes):
                return _unheard(nodes, heard)
    return _unheard(nodes, _ring(_shuffled(nodes, rng)))


def bridge(nodes: Sequence[str], via: random.Random | str) -> Cuts:
    """Two halves that are cut off from each other, and one node that talks to both.

    `via` is that node (the others are split in their order), or what draws it and the halves.
    """
    _require_size("bridge", nodes, 3)
    if isinstance(via, str):
        _require_known([via], nodes)
        rest = [node for node in nodes if node != via]
    else:
        rest = _shuffled(nodes, via)[1:]
    return halves(rest)


def minority_third(nodes: Sequence[str], rng: random.Random) -> Cuts:
    """A random group of less than a third of the nodes (but at least one) from the rest."""
    _require_size("minority_third", nodes, 2)
    size = max(1, (len(nodes) - 1) // 3)
    order = _shuffled(nodes, rng)
    return _between([order[:size], order[size:]])


def one_way(sources: Iterable[str], targets: Iterable[str]) -> Cuts:
    """Bytes from any of `sources` to any of `targets` are lost; the other direction works."""
    sources, targets = list(sources), list(targets)
    if both := sorted(set(sources) & set(targets)):
        raise UsageError(
            f"netsplit one-way: {', '.join(both)} is on both sides.", do="Name each node once."
        )
    return frozenset((source, node) for source in sources for node in targets)


def groups(groups: Iterable[Iterable[str]], nodes: Sequence[str]) -> Cuts:
    """Each group is cut off from every other one. Nodes in no group keep all their links.

    Raises `UsageError` for unknown nodes and for nodes in two groups.
    """
    parts = [list(group) for group in groups]
    named = [node for part in parts for node in part]
    _require_known(named, [*nodes, CLIENT])
    if twice := sorted({node for node in named if named.count(node) > 1}):
        raise UsageError(
            f"netsplit groups: {', '.join(twice)} is named twice.",
            do="Name each node once. For a node that talks to two sides use the shape bridge, or "
            "leave it out of all groups.",
        )
    if len(parts) < 2 or not all(parts):
        raise UsageError(
            f"netsplit groups: {parts!r} cuts nothing.", do="Give two or more groups of nodes."
        )
    return _between(parts)


def directed(pairs: Iterable[Sequence[str]], nodes: Sequence[str]) -> Cuts:
    """Exactly these cuts. Raises `UsageError` for what is no pair of two known names."""
    cuts = set()
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2 or pair[0] == pair[1]:
            raise UsageError(
                f"netsplit: {pair!r} is no link.", do='Give pairs like ("node-1", "node-2").'
            )
        _require_known(pair, [*nodes, CLIENT])
        cuts.add((pair[0], pair[1]))
    return frozenset(cuts)


def effects(
    cuts: Cuts, links: Iterable[Link], how: Literal["drop", "reject"] = "drop"
) -> dict[Link, tuple[Effect, ...]]:
    """What has to be done to which of `links` for these cuts.

    With `drop`, bytes from a to b vanish on the connections that a opened and, as answers, on
    those that b opened. With `reject`, connections that a opens to b are refused; those that b
    opened to a still work, unless that is cut as well. Nodes open none to `client`, so for
    `reject` a cut towards `client` means nothing. Raises `UsageError` for a cut with no link.
    """
    links = list(links)
    paths = {(link.source, link.node) for link in links}
    for source, node in sorted(cuts):
        if (source, node) not in paths and (node, source) not in paths:
            raise UsageError(
                f"netsplit: there is no link between {source} and {node}.",
                do=f"Known names: {', '.join(sorted({name for path in paths for name in path}))}.",
            )
    wanted: dict[Link, tuple[Effect, ...]] = {}
    for link in links:
        to = (link.source, link.node) in cuts
        back = (link.node, link.source) in cuts
        if how == "reject":
            if to:
                wanted[link] = (Reject(),)
        elif to or back:
            wanted[link] = (Drop("both" if to and back else "to" if to else "from"),)
    return wanted


def _between(parts: Sequence[Sequence[str]]) -> Cuts:
    return frozenset(
        (source, node)
        for part in parts
        for other in parts
        if other is not part
        for source in part
        for node in other
    )


def _unheard(nodes: Sequence[str], heard: Mapping[str, set[str]]) -> Cuts:
    return frozenset(
        (source, node) for node in nodes for source in nodes if source not in heard[node]
    )


def _ring(order: Sequence[str]) -> dict[str, set[str]]:
    count, majority = len(order), len(order) // 2 + 1
    return {
        order[(start + majority // 2) % count]: {
            order[(start + step) % count] for step in range(majority)
        }
        for start in range(count)
    }


def _random_majorities(nodes: Sequence[str], rng: random.Random) -> dict[str, set[str]]:
    majority = len(nodes) // 2 + 1
    heard = {node: {node} for node in nodes}
    while True:
        # Shuffled before the stable sort: who comes first among equals is random.
        order = sorted(_shuffled(nodes, rng), key=lambda node: len(heard[node]))
        first = order[0]
        if len(heard[first]) >= majority:
            return heard
        partner = next(node for node in order if node not in heard[first])
        heard[first].add(partner)
        heard[partner].add(first)


def _shuffled(nodes: Sequence[str], rng: random.Random) -> list[str]:
    order = list(nodes)
    rng.shuffle(order)
    return order


def _require_known(names: Iterable[str], nodes: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in nodes]:
        raise UsageError(
            f"netsplit: there is no node {unknown[0]!r}.", do=f"Nodes: {', '.join(nodes)}."
        )


def _require_size(shape: str, nodes: Sequence[str], least: int) -> None:
    if len(nodes) < least:
        raise UsageError(
            f"netsplit {shape} needs at least {least} nodes, not {len(nodes)}.",
            do="Use a larger cluster or another shape.",
        )
