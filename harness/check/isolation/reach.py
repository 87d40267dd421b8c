"""Which of many pairs of nodes are joined by a path: all at once, in order of the nodes."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np

from harness.check.budget import Budget
from harness.check.isolation.graph import Edges, Ints, components

_TOGETHER = 2048
"""Pairs that share a sweep: each is a bit of an integer, so that a node's work is the same for one
pair as for this many."""

_ROUNDS = 4096  # nodes between two looks at the budget


def reached(edges: Edges, nodes: int, start: Ints, goal: Ints, budget: Budget) -> Iterator[int]:
    """The places of those pairs whose goal can be reached from their start over `edges`.

    The nodes are put in an order that all edges between different components follow, as near to
    the order of their numbers as it can be: numbers are given in order of time, so most goals lie
    before their start, which settles it, or shortly after it. O(edges · pairs / 2048) steps at
    worst; where all is near, O(edges + pairs).
    """
    component = components(edges, nodes)
    place, leads_to = _in_order(edges, component, budget)
    begin, end = place[component[start]], place[component[goal]]
    yield from np.flatnonzero(begin == end).tolist()
    pairs = np.flatnonzero(begin < end)
    pairs = pairs[np.argsort(begin[pairs], kind="stable")]
    for first in range(0, len(pairs), _TOGETHER):
        together = pairs[first : first + _TOGETHER]
        starts: dict[int, int] = {}
        goals: dict[int, list[tuple[int, int]]] = {}
        for bit, pair in enumerate(together.tolist()):
            at = int(begin[pair])
            starts[at] = starts.get(at, 0) | 1 << bit
            goals.setdefault(int(end[pair]), []).append((bit, pair))
        last = max(goals)
        waiting = starts
        for count, at in enumerate(range(int(begin[together[0]]), last + 1)):
            if not count % _ROUNDS:
                budget.demand()
            mask = waiting.pop(at, 0)
            if not mask:
                continue
            for bit, pair in goals.get(at, ()):
                if mask >> bit & 1:
                    yield pair
            for onward in leads_to[at]:
                if onward <= last:
                    waiting[onward] = waiting.get(onward, 0) | mask


def _in_order(edges: Edges, component: Ints, budget: Budget) -> tuple[Ints, list[list[int]]]:
    """The place of each component, and the places that each place leads to (Kahn's algorithm, the
    earliest node first)."""
    count = int(component.max()) + 1 if len(component) else 0
    earliest = np.full(count, len(component), np.int64)
    np.minimum.at(earliest, component, np.arange(len(component)))
    source, target = component[edges.source], component[edges.target]
    between = source != target
    source, target = source[between], target[between]
    order = np.argsort(source, kind="stable")
    bounds = np.searchsorted(source[order], np.arange(count + 1)).tolist()
    targets = target[order].tolist()
    missing = np.bincount(target, minlength=count).tolist()
    ranks = earliest.tolist()
    ready = [(ranks[c], c) for c in range(count) if not missing[c]]
    heapq.heapify(ready)
    place = [0] * count
    placed: list[int] = []
    while ready:
        if not len(placed) % _ROUNDS:
            budget.demand()
        _, current = heapq.heappop(ready)
        place[current] = len(placed)
        placed.append(current)
        for onward in targets[bounds[current] : bounds[current + 1]]:
            missing[onward] -= 1
            if not missing[onward]:
                heapq.heappush(ready, (ranks[onward], onward))
    leads_to = [[place[onward] for onward in targets[bounds[c] : bounds[c + 1]]] for c in placed]
    return np.array(place, np.int64), leads_to
