"""Linearizability: every op seems to take effect at one moment between its start and its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness import collector
from harness.check.budget import TIMEOUT_S, Budget, OverBudgetError, limits
from harness.check.evidence import explain
from harness.check.models import Model, UnfitOpError, as_model, named
from harness.check.parts import Parts
from harness.check.verdict import Verdict
from harness.errors import UsageError
from harness.history import History
from harness.units import Duration

ANOMALY = "nonlinearizable"


@dataclass(frozen=True)
class Linearizable:
    """The check that `linearizable` makes."""

    model: Model
    timeout_s: float
    memory: int

    @property
    def name(self) -> str:
        return f"linearizable({self.model.name})"

    def __call__(self, history: History) -> Verdict:
        with collector.paused():
            return self._verdict(history)

    def _verdict(self, history: History) -> Verdict:
        budget = Budget(self.timeout_s, self.memory)
        parts = Parts(self.model, history, budget)
        told: dict[str, Any]
        if not any(op.outcome == "ok" for op in history.ops):
            told = _unknown("Nothing was tested: the history has no op that succeeded.")
        elif not history.realtime:
            told = _unknown("The history does not say when its ops began, so any order may be.")
        else:
            try:
                told = self._judged(parts, budget)
            except UnfitOpError as error:
                told = _unknown(f"The model {self.model.name} does not fit this history: {error}.")
            except OverBudgetError as error:
                told = _unknown(
                    f"{parts.undecided()}: the search passed {budget.told(error.limit)}. Raise "
                    "that, spread the ops over more keys, or write a different value each time."
                )
        took_s = budget.spent_s
        return Verdict(self.name, model=self.model.name, ops=len(history), seconds=took_s, **told)

    def _judged(self, parts: Parts, budget: Budget) -> dict[str, Any]:
        illegal = parts.illegal()
        if illegal is not None:
            why = explain(self.model, illegal, budget)
            return {
                "result": "invalid",
                "summary": why.summary,
                "evidence": why.text,
                "anomaly": ANOMALY,
                "data": {"anomalies": [ANOMALY], **why.data},
            }
        if not parts.tested:
            return _unknown("Nothing was tested: no op that succeeded says anything.")
        keys = "1 key" if parts.count == 1 else f"{parts.count} keys"
        summary = f"All {parts.ops} ops on {keys} have an order."
        return {"result": "valid", "summary": summary}


def linearizable(
    model: str | Model | type | Any,
    *,
    initial: Any = None,
    mismatches: bool = True,
    timeout: Duration = TIMEOUT_S,
    memory: int | None = None,
) -> Linearizable:
    """Check that every key's ops have an order that `model` and real time allow.

    That is: each op can be given one moment between its start and its end, such that the ops, one
    at a time in the order of these moments, are what the model answers. `info` ops may take effect
    at any time after their start, or never. (M. Herlihy, J. Wing, "Linearizability: a correctness
    condition for concurrent objects", 1990.)

    `model` is one of `harness.check.models.NAMES` ("register", "cas-register", "multi-register",
    "mutex", "owned-mutex", "fenced-mutex", "set", "fifo-queue", "unordered-queue", "stack",
    "counter", "kv"), a `Model`, or a class of your own (see `harness.check.models.as_model`).
    `initial` is what a named model holds at the beginning. With `mismatches`, a compare-and-set
    that was refused for its expected value counts as having seen that the value was not there;
    leave it on where the target's refusals are answers of the same strength as its reads.

    Where every value was written once, registers, queues, stacks and sets take O(n log n); else the
    search's worst case is exponential in the ops that overlap, and near linear with few of them.
    The verdict is `unknown` if that takes longer than `timeout` or more bytes than `memory`
    (without, half of what is free), if no op succeeded, if the model does not know an op, or if the
    history has completions only. Raises `UsageError` for a wrong argument.

        linearizable("fifo-queue")(history)
        invalid: Process 3 dequeued 7 at 1.204-1.207 s, but 5 had been enqueued before 7 …
    """
    if isinstance(model, str):
        model = named(model, initial=initial, mismatches=mismatches)
    elif initial is not None or mismatches is not True:
        raise UsageError(
            "initial and mismatches are for models given by name.",
            do="Set them on the model itself: CasRegister(initial=0, mismatches=False).",
        )
    return Linearizable(as_model(model), *limits(timeout, memory))


def _unknown(summary: str) -> dict[str, Any]:
    return {"result": "unknown", "summary": summary}
