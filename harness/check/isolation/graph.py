"""Dependencies between transactions as arrays: who precedes whom, and for what reason.

Nodes are numbers. The first are transactions; those after them stand between transactions, so that
"all of these precede all of those" takes as many edges as there are transactions and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Label(IntEnum):
    """Why one precedes the other. Lower ones explain more and are preferred."""

    WW = 0  # it wrote the version before
    WR = 1  # it wrote what the other read
    RW = 2  # it read the version before the one that the other wrote
    GIVEN = 3  # the caller said so
    ORDER = 4  # the same process did it before, or it had ended before the other began
    HUB = 5  # out of a node between: it belongs to the edge that led there


@dataclass(frozen=True)
class Edges:
    """Parallel arrays: `source[i]` precedes `target[i]` because of `label[i]`."""

    source: Ints
    target: Ints
    label: Ints

    def __len__(self) -> int:
        return len(self.source)

    def where(self, chosen: Bools | Ints) -> Edges:
        """The chosen ones: a mask, or places in the order wanted."""
        return Edges(self.source[chosen], self.target[chosen], self.label[chosen])

    def labelled(self, labels: Sequence[Label]) -> Bools:
        """Which have one of the labels."""
        return np.isin(self.label, [int(label) for label in labels])


class Builder:
    """Collects edges between `transactions` and the nodes in between, which it numbers."""

    def __init__(self, transactions: int) -> None:
        self.transactions = transactions
        self.nodes = transactions
        self._parts: list[Edges] = []

    def new_nodes(self, count: int) -> int:
        """Make nodes; returns the first of them."""
        first = self.nodes
        self.nodes += count
        return first

    def add(self, source: Ints, target: Ints, label: Label) -> None:
        """Add edges, without those that lead nowhere."""
        useful = source != target
        source, target = source[useful], target[useful]
        self._parts.append(Edges(source, target, np.full(len(source), int(label), np.int64)))

    def fan(self, sources: Sequence[int], targets: Sequence[int], label: Label) -> None:
        """Every source precedes every target that it is not. O(sources + targets) edges."""
        if len(sources) * len(targets) <= 4 * (len(sources) + len(targets)):
            self.add(
                np.repeat(np.array(sources, np.int64), len(targets)),
                np.tile(np.array(targets, np.int64), len(sources)),
                label,
            )
            return
        # One chain of nodes leads to all targets before a place, another to all after it, so that
        # a source that is a target itself can leave itself out.
        count = len(targets)
        goals = np.array(targets, np.int64)
        up, down = self.new_nodes(count), self.new_nodes(count)
        steps = np.arange(count, dtype=np.int64)
        for first, ahead in ((up, 1), (down, -1)):
            self.add(first + steps, goals, Label.HUB)
            chain = steps[:-1] if ahead == 1 else steps[1:]
            self.add(first + chain, first + chain + ahead, Label.HUB)
        place_of = {target: place for place, target in enumerate(targets)}
        begins: list[tuple[int, int]] = []
        for source in sources:
            place = place_of.get(source)
            if place is None:
                begins.append((source, up))
                continue
            if place + 1 < count:
                begins.append((source, up + place + 1))
            if place > 0:
                begins.append((source, down + place - 1))
        pairs = np.array(begins, np.int64).reshape(-1, 2)
        self.add(pairs[:, 0], pairs[:, 1], label)

    @property
    def count(self) -> int:
        """How many edges were added."""
        return sum(len(part) for part in self._parts)

    def edges(self) -> Edges:
        """All that were added."""
        if not self._parts:
            nothing = np.empty(0, np.int64)
            return Edges(nothing, nothing, nothing)
        return Edges(
            np.concatenate([part.source for part in self._parts]),
            np.concatenate([part.target for part in self._parts]),
            np.concatenate([part.label for part in self._parts]),
        )


def components(edges: Edges, nodes: int) -> Ints:
    """The strongly connected component of each node, as a number. O(nodes + edges): Pearce (2005),
    as SciPy has it."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    weights = np.ones(len(edges), np.int8)
    matrix = csr_matrix((weights, (edges.source, edges.target)), shape=(nodes, nodes))
    # Sums of repeated edges may overflow to 0, which would be no edge any more.
    matrix.data[:] = 1
    _, labels = connected_components(matrix, directed=True, connection="strong")
    return np.asarray(labels, np.int64)


def in_cycles(edges: Edges, nodes: int) -> Bools:
    """Which edges lie on a cycle of these edges."""
    component = components(edges, nodes)
    inside: Bools = component[edges.source] == component[edges.target]
    return inside
