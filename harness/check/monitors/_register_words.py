"""Why the ops of a register have no legal order, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.check.monitors._codes import Ints
from harness.check.monitors._judgement import Judgement, illegal, told
from harness.history import Op, hashable

_SHOWN = 5  # ops of a longer loop


def unwritten(ops: Sequence[Op], place: int) -> Judgement:
    """A value was seen that no op can have written."""
    op = ops[place]
    value = hashable(_seen(op))
    for other in ops:
        if other.outcome == "fail" and other.f != "read" and hashable(_left(other)) == value:
            sentence = f"{told(op)}, but the only op that ever wrote {value!r} had failed."
            return illegal("failed-write-read", sentence, [other, op])
    return illegal("never-written", f"{told(op)}, but nobody ever wrote {value!r}.", [op])


class Teller:
    """Finds the ops behind slots, starts and ends, and says what is wrong with them."""

    def __init__(
        self,
        ops: Sequence[Op],
        places: Ints,
        starts: Ints,
        ends: Ints,
        writers: Ints,
        group_seen: Ints,
    ) -> None:
        self.ops = ops
        self.places = places
        self.starts = starts
        self.ends = ends
        self.writers = writers
        self.group_seen = group_seen

    def replaced_twice(self, group: int) -> Judgement:
        """Two compare-and-sets replaced the one value of a group."""
        rows = self.writers[self.group_seen[self.writers] == group][:2]
        one, other = (self.ops[self.places[row]] for row in rows)
        writer = self._writer(group)
        sentence = (
            f"{told(one)} and {told(other)}, but {one.value[0]!r} was there only once: "
            "an update is lost."
        )
        return illegal("lost-update", sentence, [writer, one, other])

    def looped(self, groups: Ints) -> Judgement:
        """Compare-and-sets that each need the value that the next one leaves."""
        group = int(groups[0])
        loop: list[Op] = []
        for _ in range(len(groups)):  # (from wherever a chain enters the loop, into it)
            group = int(self.group_seen[self.writers[group - 1]])
        first = group
        while not loop or (group != first and len(loop) < _SHOWN):
            loop.append(self.ops[self.places[self.writers[group - 1]]])
            group = int(self.group_seen[self.writers[group - 1]])
        value = loop[0].value[0]
        sentence = f"{told(loop[0])}, but {value!r} can only have come from what it wrote itself."
        return illegal("order-cycle", sentence, loop)

    def disorder(self, earlier: int, start: int, later: int, end: int) -> Judgement:
        """An op of the earlier slot of a block began after one of the later slot had ended."""
        first, second = self._starting(start), self._ending(end)
        assert second is not None  # (the initial value's group has nothing before it)
        if earlier % 2 == 0:
            sentence = (
                f"{told(second)}, but it takes {_left(first)!r} to come to that, and nobody had "
                f"begun to write it: {told(first)}."
            )
            return illegal("read-before-write", sentence, [second, first])
        value = _seen(first) if first.f == "read" else _left(first)
        writer = self._writer(later // 2)
        last = "" if writer is None or writer is second else f" ({told(writer)})"
        sentence = (
            f"{told(first)}, but {told(second)}, and {value!r} had been replaced by then{last}, "
            "since each value was written only once."
        )
        kind = "stale-read" if first.f == "read" else "order-cycle"
        return illegal(kind, sentence, [first, second, writer])

    def clash(self, one: tuple[int, int, int], other: tuple[int, int, int]) -> Judgement:
        """Two blocks, as (block, first end, last start): each must come before the other."""
        _, old_end, old_start = one
        _, new_end, new_start = other
        if old_start < new_start:  # whose op began last is the one that came back
            old_end, old_start, new_end, new_start = new_end, new_start, old_end, old_start
        before, back = self._ending(old_end), self._starting(old_start)
        proof, between = self._starting(new_start), self._ending(new_end)
        since = "it was there at the beginning" if before is None else told(before)
        value = _seen(back) if back.f in ("read", "cas") else _left(back)
        sentence = (
            f"{told(back)}, but {'' if between is None else told(between)}, which came after "
            f"{value!r} ({since}; then {told(proof)}), and nobody wrote {value!r} again."
        )
        kind = "stale-read" if back.f == "read" else "order-cycle"
        return illegal(kind, sentence, [before, proof, between, back])

    def still_there(self, place: int, settled: int, held: int) -> Judgement:
        """A compare-and-set was refused though its value was seen before and after."""
        op, before, after = self.ops[place], self._ending(settled), self._starting(held)
        since = "from the beginning" if before is None else f"as {told(before)}"
        sentence = f"{_refused(op)} it was: {since}, and {told(after)}."
        return illegal("refused-though-there", sentence, [before, op, after])

    def never_replaced(self, place: int, settled: int) -> Judgement:
        """A compare-and-set was refused though no write can have replaced its value by then."""
        op, before = self.ops[place], self._ending(settled)
        since = "from the beginning" if before is None else f"as {told(before)}"
        sentence = f"{_refused(op)} it was: {since}, and nothing can have replaced it by then."
        return illegal("refused-though-there", sentence, [before, op])

    def _writer(self, group: int) -> Op | None:
        return self.ops[self.places[self.writers[group - 1]]] if group else None

    def _starting(self, start: int) -> Op:
        return self.ops[int(self.places[np.flatnonzero(self.starts == start)[0]])]

    def _ending(self, end: int) -> Op | None:
        rows = np.flatnonzero(self.ends == end)
        return self.ops[int(self.places[rows[0]])] if len(rows) else None


def _refused(op: Op) -> str:
    return f"{told(op)} because {op.value[0]!r} was not there, but"


def _seen(op: Op) -> object:
    return op.result if op.f == "read" else op.value[0]


def _left(op: Op) -> object:
    return op.value[1] if op.f == "cas" else op.value
