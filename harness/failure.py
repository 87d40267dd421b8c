"""The failure of a run: what another run must share to count as having failed the same way (D9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import UnreadableError
from harness.record.folder import RunFolder

_DECIDED = ("failed", "unsteady", "passed")


@dataclass(frozen=True)
class Failure:
    """A signature: the check that found something (or `unsteady`, or the exception of the test),
    the kinds of anomaly it found, the gravest first, and the model it judged by. `expected` says
    that the experiment wants this flaw to be found, as of targets known to have it."""

    check: str
    anomalies: tuple[str, ...] = ()
    model: str | None = None
    expected: bool = False

    def same(self, other: Failure) -> bool:
        """Whether `other` counts as this failure: the same check and model, and among its
        anomalies the gravest of this one."""
        if (self.check, self.model) != (other.check, other.model):
            return False
        return not self.anomalies or self.anomalies[0] in other.anomalies

    def __str__(self) -> str:
        kind = f": {self.anomalies[0]}" if self.anomalies else ""
        return f"{self.check}{kind}"

    def to_json(self) -> dict[str, Any]:
        """The failure as it stands in a plan that is kept for it."""
        return {
            "check": self.check,
            "anomalies": list(self.anomalies),
            "model": self.model,
            "expected": self.expected,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Failure:
        """The failure that `to_json` wrote. Raises `UnreadableError` for what is none."""
        try:
            return cls(
                str(data["check"]),
                tuple(data.get("anomalies", ())),
                data.get("model"),
                bool(data.get("expected", False)),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise UnreadableError(
                "The plan's `failure` cannot be read.", why=f"{type(error).__name__}: {error}"
            ) from None


def failures(folder: RunFolder) -> list[Failure]:
    """What went wrong in a finished run, first of all what its outcome names; then what was wrong
    as the experiment expects. Empty for a run that passed and found nothing, and for one that
    could not be judged (`broken`, `aborted`, `unknown`).

    Raises `UnreadableError` if the folder is none of a run.
    """
    identity = folder.read_identity()
    outcome, reason = identity.get("outcome"), str(identity.get("reason", ""))
    if outcome not in _DECIDED:
        return []
    verdicts = folder.read_verdicts()
    # A verdict of `valid` where a flaw had to be found is no failure that could be shown again.
    invalid = [one for one in verdicts if one["result"] == "invalid"]
    found = [_of_verdict(one) for one in invalid if one["expected"] != "invalid"]
    if outcome == "unsteady":
        found.append(Failure("unsteady", _unsteady_kind(reason)))
    elif outcome == "failed" and all(
        one["result"] in (one["expected"], "unknown") for one in verdicts
    ):
        # What the test itself asserted, by the line of code: the words may hold figures of this
        # run alone.
        raised = identity.get("raised")
        found.append(Failure(reason.partition(":")[0], (raised,) if raised else ()))
    return found + [_of_verdict(one) for one in invalid if one["expected"] == "invalid"]


_UNSTEADY = {
    "before any fault": "before-faults",
    "after everything was healed": "after-healing",
    "in the final reads": "final-reads",
}


def _unsteady_kind(reason: str) -> tuple[str, ...]:
    first = reason.partition("\n")[0]
    return tuple(kind for words, kind in _UNSTEADY.items() if words in first)


def _of_verdict(verdict: Mapping[str, Any]) -> Failure:
    gravest = verdict.get("anomaly")
    kinds = list(verdict.get("data", {}).get("anomalies") or ())
    if gravest is not None:
        kinds = [gravest, *(kind for kind in kinds if kind != gravest)]
    expected = verdict["expected"] == "invalid"
    return Failure(verdict["check"], tuple(kinds), verdict.get("model"), expected)
