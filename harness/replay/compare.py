"""What a replay did differently from the run it repeats: a seed does not control the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.record.folder import RunFolder
from harness.record.journal import read_journal

TIMING_TOLERANCE_S = 0.1
"""Faults that took effect at the same moment within this are told as equal."""


def divergences(original: Path, replay: Path) -> list[str]:
    """Lines that say where `replay` (a run folder) diverged from `original`: what its nodes ran in,
    which of them faults hit, when they took effect, how many ops were done, and how it ended."""
    before, after = _told(RunFolder(original)), _told(RunFolder(replay))
    lines = [f"Replayed {original.name}; where it diverged:"]
    for id in sorted(set(before["faults"]) | set(after["faults"]), key=_number):
        lines += _fault(id, before["faults"].get(id), after["faults"].get(id))
    for name in ("runtime", "outcome", "ops"):
        if before[name] != after[name]:
            lines.append(f"  {name}: {before[name]}, now {after[name]}")
    if len(lines) == 1:
        lines.append("  nowhere that was recorded")
    return lines


def _fault(id: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[str]:
    if before is None or after is None:
        return [f"  {id} took place {'only in the replay' if before is None else 'only before'}"]
    lines = []
    if before["nodes"] != after["nodes"]:
        names = ", ".join(before["nodes"]), ", ".join(after["nodes"])
        lines.append(f"  {id} {before['what']} hit {names[0]}, now {names[1]}")
    shift_s = after["at_s"] - before["at_s"]
    if abs(shift_s) > TIMING_TOLERANCE_S:
        lines.append(f"  {id} {before['what']} took effect {shift_s:+.2f} s later than then")
    return lines


def _told(folder: RunFolder) -> dict[str, Any]:
    """Faults by id with what they hit and when, seconds after the faults' phase began."""
    identity = folder.read_identity()
    faults: dict[str, dict[str, Any]] = {}
    begun = 0
    for event in read_journal(folder.journal):
        if event.name == "phase" and event.data["phase"] == "during":
            begun = event.time
        elif event.name == "fault" and event.data["step"] == "asked":
            faults[event.data["id"]] = {"what": event.data["what"]}
        elif event.name == "fault" and event.data["step"] == "injected":
            at_s = (event.time - begun) / 1e9
            faults[event.data["id"]] |= {"nodes": event.data["nodes"], "at_s": at_s}
    return {
        "faults": {id: fault for id, fault in faults.items() if "at_s" in fault},
        "runtime": identity.get("runtime"),
        "outcome": identity.get("outcome"),
        "ops": identity.get("ops"),
    }


def _number(id: str) -> tuple[int, str]:
    digits = id.lstrip("f")
    return (int(digits) if digits.isdigit() else 0, id)
