"""Unique ids: no answer of a generator comes twice."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass

from harness.check._findings import Findings, brief, judge, told_op
from harness.check.verdict import Verdict
from harness.check.workloads._ops import answered, missing
from harness.history import History, Op, hashable


@dataclass(frozen=True)
class UniqueIds:
    """The check that `unique_ids` makes."""

    name: str = "unique-ids"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        found = Findings("duplicated")
        given: dict[Hashable, list[Op]] = defaultdict(list)
        answers = [op for op in answered(history.ops, ("generate",)) if op.result is not None]
        for op in answers:
            given[hashable(op.result)].append(op)
        for one, ops in given.items():
            if len(ops) > 1:
                told = told_op(ops[1], f"was given {brief(one)}")
                sentence = f"{told}, which process {ops[0].process} was given as well"
                found.add("duplicated", sentence, *ops)
        unknown = None
        if len(answers) < 2:
            unknown = missing("fewer than two ids were given (expected: generate)")
        asked = sum(op.f == "generate" for op in history.ops)
        return judge(
            self.name,
            began,
            found,
            ops=len(history),
            told=f"{len(answers)} ids were given, {asked} were asked for",
            unknown=unknown,
            data={"asked": asked, "given": len(answers)},
        )


def unique_ids() -> UniqueIds:
    """Check that a generator of ids never gives one twice.

    Ops: `generate` (answers with the id). Anomaly: `duplicated`. Ids of unknown outcome were never
    seen, so they cannot be held against anybody. Source: Jepsen, `checker/unique-ids`. `unknown`:
    fewer than two ids were given. O(n).

    Example: generate 7, generate 8, generate 7 is `invalid`, `duplicated`.
    """
    return UniqueIds()
