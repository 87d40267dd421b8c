"""The faults of a run as they took place, and what the nodes did meanwhile: from the journal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from harness.report.markup import cut
from harness.report.reading import Reading, listed, mapped, number

DOWN = frozenset({"kill", "stop", "restart", "crash_loop"})
"""Kinds of faults that take the whole node away while they are in force."""

PAUSED = frozenset({"pause"})

_FAMILIES = {
    "netsplit": "cut",
    **dict.fromkeys(DOWN | {"kill_worker"}, "down"),
    "pause": "paused",
    **dict.fromkeys(("latency", "bandwidth", "slow_close"), "slow"),
    **dict.fromkeys(("reset", "packets", "loss", "corruption", "duplication"), "lossy"),
}


@dataclass
class Fault:
    """One fault; times in seconds since the run's start, None for what did not happen.

    In force from `injected` to `healing`; `healed` when its end was proved. `bite` is what it met,
    as `run.json` has it.
    """

    id: str
    kind: str
    what: str
    nodes: list[str] = field(default_factory=list)
    role: str | None = None
    cuts: list[tuple[str, str]] = field(default_factory=list)
    asked: float | None = None
    injected: float | None = None
    proved: float | None = None
    healing: float | None = None
    healed: float | None = None
    failed: str | None = None
    proofs: dict[str, Any] = field(default_factory=dict)
    bite: dict[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> str:
        """Which pattern it is drawn with."""
        return _FAMILIES.get(self.kind, "other")

    @property
    def bit(self) -> bool | None:
        """Whether anybody noticed it, as harness.record.bite has it; None if that is not known."""
        from harness.record.bite import NOTICED

        if not self.bite:
            return None
        if self.bite.get("connections"):
            return True
        ops, disturbed = number(self.bite.get("ops")), number(self.bite.get("disturbed"))
        usual = number(self.bite.get("usual")) or 0.0
        return bool(ops) and (disturbed or 0.0) / (ops or 1.0) > usual + NOTICED

    def span(self, end: float) -> tuple[float, float] | None:
        """From when it was in force to when it was gone, at the latest `end`."""
        if self.injected is None:
            return None
        return self.injected, self.healed or self.healing or end

    def to_json(self, end: float, offset: float) -> dict[str, Any] | None:
        """What the script draws, with `offset` added to all times; None if it never landed."""
        span = self.span(end)
        if span is None:
            return None
        # A killed node is away until it is back, however soon that is begun.
        healing = span[1] if self.healing is None or self.kind in DOWN else self.healing
        return {
            "id": self.id,
            "kind": self.kind,
            "family": self.family,
            "what": self.what,
            "nodes": self.nodes,
            "start": span[0] + offset,
            "healing": min(healing, span[1]) + offset,
            "end": span[1] + offset,
            "bit": self.bit,
        }


def faults(found: Reading) -> list[Fault]:
    """The faults of the journal, in the order in which they were due."""
    known: dict[str, Fault] = {}
    for event in found.events:
        if event.name != "fault" or "id" not in event.data:
            continue
        data, step = event.data, event.data.get("step")
        id = str(data["id"])
        fault = known.setdefault(
            id, Fault(id, str(data.get("kind", "")), str(data.get("what", id)))
        )
        if step in ("asked", "injected", "proved", "healing", "healed"):
            setattr(fault, step, event.at_s)
        if step == "injected":
            fault.nodes = [str(node) for node in listed(data.get("nodes"))]
            fault.role = data.get("role")
            pairs = [one for one in listed(data.get("cuts")) if isinstance(one, list)]
            fault.cuts = [(str(one[0]), str(one[1])) for one in pairs if len(one) == 2]
        elif step == "failed":
            fault.failed = str(data.get("error") or data.get("reason") or "it failed")
        if "proof" in data:
            fault.proofs[str(step)] = data["proof"]
    for one in listed(found.identity.get("bites")):
        bite = mapped(one)
        if bite.get("id") in known:
            known[bite["id"]].bite = bite
    return list(known.values())


MAX_EVENTS = 300
"""Events of a target's logs on a page; of more, those whose names are frequent are left out."""

MAX_SAID = 100
"""Characters of an event's data."""


def told_events(found: Reading) -> dict[str, list[tuple[float, str]]]:
    """For each node when (seconds) and what it said of itself in its log, the rare things first."""
    names = Counter(str(one.get("event")) for one in found.told)
    kept: set[str] = set()
    total = 0
    for name, count in sorted(names.items(), key=lambda one: one[1]):
        total += count
        if total <= MAX_EVENTS:
            kept.add(name)
    nodes: dict[str, list[tuple[float, str]]] = {}
    for one in found.told:
        name = str(one.get("event"))
        if name in kept:
            data = [f"{k} {v}" for k, v in one.items() if k not in ("time", "node", "event")]
            said = cut(", ".join(data), MAX_SAID)
            text = f"{name}: {said}" if said else name
            nodes.setdefault(str(one.get("node")), []).append((one["time"] / 1e9, text))
    return nodes


State = tuple[float, float, str]


def states(found: Reading, known: list[Fault]) -> dict[str, list[State]]:
    """For each node from when to when it was `up`, `down` or `paused`, in seconds."""
    down = found.phase("down")
    end = (down.start if down is not None else found.end_ns) / 1e9
    return {node: _states(node, found, known, end) for node in found.nodes}


def _states(node: str, found: Reading, known: list[Fault], end: float) -> list[State]:
    up = found.phase("up")
    begun = up.end / 1e9 if up is not None else 0.0
    gone: list[State] = []
    for event in found.events:
        if event.name != "node" or event.data.get("node") != node:
            continue
        if event.data.get("step") == "started":
            begun = min(begun, event.at_s)
        elif event.data.get("step") == "exited" and event.at_s < end:
            gone.append((event.at_s, _back(node, known, event.at_s, end), "down"))
    for fault in known:
        span = fault.span(end)
        if span is not None and node in fault.nodes and fault.kind in DOWN | PAUSED:
            gone.append((*span, "down" if fault.kind in DOWN else "paused"))
    told: list[State] = []
    at = begun
    for start, stop, state in sorted(gone):
        if start > at:
            told.append((at, min(start, end), "up"))
        if stop > at:
            told.append((max(start, at), min(stop, end), state))
            at = stop
    if at < end:
        told.append((at, end, "up"))
    return told


def _back(node: str, known: list[Fault], since: float, end: float) -> float:
    """When a node that exited by itself was started again: at the end of a fault that does so."""
    ends = [f.healed for f in known if node in f.nodes and f.kind in DOWN and f.healed is not None]
    return min((one for one in ends if one > since), default=end)
