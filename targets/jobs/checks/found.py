"""What the checks of jobs share: the ledgers of a history, findings, and the verdict of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from harness.check import Verdict
from harness.history import History, Op

SHOWN = 5
"""Findings in the evidence; more are counted."""


class Found:
    """What must not be, by kind, the gravest kind first."""

    def __init__(self, name: str, *kinds: str) -> None:
        self._name = name
        self._began = time.monotonic()
        self._sentences: dict[str, list[str]] = {kind: [] for kind in kinds}

    def add(self, kind: str, sentence: str) -> None:
        self._sentences[kind].append(sentence)

    def verdict(
        self, told: str, unknown: str | None, ops: int, data: Mapping[str, Any] | None = None
    ) -> Verdict:
        """Invalid if anything was found, else unknown if that sentence is given. `told` says how
        much was looked at."""
        counts = {kind: len(found) for kind, found in self._sentences.items() if found}
        seconds = time.monotonic() - self._began
        known = {**(data or {}), **counts, "anomalies": list(counts)}
        if not counts:
            result, summary = "valid", f"Nothing is wrong: {told}."
            if unknown is not None:
                result, summary = "unknown", unknown
            return Verdict(self._name, result, summary, ops=ops, seconds=seconds, data=known)  # type: ignore[arg-type]
        lines = [
            f"{sentence}: {kind}." for kind, found in self._sentences.items() for sentence in found
        ]
        more = [f"… and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        gravest = next(iter(counts))
        counted = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        return Verdict(
            self._name,
            "invalid",
            f"{self._sentences[gravest][0]} ({told}; {counted}).",
            evidence="\n".join([*lines[:SHOWN], *more]),
            anomaly=gravest,
            ops=ops,
            seconds=seconds,
            data=known,
        )


def ledger(history: History, f: str) -> list[Any] | None:
    """The last answer to the final op `f`, a list; None if there was none."""
    answers = [op for op in history.ops if op.final and op.f == f and op.outcome == "ok"]
    if not answers:
        return None
    return list(max(answers, key=_end).result)


def missing(f: str) -> str:
    """The sentence for a ledger that nobody read."""
    return f"Nothing was tested: the final read {f!r} was not answered."


def _end(op: Op) -> int:
    return op.start if op.end is None else op.end
