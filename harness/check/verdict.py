"""What a check says: valid, invalid or unknown, and why (D8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from harness.history import History

Result: TypeAlias = Literal["valid", "invalid", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """The answer of one check about one history.

    `summary` is one sentence. `evidence` is for people: the ops involved, in time order, and why
    no order of them is legal. `data` is the same for programs. `anomaly` names what was found
    (e.g. `nonlinearizable`); together with `check` and `model` it is the failure's signature (D9).
    `ops` counts the ops that were looked at, `seconds` what it took.
    """

    check: str
    result: Result
    summary: str
    evidence: str = ""
    anomaly: str | None = None
    model: str | None = None
    ops: int = 0
    seconds: float = 0.0
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        """True only if the check decided, and decided that the history is legal."""
        return self.result == "valid"

    @property
    def anomalies(self) -> list[str]:
        """Every kind of anomaly that was found, the gravest (`anomaly`) first."""
        given = self.data.get("anomalies")
        if given is not None:
            return list(given)
        return [] if self.anomaly is None else [self.anomaly]

    @property
    def evidence_lines(self) -> list[str]:
        """The evidence for who has read the summary, which may be its first line."""
        return [line for line in self.evidence.splitlines() if line != self.summary]

    @property
    def signature(self) -> tuple[str, str | None, str | None]:
        """What two failures must share to count as the same one (D9)."""
        return (self.check, self.anomaly, self.model)

    def to_json(self) -> dict[str, Any]:
        """The verdict as it stands in `verdicts.json`."""
        return {
            "check": self.check,
            "model": self.model,
            "result": self.result,
            "anomaly": self.anomaly,
            "summary": self.summary,
            "evidence": self.evidence,
            "ops": self.ops,
            "seconds": round(self.seconds, 6),
            "data": dict(self.data),
        }


@runtime_checkable
class Check(Protocol):
    """A pure function from a history to a verdict; it never raises for what the history says."""

    @property
    def name(self) -> str:
        """What reports call it, e.g. `linearizable(cas-register)`."""
        ...

    def __call__(self, history: History) -> Verdict: ...
