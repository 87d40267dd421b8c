"""Idempotency: however often a command is repeated, it takes effect once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.check._arguments import whole, word, words
from harness.check._text import SHOWN, cut, many, op_rows, table
from harness.check.verdict import Result, Verdict
from harness.history import History, Op, hashable

EFFECTS = "effects"
"""The usual name of the final op that reads the ledger."""

_KEYS_SHOWN = 3


@dataclass(frozen=True)
class Idempotent:
    """The check that `idempotent` makes."""

    acts: tuple[str, ...]
    effects: str
    replays: int

    @property
    def name(self) -> str:
        effects = "" if self.effects == EFFECTS else f", effects={self.effects}"
        return f"idempotent({', '.join(self.acts)}{effects})"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        ledger = _read_ledger(history, self.effects)
        acts = [op for op in history.ops if op.f in self.acts]
        keys = History(acts).by_key()
        acknowledged = [key for key, ops in keys.items() if _any(ops, "ok")]
        replays = sum(max(0, sum(op.outcome != "fail" for op in ops) - 1) for ops in keys.values())
        found = {
            "duplicate-effect": [key for key, number in ledger.counts.items() if number > 1],
            "lost-effect": [key for key in acknowledged if key not in ledger.counts],
            "effect-of-refused": [
                key
                for key, ops in keys.items()
                if key in ledger.counts and all(op.outcome == "fail" for op in ops)
            ],
        }
        data = {
            "keys": len(keys),
            "effects": ledger.counts.total(),
            "replays": replays,
            "duplicates": len(found["duplicate-effect"]),
            "lost": len(found["lost-effect"]),
            "of_refused": len(found["effect-of-refused"]),
        }
        anomaly = next((kind for kind, wrong in found.items() if wrong), None)
        told = (
            f"{many(len(keys), 'key')}, {many(replays, 'replay')}, "
            f"{many(data['effects'], 'effect')}, {many(data['duplicates'], 'duplicate')}, "
            f"{data['lost']} lost"
        )
        result: Result
        if not ledger.read:
            anomaly, result = None, "unknown"
            summary = f"Nothing was tested: there is no final op {self.effects!r} with a list."
        elif anomaly is not None:
            result, key = "invalid", found[anomaly][0]
            summary = f"Key {key!r} {_SENTENCES[anomaly].format(n=ledger.counts[key])} ({told})."
        elif not acknowledged:
            result = "unknown"
            summary = f"Nothing was tested: no {' or '.join(self.acts)} was acknowledged."
        elif replays < self.replays:
            result = "unknown"
            summary = (
                f"Too little was tested: {many(replays, 'replay')}, {self.replays} are needed."
            )
        else:
            result, summary = "valid", f"Every command took effect once: {told}."
        lines = [] if anomaly is None else _evidence(found, keys, ledger, history)
        return Verdict(
            self.name,
            result,
            f"{summary}{ledger.note}",
            evidence="\n".join(lines),
            anomaly=anomaly,
            ops=len(acts),
            seconds=time.monotonic() - began,
            data=data,
        )


def idempotent(
    acts: Sequence[str] = ("charge",), *, effects: str = EFFECTS, replays: int = 1
) -> Idempotent:
    """Check that each key has one effect at most, and exactly one if it was acknowledged.

    The effects are read from the target's ledger, not from its answers: the final op called
    `effects` answers with a list of entries, each a key or a list that begins with the key. The
    last answer of each node counts; where the nodes disagree, a key has as many effects as any of
    them says. `acts` are the ops that may cause an effect of their key. Keys without any op (of the
    load, say) are looked at for duplicates alone.

    Anomalies: `duplicate-effect`; `lost-effect`, an acknowledged key without effect;
    `effect-of-refused`, a key whose every op certainly failed and that has an effect. The verdict
    is `unknown` if there is no ledger, nothing was acknowledged, or fewer than `replays` replays
    took place: ops beyond the first of their key, without those that certainly had no effect.
    Raises `UsageError` for wrong arguments. O(n log n).
    """
    return Idempotent(
        words(acts, "acts"), word(effects, "effects"), whole(replays, "replays", least=0)
    )


_SENTENCES = {
    "duplicate-effect": "took effect {n} times",
    "lost-effect": "was acknowledged and has no effect",
    "effect-of-refused": "was refused by every op and has an effect",
}


@dataclass
class _Ledger:
    """`counts` by key, and the entries themselves; `note` says where the nodes disagreed."""

    read: bool = False
    counts: Counter[Hashable] = field(default_factory=Counter)
    entries: dict[Hashable, list[Any]] = field(default_factory=dict)
    note: str = ""


def _read_ledger(history: History, effects: str) -> _Ledger:
    last: dict[str | None, Op] = {}
    for op in history.ops:
        known = op.final and op.f == effects and op.outcome == "ok" and op.end is not None
        if known and isinstance(op.result, list | tuple):
            before = last.get(op.node)
            if before is None or (before.end or 0) <= (op.end or 0):
                last[op.node] = op
    ledger = _Ledger(read=bool(last))
    answers = []
    for op in last.values():
        entries: dict[Hashable, list[Any]] = {}
        for entry in op.result:
            key = entry[0] if isinstance(entry, list | tuple) and entry else entry
            entries.setdefault(hashable(key), []).append(entry)
        answers.append(Counter({key: len(several) for key, several in entries.items()}))
        for key, several in entries.items():
            if len(several) > len(ledger.entries.get(key, ())):
                ledger.entries[key] = several
        ledger.counts |= answers[-1]
    if any(answer != answers[0] for answer in answers):
        ledger.note = " The nodes' ledgers differ; their union was judged."
    return ledger


def _any(ops: Sequence[Op], outcome: str) -> bool:
    return any(op.outcome == outcome for op in ops)


def _evidence(
    found: Mapping[str, Sequence[Hashable]],
    keys: Mapping[Hashable, Sequence[Op]],
    ledger: _Ledger,
    history: History,
) -> list[str]:
    wrong = [(kind, key) for kind, several in found.items() for key in several]
    lines = []
    for kind, key in wrong[:_KEYS_SHOWN]:
        lines.append(f"Key {key!r} {_SENTENCES[kind].format(n=ledger.counts[key])}: {kind}.")
        ops = sorted(keys.get(key, ()), key=lambda op: op.start)
        if ops:
            lines += cut(table(op_rows(ops, history.timeline.faults)), SHOWN)
        else:
            lines.append("  no op of the workload has this key")
        lines += cut([f"  in the ledger: {entry!r}" for entry in ledger.entries.get(key, ())], 4)
    if len(wrong) > _KEYS_SHOWN:
        lines.append(f"… and {len(wrong) - _KEYS_SHOWN} more keys")
    return lines
