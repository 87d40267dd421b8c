"""How many elements of a stack are surely inside at each moment, while elements are removed."""

from __future__ import annotations

import numpy as np

from harness.check.monitors._codes import Ints

_BLOCK = 512
_NEVER = 1 << 60


class Cover:
    """How many elements are surely inside just before the end of each push.

    Element e covers e+1 up to its reach. In blocks, so that a long cover is lifted in few steps of
    NumPy: O(n / _BLOCK + _BLOCK) machine operations each.
    """

    def __init__(self, reach: Ints, count: int) -> None:
        steps = np.zeros(-(-(count + 1) // _BLOCK) * _BLOCK, dtype=np.int64)
        np.add.at(steps, np.arange(1, count + 1), 1)
        np.subtract.at(steps, reach, 1)
        self.counts = np.cumsum(steps)
        self.count = count
        self.counts[0], self.counts[count:] = _NEVER, _NEVER
        self.lifted = np.zeros(len(self.counts) // _BLOCK, dtype=np.int64)
        self.least = self.counts.reshape(-1, _BLOCK).min(axis=1)

    def open(self) -> list[int]:
        """The gaps at the beginning."""
        gaps = np.flatnonzero(self.counts == 0)
        self.counts[gaps] = _NEVER
        self.least = self.counts.reshape(-1, _BLOCK).min(axis=1)
        return [int(gap) for gap in gaps]

    def lift(self, first: int, beyond: int) -> list[int]:
        """Take one cover away from `first` up to `beyond`; returns the gaps that open."""
        if first >= beyond:
            return []
        low, high = first // _BLOCK, (beyond - 1) // _BLOCK
        if low == high:
            return self._lift_part(low, first, beyond)
        gaps = self._lift_part(low, first, (low + 1) * _BLOCK)
        gaps += self._lift_part(high, high * _BLOCK, beyond)
        if high - low > 1:
            self.lifted[low + 1 : high] += 1
            opened = self.least[low + 1 : high] == self.lifted[low + 1 : high]
            if opened.any():
                for block in np.flatnonzero(opened) + low + 1:
                    gaps += self._take(int(block))
        return gaps

    def _lift_part(self, block: int, first: int, beyond: int) -> list[int]:
        part = self.counts[first:beyond]
        part -= 1
        least = int(part.min())
        if least < self.least[block]:
            self.least[block] = least
            if least == self.lifted[block]:
                return self._take(block)
        return []

    def _take(self, block: int) -> list[int]:
        counts = self.counts[block * _BLOCK : (block + 1) * _BLOCK]
        gaps = np.flatnonzero(counts == self.lifted[block])
        counts[gaps] = _NEVER
        self.least[block] = counts.min()
        return [int(gap) + block * _BLOCK for gap in gaps]
