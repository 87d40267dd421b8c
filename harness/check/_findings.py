"""What the checks of workloads and promises share: findings, and the verdict made of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.check._text import outcome, span, table
from harness.check.verdict import Verdict
from harness.history import Op

_KEPT = 3  # findings of each kind that are kept, and shown of all kinds together
_ROWS = 3  # ops of each finding in the evidence
_ITEMS = 8  # items of a long value
_READS = ("read", "r", "get", "read-init", "dequeue")  # whose answer tells something if it is None
_TEXT = 60  # characters of a value within a sentence or a table


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be: a sentence without its full stop, and the ops that show it, the
    one that is wrong last."""

    kind: str
    sentence: str
    ops: tuple[Op, ...]


class Findings:
    """What a check found, by kind. All are counted, the first few of each kind kept."""

    def __init__(self, *kinds: str) -> None:
        """`kinds` are all there can be, the gravest first."""
        self._kept: dict[str, list[Finding]] = {kind: [] for kind in kinds}
        self.counts = dict.fromkeys(kinds, 0)

    def add(self, kind: str, sentence: str, *ops: Op) -> None:
        """Note one more."""
        self.counts[kind] += 1
        if len(self._kept[kind]) < _KEPT:
            self._kept[kind].append(Finding(kind, sentence, ops))

    @property
    def total(self) -> int:
        """How many there are of all kinds."""
        return sum(self.counts.values())

    @property
    def kinds(self) -> list[str]:
        """The kinds of which there are any, the gravest first."""
        return [kind for kind, count in self.counts.items() if count]

    @property
    def shown(self) -> list[Finding]:
        """The gravest ones, of several kinds if there are several."""
        firsts = [kept[0] for kept in self._kept.values() if kept]
        others = [finding for kept in self._kept.values() for finding in kept[1:]]
        return [*firsts, *others][:_KEPT]


def judge(
    name: str,
    began: float,
    found: Findings,
    *,
    ops: int,
    told: str,
    unknown: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> Verdict:
    """The verdict: invalid if anything was found, else unknown if that sentence is given.

    `told` says within a sentence how much was looked at; `began` is the check's own start
    (`time.monotonic()`).
    """
    known = {**(data or {}), **{kind: count for kind, count in found.counts.items() if count}}
    seconds = time.monotonic() - began
    if not found.total:
        result: Any = "valid" if unknown is None else "unknown"
        summary = f"Nothing is wrong: {told}." if unknown is None else unknown
        known["anomalies"] = []
        return Verdict(name, result, summary, ops=ops, seconds=seconds, data=plain(known))
    shown = found.shown
    known["anomalies"] = found.kinds
    known["ops"] = [op_data(op) for op in _in_time(shown[0].ops)]
    known["blocked"] = shown[0].ops[-1].index if shown[0].ops else None
    return Verdict(
        name,
        "invalid",
        f"{shown[0].sentence} ({told}; {_counted(found)}).",
        evidence="\n".join(_evidence(shown, found.total)),
        anomaly=found.kinds[0],
        ops=ops,
        seconds=seconds,
        data=plain(known),
    )


def brief(value: Any) -> str:
    """A value within a sentence, cut if it is long."""
    if isinstance(value, list | tuple | set | frozenset) and len(value) > _ITEMS:
        first = ", ".join(repr(item) for _place, item in zip(range(_ITEMS), value, strict=False))
        return _short(f"[{first}") + f", … {len(value)} in all]"
    return _short(repr(value))


def told_op(op: Op, what: str) -> str:
    """Who did `what`, where and when: the beginning of most sentences."""
    where = f" on {op.node}" if op.node else ""
    return f"Process {op.process} {what}{where} at {span(op)}"


def op_data(op: Op) -> dict[str, Any]:
    """An op for programs, long values cut."""
    return {
        "index": op.index,
        "process": op.process,
        "f": op.f,
        "key": plain(op.key),
        "value": plain(op.value),
        "result": plain(op.result),
        "outcome": op.outcome,
        "start": op.start,
        "end": op.end,
        "node": op.node,
        "error": op.error,
    }


def plain(value: Any, most: int = 100) -> Any:
    """A value as JSON can hold it: names of fields as text, sets as lists, long lists cut."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = [plain(item) for _place, item in zip(range(most), value, strict=False)]
        return [*items, "…"] if len(value) > most else items
    if isinstance(value, int | float | str | bool) or value is None:
        return value if not isinstance(value, int) or abs(value) < 2**63 else str(value)
    return repr(value)


def _short(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}…"


def _counted(found: Findings) -> str:
    return ", ".join(f"{found.counts[kind]} {kind}" for kind in found.kinds)


def _in_time(ops: tuple[Op, ...]) -> list[Op]:
    return sorted(ops, key=lambda op: (op.start, op.index))


def _evidence(shown: list[Finding], total: int) -> list[str]:
    lines = []
    for finding in shown:
        lines.append(f"{finding.sentence}: {finding.kind}.")
        if finding.ops:
            lines += table([_row(op) for op in _in_time(finding.ops[:_ROWS])])
    if total > len(shown):
        lines.append(f"… and {total - len(shown)} more")
    return lines


def _row(op: Op) -> list[str]:
    call = op.f
    if op.key is not None:
        call += f" {brief(op.key)}"
    if op.value is not None:
        call += f" {brief(op.value)}"
    answer = outcome(op)
    telling = op.f in _READS if op.result is None else op.result != op.value
    if op.outcome == "ok" and telling:
        answer += f" {brief(op.result)}"
    return [span(op), f"process {op.process}", op.node or "", call, answer]
