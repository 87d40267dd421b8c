"""Why the transactions have no order, told to people and to programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.check._text import end_of, span, start_of, table
from harness.check.isolation.graph import Label
from harness.check.isolation.transactions import Case, Inference, micro_ops, shown
from harness.history import Op

_SHOWN = 5  # steps of a cycle, and micro-ops of a transaction


@dataclass(frozen=True)
class Evidence:
    """`summary` is a sentence, `text` has the transactions and their steps, `data` is both for
    programs."""

    summary: str
    text: str
    data: dict[str, Any] = field(default_factory=dict)


def of_case(case: Case, count: int) -> Evidence:
    """The evidence for what needs no cycle."""
    ops = _distinct(case.ops)
    names = {op.index: f"T{place}" for place, op in enumerate(ops, 1)}
    sentence = case.sentence.format(*(names[op.index] for op in case.ops)) + "."
    lines = [f"{case.kind}: {sentence}", *_table(ops, names, {repr(case.key)})]
    data = {
        "kind": case.kind,
        "sentence": sentence,
        "count": count,
        "ops": [_told(op, names) for op in ops],
        "edges": [],
    }
    return Evidence(sentence, "\n".join(lines), data)


def of_cycle(
    kind: str, steps: Sequence[tuple[int, int, Label]], found: Inference, order: str
) -> Evidence:
    """The evidence for a cycle. `order` is what order edges stand for: process or realtime. Of a
    long one, the beginning and the last step are told."""
    left_out = max(0, len(steps) - _SHOWN)
    told = steps if not left_out else [*steps[: _SHOWN - 1], steps[-1]]
    ops = _distinct([found.ops[node] for a, b, _ in told for node in (a, b)])
    names = {op.index: f"T{place}" for place, op in enumerate(ops, 1)}
    reasons: list[str] = []
    edges: list[dict[str, Any]] = []
    keys: set[str] = set()
    for a, b, label in told:
        first, second = found.ops[a], found.ops[b]
        mine, theirs = names[first.index], names[second.index]
        if label is Label.ORDER:
            sentence, why = _order_told(first, second, order), order
        elif label is Label.GIVEN:
            sentence, why = "{0} precedes {1} in the given order", "given"
        else:
            sentence, key = found.because(a, b, label)
            why = label.name.lower()
            keys.add(repr(key))
        reason = sentence.format(mine, theirs)
        reasons.append(f"  {reason}, so {mine} < {theirs} ({why})")
        edges.append({"from": first.index, "to": second.index, "kind": why, "sentence": reason})
    circle = [names[edge["from"]] for edge in edges]
    circle.append(circle[0])
    if left_out:
        circle.insert(-2, f"… {left_out} more …")
        reasons.insert(-1, f"  … {left_out} more steps …")
    summary = f"{' < '.join(circle)}: a cycle of {len(steps)} transactions."
    text = [f"{kind}: {summary}", *_table(ops, names, keys), *reasons]
    text.append("  so none of them can have been first.")
    data = {
        "kind": kind,
        "length": len(steps),
        "ops": [_told(op, names) for op in ops],
        "edges": edges,
    }
    return Evidence(summary, "\n".join(text), data)


def _order_told(first: Op, second: Op, order: str) -> str:
    if order == "process":
        return f"process {first.process} carried out {{0}} before {{1}}"
    ended, began = end_of(first), start_of(second)
    if ended == began:
        return "{0} had ended before {1} began"
    return f"{{0}} had ended at {ended}, before {{1}} began at {began}"


def _distinct(ops: Sequence[Op]) -> list[Op]:
    return sorted({op.index: op for op in ops}.values(), key=lambda op: op.index)


def _table(ops: Sequence[Op], names: dict[int, str], keys: set[str]) -> list[str]:
    return table(
        [
            [
                names[op.index],
                f"op {op.index}",
                span(op),
                f"process {op.process}",
                {"ok": "", "info": "no answer", "fail": "failed"}[op.outcome],
                _relevant(op, keys),
            ]
            for op in ops
        ]
    )


def _relevant(op: Op, keys: set[str]) -> str:
    micros = list(micro_ops(op))
    told = [f"{f} {shown(k)} {shown(v, 40)}" for f, k, v in micros if repr(k) in keys]
    left = len(micros) - len(told)
    if len(told) > _SHOWN:
        left += len(told) - _SHOWN
        told = told[:_SHOWN]
    return ", ".join(told) + (f" (+{left})" if left else "")


def _told(op: Op, names: dict[int, str]) -> dict[str, Any]:
    return {
        "name": names[op.index],
        "index": op.index,
        "process": op.process,
        "start": op.start,
        "end": op.end,
        "outcome": op.outcome,
        "micro_ops": list(map(list, micro_ops(op))),
    }
