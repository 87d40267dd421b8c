"""Cycles of dependencies: which kinds there are, decided exactly and without listing any.

A cycle lies within a strongly connected component, so each kind is a question to components of the
right edges (Adya, 1999; Kingsbury and Alvaro, 2020):

- G0: a ww edge within a component of ww;
- G1c: a wr edge within one of ww and wr;
- G-single: an rw edge whose end reaches its beginning over ww and wr;
- G-nonadjacent: an rw edge within a component of the product of the graph with "the last edge was
  rw", where no rw follows another (the way round may pass a transaction twice, but only where there
  is a G0 or a G1c as well);
- G2-item: an rw edge within a component of all.

Each is asked again with the order of processes or of real time added. As in Elle, a component of
the whole graph that shows a kind is not asked for those that this one implies; and it is asked for
cycles with order edges only where they would rule out a model that is not ruled out already.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from harness.check.budget import Budget
from harness.check.isolation.anomalies import CYCLES, implying
from harness.check.isolation.graph import Bools, Edges, Ints, Label, components, in_cycles
from harness.check.isolation.models import ruled_out
from harness.check.isolation.reach import reached

BASE = (Label.GIVEN, Label.HUB)
NEEDED = {
    "G0": Label.WW,
    "G1c": Label.WR,
    "G-single-item": Label.RW,
    "G-nonadjacent-item": Label.RW,
    "G2-item": Label.RW,
}
"""The edge that makes a cycle one of that kind."""

ALLOWED = {
    "G0": (Label.WW, *BASE),
    "G1c": (Label.WW, Label.WR, *BASE),
    "G-single-item": (Label.WW, Label.WR, *BASE),
    "G-nonadjacent-item": (Label.WW, Label.WR, Label.RW, *BASE),
    "G2-item": (Label.WW, Label.WR, Label.RW, *BASE),
}
"""The edges that lead back from its end to its beginning."""

_SEARCHED = 9  # bytes for each edge, to find components


@dataclass
class Tangles:
    """The part of a graph that lies on cycles: `names[i]` is what node i is called in the whole
    graph, `whole[i]` its component there. `found` holds, of each kind, the needed edges (places in
    `edges`) that are on such a cycle; for some kinds not all, but one of each component."""

    edges: Edges
    names: Ints
    whole: Ints
    found: dict[str, Ints] = field(default_factory=dict)

    @property
    def nodes(self) -> int:
        return len(self.names)


def tangles(edges: Edges, nodes: int, budget: Budget) -> Tangles:
    """Leave out what lies on no cycle. O(nodes + edges).

    Components take some 0.1 µs for each node and edge, a small part of what it took to infer them:
    so it is enough to look at the budget before and after.
    """
    budget.reserve(_SEARCHED * len(edges))
    component = components(edges, nodes)
    budget.demand()
    inside = edges.where(component[edges.source] == component[edges.target])
    names = np.unique(np.concatenate([inside.source, inside.target]))
    renamed = Edges(
        np.searchsorted(names, inside.source), np.searchsorted(names, inside.target), inside.label
    )
    _, whole = np.unique(component[names], return_inverse=True)
    return Tangles(_best_reasons(renamed, len(names)), names, whole.astype(np.int64))


def search(tangled: Tangles, variant: str, others: Collection[str], budget: Budget) -> None:
    """Fill in `found`, for plain cycles and those of `variant` ("", "-process", "-realtime").

    `others` are anomalies that were found by other means. What was found before the budget ran out
    (`OverBudgetError`) stays.
    """
    if not tangled.nodes:
        return
    shown: dict[str, Bools] = {}
    count = int(tangled.whole.max()) + 1
    for suffix in ("", variant) if variant else ("",):
        for kind in CYCLES:
            budget.demand()
            skip = np.zeros(count, np.bool_)
            for graver in implying([kind + suffix]) & shown.keys():
                skip |= shown[graver]
            if suffix:
                skip |= _settled(kind + suffix, shown, others, count)
            if skip.all():
                continue
            chosen = tangled.edges.where(~skip[tangled.whole[tangled.edges.source]])
            back = np.flatnonzero(~skip[tangled.whole[tangled.edges.source]])
            hits = _edges_of(kind, suffix, chosen, tangled, budget)
            if len(hits):
                tangled.found[kind + suffix] = back[hits]
                shown[kind + suffix] = np.zeros(count, np.bool_)
                shown[kind + suffix][tangled.whole[chosen.source[hits]]] = True


def last_was_rw(edges: Edges, nodes: int) -> tuple[Edges, Ints]:
    """The product of the graph with whether the last edge was rw, and the edge that each of its
    edges comes from. Node i is i after another edge and i + nodes after an rw edge, after which
    there can be no other."""
    rw = edges.label == Label.RW
    hub = edges.label == Label.HUB
    parts = [
        # (chosen, whether it was rw before, whether it is after)
        (~rw, 0, 0),
        (~rw & ~hub, 1, 0),
        (hub, 1, 1),
        (rw, 0, 1),
    ]
    origin = np.concatenate([np.flatnonzero(chosen) for chosen, _, _ in parts])
    source = [edges.source[chosen] + nodes * before for chosen, before, _ in parts]
    target = [edges.target[chosen] + nodes * after for chosen, _, after in parts]
    product = Edges(np.concatenate(source), np.concatenate(target), edges.label[origin])
    return product, origin


def _edges_of(kind: str, suffix: str, edges: Edges, tangled: Tangles, budget: Budget) -> Ints:
    """Places in `edges` of needed edges on a cycle of that kind."""
    allowed = ALLOWED[kind] + ((Label.ORDER,) if suffix else ())
    needed = edges.label == NEEDED[kind]
    nodes = tangled.nodes
    if kind == "G-nonadjacent-item":
        usable = np.flatnonzero(edges.labelled(allowed))
        product, origin = last_was_rw(edges.where(edges.labelled(allowed)), nodes)
        on_cycle = in_cycles(product, 2 * nodes) & (product.label == Label.RW)
        return np.asarray(usable[origin[on_cycle]], np.int64)
    if kind == "G-single-item":
        places = np.flatnonzero(needed)
        start, goal = edges.target[places], edges.source[places]
        way_back = edges.where(edges.labelled(allowed))
        left = set(np.unique(tangled.whole[start]).tolist())
        hits = []
        for pair in reached(way_back, nodes, start, goal, budget):
            # (One of each component is enough, and more make the shortest cycle shorter.)
            hits.append(pair)
            left.discard(int(tangled.whole[start[pair]]))
            if not left:
                break
        return places[np.array(hits, np.int64)]
    usable = np.flatnonzero(edges.labelled(allowed))
    subset = edges.where(edges.labelled(allowed))
    return np.asarray(usable[in_cycles(subset, nodes) & needed[usable]], np.int64)


def _settled(kind: str, shown: dict[str, Bools], others: Collection[str], count: int) -> Bools:
    """The components where `kind` would rule out nothing new."""
    mask = np.zeros(count, np.int64)
    names = list(shown)
    for place, name in enumerate(names):
        mask |= shown[name].astype(np.int64) << place
    distinct, member = np.unique(mask, return_inverse=True)
    would = ruled_out([kind])
    settled = [
        would <= ruled_out([*others, *(n for place, n in enumerate(names) if bits >> place & 1)])
        for bits in distinct.tolist()
    ]
    return np.array(settled, np.bool_)[member]


def _best_reasons(edges: Edges, nodes: int) -> Edges:
    """Of edges between the same two nodes, the one that explains most: who read a version and then
    replaced it by another is no anti-dependency if it had written it as well."""
    if not len(edges):
        return edges
    order = np.lexsort((edges.label, edges.source * nodes + edges.target))
    ordered = edges.where(order)
    first = np.ones(len(ordered), np.bool_)
    first[1:] = (ordered.source[1:] != ordered.source[:-1]) | (
        ordered.target[1:] != ordered.target[:-1]
    )
    # An order edge beside one from the data stays: a cycle may be called after it.
    return ordered.where(first | (ordered.label == Label.ORDER))
