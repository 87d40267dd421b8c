"""Orders of blocks, and how refused compare-and-sets fit into them (see `refusals`)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.check.budget import Budget
from harness.check.monitors._blocks import Chained, zones
from harness.check.monitors._codes import Ints

Floats: TypeAlias = NDArray[np.float64]
_Moves: TypeAlias = list[tuple[int, float]]  # blocks and their new moments

_FAR = 1 << 60  # the end of a pending write that stands alone
_NEIGHBOURS = 1000  # blocks that are looked through for one that can be moved
_ROWS_BETWEEN_LOOKS = 10_000


@dataclass
class Refused:
    """The refused ops: the group whose value each expected, and when."""

    groups: Ints
    starts: Ints
    ends: Ints
    places: Ints

    @classmethod
    def of(
        cls, refused: Sequence[tuple[int, int]], group_of: Ints, starts: Ints, ends: Ints
    ) -> Refused:
        """Those whose value was there at some time; the others were refused rightly."""
        places, values = np.array(refused, dtype=np.int64).T
        groups = group_of[values]
        there = groups >= 0
        places = places[there]
        return cls(groups[there], starts[places], ends[places], places)


def with_writes(
    slots: tuple[Ints, Ints], chained: Chained, writes: Ints
) -> tuple[tuple[Ints, Ints], Chained]:
    """The same with pending writes as blocks of their own."""
    last_start, first_end = slots
    more, count, blocks = len(writes), len(chained.order), len(chained.heads)
    starts, ends = np.full(2 * more, -3), np.full(2 * more, _FAR)
    starts[::2] = writes
    wider = Chained(
        np.append(chained.order, count + np.arange(more)),
        np.append(chained.block, blocks + np.arange(more)),
        np.append(chained.heads, count + np.arange(more)),
    )
    return (np.append(last_start, starts), np.append(first_end, ends)), wider


class Layout:
    """Where each block stands.

    A forward zone has its place; a backward block may stand at any moment of its zone that is in no
    forward one, and stands as early as it can at first. Moments are floats, as there is always room
    between two records for one more block.
    """

    def __init__(self, chained: Chained, slots: tuple[Ints, Ints]) -> None:
        self.chained = chained
        self.first, self.last = zones(chained, *slots)
        self.block_of = np.empty_like(chained.order)
        self.block_of[chained.order] = chained.block
        self.begins = slots[0][2 * chained.order[chained.heads]]
        self.forward = self.first < self.last
        self.zones = np.flatnonzero(self.forward)
        self.zones = self.zones[np.argsort(self.first[self.zones], kind="stable")]
        self.moments = self._outside(self.last.astype(np.float64))
        self.moments[self.zones] = self.first[self.zones]
        others = np.flatnonzero(~self.forward)
        self.others = others[np.argsort(self.last[others], kind="stable")]
        self.stream = random.Random(0)

    def order(self) -> Ints:
        """The groups in the order of their blocks."""
        return self.chained.order[np.argsort(self.moments[self.chained.block], kind="stable")]

    def make_room(self, refused: Refused, blocked: list[int]) -> bool:
        """Move blocks so that blocked ops may fit. False if nothing can be moved for any."""
        moved = False
        handled: set[int] = set()
        by_moment = np.argsort(self.moments, kind="stable")
        places = np.empty_like(by_moment)
        places[by_moment] = np.arange(len(by_moment))
        for row in blocked:
            own = int(self.block_of[refused.groups[row]])
            if own in handled:
                continue
            handled.add(own)
            after = by_moment[places[own] + 1 : places[own] + 1 + _NEIGHBOURS]
            ways = [
                self._value_later(own, float(refused.starts[row])),
                self._another_between(own),
                self._others_later(after, int(refused.ends[row])),
            ]
            ways = [way for way in ways if way]
            for block, moment in self.stream.choice(ways) if ways else ():
                self.moments[block] = moment
                moved = True
        return moved

    def _value_later(self, own: int, start: float) -> _Moves:
        """The value is written only after the refused op began."""
        if self.forward[own] or self.moments[own] >= start:
            return []
        moment = float(self._outside(np.array([start]))[0])
        return [(own, moment)] if moment <= self.first[own] else []

    def _another_between(self, own: int) -> _Moves:
        """A block that stands before the value comes right after it."""
        anchor = float(self.last[own] if self.forward[own] else self.moments[own])
        end = int(np.searchsorted(self.last[self.others], anchor, side="right"))
        near = self.others[max(end - _NEIGHBOURS, 0) : end]
        near = near[(self.first[near] > anchor) & (self.moments[near] <= anchor) & (near != own)]
        return [(self.stream.choice(near), np.nextafter(anchor, np.inf))] if len(near) else []

    def _others_later(self, after: Ints, end: int) -> _Moves:
        """What stands between the value and a write that began in time goes behind that write."""
        moved: list[int] = []
        for block in after.tolist():
            if self.begins[block] < end:
                target = float(self.last[block] if self.forward[block] else self.moments[block])
                if all(self.first[other] > target for other in moved):
                    return [(other, np.nextafter(target, np.inf)) for other in moved]
                return []
            if self.forward[block]:
                return []
            moved.append(block)
        return []

    def _outside(self, moments: Floats) -> Floats:
        """The first moments from these on that are inside no forward zone."""
        if not len(self.zones):
            return moments
        around = np.searchsorted(self.first[self.zones], moments) - 1
        zone = self.zones[np.maximum(around, 0)]
        return np.where((around >= 0) & (self.last[zone] > moments), self.last[zone], moments)


class Fit:
    """Where refused ops may stand in an order of the groups.

    Place 2p is before the p-th slot of the order, 2p+1 among the readers in it. Those of the own
    value are the four from behind its writer to before the next one.
    """

    def __init__(self, refused: Refused, order: Ints, slots: tuple[Ints, Ints]) -> None:
        sequence = np.repeat(2 * order, 2)
        sequence[1::2] += 1
        begun = np.maximum.accumulate(np.append(-4, slots[0][sequence]))
        ended = np.append(slots[1][sequence], np.iinfo(np.int64).max)
        to_end = np.minimum.accumulate(ended[::-1])[::-1]
        lows = np.searchsorted(to_end, refused.starts, side="right")
        highs = np.searchsorted(begun, refused.ends) - 1
        among = lows > highs
        self.refused = refused
        self.lows = np.where(among, 2 * highs + 1, 2 * lows)
        self.highs = np.where(among, 2 * highs + 1, 2 * highs)
        at = np.empty_like(order)
        at[order] = np.arange(len(order))
        self.writers = 4 * at[refused.groups]

    def blocked(self) -> list[int]:
        """The refused ops for which there is no place at all."""
        nowhere = (self.lows > self.writers) & (self.highs <= self.writers + 4)
        found: list[int] = np.flatnonzero(nowhere).tolist()
        return found

    def out_of_turn(self, budget: Budget) -> list[int]:
        """The ops that have no place behind the refused ones that ended before, and those in turn.

        If there are none, all refused ops together have places that follow real time.
        """
        starts, ends = self.refused.starts.tolist(), self.refused.ends.tolist()
        lows, highs, writers = self.lows.tolist(), self.highs.tolist(), self.writers.tolist()
        taken = [0] * len(lows)
        by_end = np.argsort(self.refused.ends, kind="stable").tolist()
        done, reached, furthest = 0, 0, -1
        trouble = []
        for number, row in enumerate(np.argsort(self.refused.starts, kind="stable").tolist()):
            if number % _ROWS_BETWEEN_LOOKS == 0:
                budget.demand()
            while ends[by_end[done]] < starts[row]:
                if taken[by_end[done]] > reached:
                    reached, furthest = taken[by_end[done]], by_end[done]
                done += 1
            place = max(lows[row], reached)
            if writers[row] < place <= writers[row] + 4:
                place = writers[row] + 6
            if place > highs[row]:
                trouble += [row, furthest]
                place = highs[row]
            taken[row] = place
        return trouble
