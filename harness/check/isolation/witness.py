"""A shortest cycle of a kind: what people are shown."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from harness.check.isolation.cycles import ALLOWED, NEEDED, Tangles, last_was_rw
from harness.check.isolation.graph import Edges, Ints, Label

_TRIED = 100
"""Needed edges through which a shortest cycle is sought: one through another might be shorter."""

_VISITED = 200_000
"""Nodes that all the searches may visit, some 0.5 s. One search is always finished."""


def shortest_cycle(tangled: Tangles, kind: str, transactions: int) -> list[tuple[int, int, Label]]:
    """The steps `(a, b, why a precedes b)` of a cycle of a kind that was found, each between two
    transactions: the shortest through any of the edges that were tried. Breadth first,
    O(nodes + edges) for each."""
    plain, dash, suffix = kind.rpartition("-")
    if suffix not in ("process", "realtime"):
        plain, dash, suffix = kind, "", ""
    allowed = ALLOWED[plain] + ((Label.ORDER,) if dash else ())
    edges = tangled.edges
    tried = _candidates(tangled, tangled.found[kind], NEEDED[plain])
    near = np.zeros(int(tangled.whole.max()) + 1, np.bool_)
    near[tangled.whole[edges.source[tried]]] = True
    way_back = edges.where(edges.labelled(allowed) & near[tangled.whole[edges.source]])
    nodes = tangled.nodes
    again = plain == "G-nonadjacent-item"
    if again:
        way_back, _ = last_was_rw(way_back, nodes)
    is_transaction = (tangled.names < transactions).tolist() * 2
    follow = _follower(way_back, 2 * nodes)
    best: list[tuple[int, int, Label]] = []
    visits = 0
    for place in tried:
        source, target = int(edges.source[place]), int(edges.target[place])
        start = target + nodes if again else target
        path, visited = _path(follow, is_transaction, start, source)
        visits += visited
        if path is None:
            continue
        steps = [(source, target, Label(int(edges.label[place])))]
        steps += [(a % nodes, b % nodes, label) for a, b, label in path]
        cycle = _between_transactions(tangled.names, steps, transactions)
        # A way back that is not simple shows the kind as well, but reads badly.
        simple = len({a for a, _, _ in cycle}) == len(cycle)
        if not best or (simple and len(cycle) < len(best)):
            best = cycle
        if len(best) == 2 or visits > _VISITED:
            break
    earliest = min(range(len(best)), key=lambda place: best[place][0])
    return best[earliest:] + best[:earliest]


def _candidates(tangled: Tangles, hits: Ints, needed: Label) -> list[int]:
    """The edges that were found and others that may be on such a cycle too, those of the smallest
    knot first: its cycles are short, and searching it is quick."""
    edges, whole = tangled.edges, tangled.whole
    knots = np.zeros(int(whole.max()) + 1, np.bool_)
    knots[whole[edges.source[hits]]] = True
    places = np.flatnonzero(knots[whole[edges.source]] & (edges.label == needed))
    sizes = np.bincount(whole)[whole[edges.source[places]]]
    order = np.lexsort((~np.isin(places, hits), sizes))
    return [int(place) for place in places[order][:_TRIED]]


def _follower(edges: Edges, nodes: int) -> Callable[[int], list[tuple[int, int]]]:
    """Where each node leads to."""
    order = np.argsort(edges.source, kind="stable")
    bounds = np.searchsorted(edges.source[order], np.arange(nodes + 1)).tolist()
    ahead = list(zip(edges.target[order].tolist(), edges.label[order].tolist(), strict=True))

    def follow(node: int) -> list[tuple[int, int]]:
        return ahead[bounds[node] : bounds[node + 1]]

    return follow


def _path(
    follow: Callable[[int], list[tuple[int, int]]],
    is_transaction: list[bool],
    start: int,
    goal: int,
) -> tuple[list[tuple[int, int, Label]] | None, int]:
    """A path through as few transactions as possible, and how many nodes were visited: steps to
    nodes in between cost nothing."""
    came: dict[int, tuple[int, int]] = {}
    done: set[int] = set()
    cost = {start: 0}
    ahead = deque([start])
    while ahead:
        node = ahead.popleft()
        if node in done:
            continue
        done.add(node)
        if node == goal:
            break
        for onward, label in follow(node):
            price = cost[node] + is_transaction[onward]
            if onward not in cost or price < cost[onward]:
                cost[onward] = price
                came[onward] = (node, label)
                (ahead.append if is_transaction[onward] else ahead.appendleft)(onward)
    if goal not in done:
        return None, len(done)
    steps: list[tuple[int, int, Label]] = []
    node = goal
    while node != start:
        before, label = came[node]
        steps.append((before, node, Label(label)))
        node = before
    return steps[::-1], len(done)


def _between_transactions(
    names: Ints, steps: list[tuple[int, int, Label]], transactions: int
) -> list[tuple[int, int, Label]]:
    """Steps through nodes in between as one step, for the reason that led there."""
    cycle: list[tuple[int, int, Label]] = []
    named = [(int(names[a]), int(names[b]), label) for a, b, label in steps]
    begin = next((place for place, (a, _, _) in enumerate(named) if a < transactions), 0)
    came: tuple[int, Label] | None = None
    for a, b, label in named[begin:] + named[:begin]:
        if came is None:
            came = (a, label)
        if b < transactions:
            cycle.append((came[0], b, came[1]))
            came = None
    return cycle
