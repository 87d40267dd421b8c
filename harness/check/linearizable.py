"""Linearizability: every op seems to take effect at one moment between its start and its end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from harness.check.evidence import explain
from harness.check.models import Model, UnfitOpError, named
from harness.check.search import Found, search
from harness.check.verdict import Verdict
from harness.errors import UsageError
from harness.history import History
from harness.units import Duration, to_seconds

ANOMALY = "nonlinearizable"

MAX_STATES = 1_000_000
"""Situations remembered for one key, up to a few hundred bytes each. 10 000 ops of 10 clients on it
need about a hundredth of that when written values are unique; where many ops without an answer
write the same few values, no bound of this kind may be enough."""


@dataclass(frozen=True)
class Linearizable:
    """The check that `linearizable` makes."""

    model: Model
    timeout_s: float
    max_states: int

    @property
    def name(self) -> str:
        return f"linearizable({self.model.name})"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()

        def verdict(**found: Any) -> Verdict:
            took_s = time.monotonic() - began
            return Verdict(
                self.name, model=self.model.name, ops=len(history), seconds=took_s, **found
            )

        if not any(op.outcome == "ok" for op in history.ops):
            return verdict(
                result="unknown",
                summary="Nothing was tested: the history has no op that succeeded.",
            )
        stopped: dict[Any, Found] = {}
        parts = self.model.parts(history)
        for number, (key, ops) in enumerate(parts.items()):
            try:
                entries = self.model.entries(ops)
            except UnfitOpError as error:
                return verdict(
                    result="unknown",
                    summary=f"The model {self.model.name} does not fit this history: {error}.",
                )
            # Each key has its share of the time that is left, so that one hard key does not hide
            # what is plain to see at another.
            left_s = began + self.timeout_s - time.monotonic()
            deadline = time.monotonic() + left_s / (len(parts) - number)
            found = search(self.model, entries, deadline=deadline, max_states=self.max_states)
            if found.answer == "illegal":
                why = explain(self.model, key, ops, found)
                return verdict(
                    result="invalid",
                    summary=why.summary,
                    evidence=why.text,
                    anomaly=ANOMALY,
                    data=why.data,
                )
            if found.answer != "legal":
                stopped[key] = found
        if stopped:
            return verdict(result="unknown", summary=self._gave_up(stopped, len(parts)))
        return verdict(
            result="valid", summary=f"All {len(history)} ops on {len(parts)} keys have an order."
        )

    def _gave_up(self, stopped: dict[Any, Found], parts: int) -> str:
        key, found = next(iter(stopped.items()))
        limit, option = (
            (f"its share of {self.timeout_s:g} s", "timeout")
            if found.answer == "time"
            else (f"{self.max_states} states", "max_states")
        )
        others = f" (and {len(stopped) - 1} more of {parts} keys)" if len(stopped) > 1 else ""
        return (
            f"Undecided for key {key!r}{others}: the search passed {limit}. Raise {option}, spread "
            "the ops over more keys, or write a different value each time."
        )


def linearizable(
    model: str | Model,
    *,
    initial: Any = None,
    mismatches: bool = True,
    timeout: Duration = 30,
    max_states: int = MAX_STATES,
) -> Linearizable:
    """Check that every key's ops have an order that `model` and real time allow.

    `model` is "register", "cas-register" or a `Model`; `initial` is what a register holds before
    the first write. `info` ops may take effect at any time after their start, or never. With
    `mismatches`, a compare-and-set that was refused for its expected value counts as having seen
    that the value was not there; leave it on where the target's refusals are answers of the same
    strength as its reads. The verdict is `unknown` if the search takes longer than `timeout` or
    remembers more than `max_states` situations for a key. Raises `UsageError` for a wrong
    argument.
    """
    if isinstance(model, str):
        model = named(model, initial=initial, mismatches=mismatches)
    elif initial is not None or mismatches is not True:
        raise UsageError(
            "initial and mismatches are for models given by name.",
            do="Set them on the model itself: CasRegister(initial=0, mismatches=False).",
        )
    if max_states < 1:
        raise UsageError(f"max_states must be at least 1, not {max_states!r}.")
    return Linearizable(model, to_seconds(timeout, "timeout"), max_states)
