"""What a replay did differently from the run it repeats: a seed does not control the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.failure import failures
from harness.plan import read_plan
from harness.record.folder import RunFolder
from harness.record.journal import read_journal

TIMING_TOLERANCE_S = 0.1
"""Faults that took effect at the same moment within this are told as equal."""


@dataclass(frozen=True)
class Told:
    """What is compared of a run, in the order in which it is shown: name → words."""

    words: dict[str, str]
    moments: dict[str, float] = field(default_factory=dict)
    """The rows among them that are moments, in seconds: small differences do not count."""


def side_by_side(original: Path, replay: Path) -> list[str]:
    """Lines that show where `replay` (a run's folder) differed from `original`: which nodes faults
    hit and when, the ops done, the verdicts and the outcome, and whether it failed the same way."""
    before, after = _told(RunFolder(original)), _told(RunFolder(replay))
    rows = [
        (name, before.words.get(name, "-"), after.words.get(name, "-"))
        for name in dict.fromkeys([*before.words, *after.words])
        if _differs(name, before, after)
    ]
    head = f"Replayed {original.name}; "
    if not rows:
        lines = [head + "nothing that was recorded differed."]
    else:
        lines = [head + "what differed:", *_table([("", "recorded", "replayed"), *rows])]
    wanted = failures(RunFolder(original))
    if wanted:
        lines.append(same_failure(original, replay))
    return lines


def same_failure(original: Path, replay: Path) -> str:
    """A sentence on whether `replay` failed as `original` did, which did fail."""
    wanted = failures(RunFolder(original))[0]
    if any(wanted.same(failure) for failure in failures(RunFolder(replay))):
        return f"It failed the same way: {wanted}."
    return f"It did not fail the same way ({wanted})."


def _differs(name: str, before: Told, after: Told) -> bool:
    if name in before.moments and name in after.moments:
        return abs(before.moments[name] - after.moments[name]) > TIMING_TOLERANCE_S
    return before.words.get(name) != after.words.get(name)


def _told(folder: RunFolder) -> Told:
    identity = folder.read_identity()
    words: dict[str, str] = {"runtime": str(identity.get("runtime"))}
    moments: dict[str, float] = {}
    begun = 0
    names: dict[str, str] = {}
    if folder.plan.exists():
        target = read_plan(folder.plan).target
        words |= {f"target {name}": str(value) for name, value in target.items()}
    for event in read_journal(folder.journal):
        data = event.data
        if event.name == "phase" and data["phase"] == "during":
            begun = event.time
        elif event.name == "fault" and data["step"] == "asked":
            names[data["id"]] = f"{data['id']} {data['kind']}" if "kind" in data else data["id"]
        elif event.name == "fault" and data["step"] in ("injected", "healed"):
            name, at_s = names.get(data["id"], data["id"]), (event.time - begun) / 1e9
            if data["step"] == "injected":
                words[f"{name} hit"] = ", ".join(data["nodes"])
            row = f"{name} {data['step']} at"
            words[row], moments[row] = f"{at_s:.2f} s", at_s
    counts = identity.get("ops") or {}
    words["ops"] = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    for verdict in folder.read_verdicts():
        kind = f": {verdict['anomaly']}" if verdict.get("anomaly") else ""
        words[verdict["check"]] = f"{verdict['result']}{kind}"
    words["outcome"] = str(identity.get("outcome"))
    return Told(words, moments)


def _table(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) + 2 for column in range(2)]
    return [
        f"  {name:{widths[0]}}{before:{widths[1]}}{after}".rstrip() for name, before, after in rows
    ]
