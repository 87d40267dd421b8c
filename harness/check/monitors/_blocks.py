"""The order of groups within blocks, and of blocks among each other, in arrays.

A group is a value with its writer (slot 2g) and readers (slot 2g+1); a block is a chain of groups.
What the tests here mean is told in `registers`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.check.monitors._codes import Ints


@dataclass
class Chained:
    """Groups in the order of their blocks.

    `order` lists the groups block by block, each block in its inner order; `block` is the block of
    each group in that order, from 0 up, and `heads` where each block begins. `looped` holds groups
    whose chain never begins, if there are any; then nothing else counts.
    """

    order: Ints
    block: Ints
    heads: Ints
    looped: Ints | None = None


def chain(parents: Ints) -> Chained:
    """Chains of groups: `parents` is the group whose value each writer replaced, -1 for none.

    Pointers are doubled, so a chain of any length takes O(log n) steps of O(n).
    """
    count = len(parents)
    groups = np.arange(count)
    if not np.any(parents >= 0):
        return Chained(groups, groups, groups)
    up = np.where(parents < 0, groups, parents)
    depth = (parents >= 0).astype(np.int64)
    for _ in range(count.bit_length() + 1):
        further = up[up]
        if np.array_equal(further, up):
            break
        depth += depth[up]
        up = further
    looped = np.flatnonzero(parents[up] >= 0)
    if len(looped):
        return Chained(groups, groups, groups, looped)
    order = np.lexsort((depth, up))
    roots = up[order]
    begins = np.concatenate(([True], roots[1:] != roots[:-1]))
    return Chained(order, np.cumsum(begins) - 1, np.flatnonzero(begins))


def disorder(
    chained: Chained, last_start: Ints, first_end: Ints, infinity: int
) -> tuple[int, int, int, int] | None:
    """Two slots of a block that real time puts the other way round.

    Returns (earlier slot, its start, later slot, its end), where the earlier one in the block began
    after the later one had ended.
    """
    slots = _by_slot(chained.order)
    starts, ends = last_start[slots], first_end[slots]
    span = infinity + 4
    base = np.repeat(chained.block, 2) * span
    # The greatest start so far within the block, before each slot.
    reached = np.maximum.accumulate(base + starts + 3)
    before = np.concatenate(([0], reached[:-1]))
    wrong = np.flatnonzero((before >= base) & (before - base - 3 > ends))
    if not len(wrong):
        return None
    at = int(wrong[0])
    start = int(before[at] - base[at] - 3)
    earlier = int(np.flatnonzero((starts == start) & (base == base[at]))[0])
    return int(slots[earlier]), start, int(slots[at]), int(ends[at])


def clash(
    chained: Chained, last_start: Ints, first_end: Ints
) -> tuple[tuple[int, int, int], tuple[int, int, int]] | None:
    """Two blocks that must each come before the other, as (block, first end, last start)."""
    first, last = zones(chained, last_start, first_end)
    forward = np.flatnonzero(first < last)
    forward = forward[np.argsort(first[forward], kind="stable")]
    if not len(forward):
        return None
    begins, reach = first[forward], np.maximum.accumulate(last[forward])
    overlapping = np.flatnonzero(reach[:-1] > begins[1:])
    if len(overlapping):
        at = int(overlapping[0])  # (all zones before this one are disjoint: `at` itself reaches)
        return _zone(first, last, forward[at]), _zone(first, last, forward[at + 1])
    backward = np.flatnonzero(first >= last)
    around = np.searchsorted(begins, last[backward]) - 1
    inside = np.flatnonzero((around >= 0) & (last[forward[around]] > first[backward]))
    if not len(inside):
        return None
    at = int(inside[0])
    return _zone(first, last, forward[around[at]]), _zone(first, last, backward[at])


def zones(chained: Chained, last_start: Ints, first_end: Ints) -> tuple[Ints, Ints]:
    """The first end and the last start of each block."""
    slots, heads = _by_slot(chained.order), 2 * chained.heads
    first: Ints = np.minimum.reduceat(first_end[slots], heads)
    last: Ints = np.maximum.reduceat(last_start[slots], heads)
    return first, last


def _by_slot(order: Ints) -> Ints:
    slots = np.repeat(2 * order, 2)
    slots[1::2] += 1
    return slots


def _zone(first: Ints, last: Ints, block: int) -> tuple[int, int, int]:
    return int(block), int(first[block]), int(last[block])
