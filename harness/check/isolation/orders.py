"""Orders beside the data: of each process, of real time, or one that the caller knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness.check.isolation.graph import Builder, Ints, Label
from harness.history import Op

NEVER = np.iinfo(np.int64).max


def add_process_order(builder: Builder, ops: Sequence[Op]) -> None:
    """Each process did its transactions one after the other. O(n log n)."""
    if not ops:
        return
    process = np.array([op.process for op in ops], np.int64)
    order = np.lexsort((np.array([op.index for op in ops], np.int64), process))
    same = process[order[:-1]] == process[order[1:]]
    builder.add(order[:-1][same], order[1:][same], Label.ORDER)


def add_realtime_order(builder: Builder, ops: Sequence[Op]) -> None:
    """What had ended before another began precedes it. O(n log n)."""
    begins = np.array([op.index for op in ops], np.int64)
    ends = np.array([NEVER if op.end_index is None else op.end_index for op in ops], np.int64)
    _precedence(builder, np.arange(len(ops)), begins, ends, Label.ORDER)


def add_given_order(builder: Builder, ops: Sequence[Op], ranks: Mapping[int, float]) -> None:
    """Lower ranks precede higher ones; ops are known by the index of either of their records."""
    ranked = [
        (node, ranks[index])
        for node, op in enumerate(ops)
        for index in {op.index, op.end_index}
        if index is not None and index in ranks
    ]
    nodes = np.array([node for node, _ in ranked], np.int64)
    _, at = np.unique(np.array([rank for _, rank in ranked], float), return_inverse=True)
    at = at.astype(np.int64)
    _precedence(builder, nodes, at, at, Label.GIVEN)


def _precedence(builder: Builder, nodes: Ints, begins: Ints, ends: Ints, label: Label) -> None:
    """Every node precedes those that begin after its end, by way of a chain of barriers: one for
    each run of ends with no beginning in between. O(n) edges instead of one for each pair."""
    ended = ends != NEVER
    who = np.concatenate([nodes, nodes[ended]])
    moments = np.concatenate([begins, ends[ended]])
    is_end = np.arange(len(who)) >= len(nodes)
    # At the same moment, beginnings come first: then nothing precedes itself.
    order = np.lexsort((is_end, moments))
    who, is_end = who[order], is_end[order]
    opens = is_end.copy()
    opens[1:] &= ~is_end[:-1]
    runs = np.cumsum(opens)
    count = int(runs[-1]) if len(runs) else 0
    barrier = builder.new_nodes(count) + runs - 1
    builder.add(who[is_end], barrier[is_end], label)
    begun = ~is_end & (runs > 0)
    builder.add(barrier[begun], who[begun], label)
    if count > 1:
        chain = np.arange(builder.nodes - count, builder.nodes - 1, dtype=np.int64)
        builder.add(chain, chain + 1, label)
