"""Deployments: what the gate did with each switch that it was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.check import Verdict
from harness.history import History
from targets.jobs.checks.found import Found


@dataclass(frozen=True)
class Deployments:
    """The check that `deployments` makes."""

    outcomes: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"deployments({', '.join(self.outcomes)})"

    def __call__(self, history: History) -> Verdict:
        found = Found(self.name, "other-outcome")
        said = [
            (str(event.data.get("to")), str(event.data.get("outcome")), event.data.get("reason"))
            for event in sorted(history.timeline.events, key=lambda event: event.time)
            if event.name == "switch"
        ]
        for place, ((to, outcome, reason), wanted) in enumerate(
            zip(said, self.outcomes, strict=False), 1
        ):
            if outcome != wanted:
                found.add(
                    "other-outcome",
                    f"Switch {place}, to {to}, was {outcome} ({reason}), where it should be "
                    f"{wanted}",
                )
        unknown = None
        if len(said) < len(self.outcomes):
            unknown = (
                f"Nothing was tested: the gate told of {len(said)} switches, "
                f"{len(self.outcomes)} are needed."
            )
        told = ", ".join(f"to {to}: {outcome}" for to, outcome, _reason in said) or "no switch"
        return found.verdict(told, unknown, len(history), {"switches": [list(one) for one in said]})


def deployments(outcomes: Sequence[str]) -> Deployments:
    """Check that the gate ended its switches in these ways, one after the other.

    Read from its events `switch`. Anomaly: `other-outcome`. `unknown`: there were fewer.
    """
    return Deployments(tuple(outcomes))
