"""Monitors: linearizability in polynomial time where values are unambiguous.

A search has to try orders. Where every value was written, enqueued, pushed or added only once, one
knows which op each other op saw, and a handful of patterns decides. What applies to which model:

- `register`, `cas-register` (`registers`, `refusals`): zones, O(n log n);
- `fifo-queue`, `unordered-queue` (`queues`): patterns of pairs and covers, O(n log n);
- `stack` (`stacks`): elements taken off from the outside in, near O(n log n);
- `set` (`sets`): each element for itself, O(n).

They agree with the search, to which whatever they do not cover is left. Importing a monitor imports
NumPy, so `decide` does it when it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.check.budget import Budget
from harness.check.monitors._judgement import Judgement
from harness.history import Op

if TYPE_CHECKING:
    from harness.check.models import Model

__all__ = ["Judgement", "decide"]


def decide(model: Model, ops: Sequence[Op], budget: Budget) -> Judgement | None:
    """Judge the ops of one object, given in order of invocation and spelled as the model does.

    None means that no monitor applies: the model is another one, the ops are ambiguous, or there is
    one that the model does not know. Models are told apart by `name`; the times that count are
    `index` and `end_index`. Raises `OverBudgetError` when `budget` is spent.
    """
    name, initial = model.name, model.initial
    if name in ("register", "cas-register"):
        from harness.check.monitors import registers

        compares = name == "cas-register"
        heeded = bool(getattr(model, "mismatches", True))
        return registers.judge(ops, initial, budget, compares=compares, mismatches=heeded)
    if name in ("fifo-queue", "unordered-queue"):
        from harness.check.monitors import queues

        return queues.judge(ops, initial, budget, ordered=name == "fifo-queue")
    if name == "stack":
        from harness.check.monitors import stacks

        return stacks.judge(ops, initial, budget)
    if name == "set":
        from harness.check.monitors import sets

        return sets.judge(ops, initial, budget)
    return None
