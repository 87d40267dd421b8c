"""How much each fault mattered (D4): a green run that never hurt anybody is seen for what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.history import Op
from harness.record.journal import read_journal

NOTICED = 0.01
"""How much larger the share of unanswered ops must be than usual to count as noticed."""

REACH_NS = 250_000_000
"""How long before a fault is said to be in force it may have hurt ops: a killed process takes its
ops with it at once, and is looked for afterwards."""


@dataclass(frozen=True)
class Bite:
    """One fault as it took place, in seconds since the run's start, and what it met.

    `in_flight` and `connections` count the ops that were open and the connections on the links it
    took at its injection. `disturbed` counts the ops open while it was in force that were not
    answered, of `ops` in all; `usual` is the share that went unanswered before any fault.
    """

    id: str
    what: str
    nodes: tuple[str, ...]
    asked_s: float | None
    injected_s: float
    healed_s: float
    in_flight: int
    connections: int | None
    ops: int
    disturbed: int
    usual: float

    @property
    def bit(self) -> bool:
        """Whether anybody noticed: it met a connection, or more ops than usual went unanswered."""
        share = self.disturbed / self.ops if self.ops else 0.0
        return bool(self.connections) or share > self.usual + NOTICED

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "what": self.what,
            "nodes": list(self.nodes),
            "asked_s": self.asked_s,
            "injected_s": self.injected_s,
            "healed_s": self.healed_s,
            "in_flight": self.in_flight,
            "connections": self.connections,
            "ops": self.ops,
            "disturbed": self.disturbed,
            "usual": round(self.usual, 4),
        }

    def __str__(self) -> str:
        held = f"{self.injected_s:.1f}-{self.healed_s:.1f} s"
        on = f" on {', '.join(self.nodes)}" if self.nodes else ""
        met = f"{self.disturbed} of {self.ops} ops unanswered ({self.usual:.0%} before any fault)"
        if self.connections is not None:
            met += f", connections met: {self.connections}"
        return f"{self.id} {self.what}{on} {held}: {met if self.bit else 'DID NOT BITE'}"


def bites(journal: Path, ops: Sequence[Op]) -> list[Bite]:
    """The faults that were injected, oldest first. O(faults × ops)."""
    faults: dict[str, dict[str, Any]] = {}
    end = 0
    for event in read_journal(journal):
        end = event.time
        if event.name != "fault":
            continue
        fault = faults.setdefault(event.data["id"], {})
        fault[event.data["step"]] = event.time
        fault.update({k: v for k, v in event.data.items() if k not in ("step", "id")})
    landed = {id: fault for id, fault in faults.items() if "injected" in fault}
    first = min((_begun(fault) for fault in landed.values()), default=0)
    before = [op for op in ops if op.end is not None and op.end < first]
    usual = sum(not op.answered for op in before) / len(before) if before else 0.0
    return [
        _bite(id, fault, fault["injected"], fault.get("healing", end), ops, usual)
        for id, fault in landed.items()
    ]


def _begun(fault: dict[str, Any]) -> int:
    """When ops may have felt it first. A fault on a role may have waited for long, and hurt nobody
    meanwhile."""
    injected: int = fault["injected"]
    undo: int = fault.get("undo", injected)
    return max(undo, injected - REACH_NS)


def _bite(
    id: str, fault: dict[str, Any], start: int, end: int, ops: Sequence[Op], usual: float
) -> Bite:
    begun = _begun(fault)
    met = [op for op in ops if op.start < end and (op.end is None or op.end > begun)]
    # An op of which nothing is known stays open for ever; it only concerns faults that it began
    # under, or shortly before.
    met = [op for op in met if op.end is not None or op.start > start - 10**9]
    asked = fault.get("asked_s")
    return Bite(
        id=id,
        what=fault["what"],
        nodes=tuple(fault.get("nodes", ())),
        asked_s=asked,
        injected_s=round(start / 1e9, 3),
        healed_s=round(end / 1e9, 3),
        in_flight=fault.get("in_flight", 0),
        connections=fault.get("connections"),
        ops=len(met),
        disturbed=sum(not op.answered for op in met),
        usual=usual,
    )
