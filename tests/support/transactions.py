"""Histories of transactions: a short way to write them, and those that others published."""

from __future__ import annotations

import json
from typing import Any

from harness.history import History, Op, Outcome
from tests.support.histories import GOLDEN

UNIT_CASES = GOLDEN / "elle" / "unit_cases.jsonl"


def unit_cases() -> list[dict[str, Any]]:
    """The small published cases; none where the folder is absent."""
    if not UNIT_CASES.exists():
        return []
    return [json.loads(line) for line in UNIT_CASES.read_text().splitlines()]


def txn(text: str, start: int, end: int, *, process: int = 0, outcome: Outcome = "ok") -> Op:
    """A transaction from e.g. `"ax1 ry12 rz"`: append 1 to x, read y as [1 2] and z as empty; or
    `"wx3 ry=2 rz="`: write 3 to x, read y as 2 and z as None."""
    micros = [_micro(word) for word in text.split()]
    asked = [[f, key, None if f == "r" else value] for f, key, value in micros]
    result = micros if outcome == "ok" else None
    known = None if outcome == "info" else end
    return Op(process, "txn", None, asked, outcome, result, start, known, start, known)


def at_once(*texts: str, begin: int = 0) -> list[Op]:
    """Acknowledged transactions of one process each, all at work at the same time. A `!` before
    one says that it failed, a `?` that it had no answer, a `<` that it ended before the next one
    began, of the same process."""
    ops: list[Op] = []
    late = 10 * len(texts)
    process = begin
    for place, text in enumerate(texts):
        mark = text[0] if text[0] in "!?<" else ""
        outcome: Outcome = {"!": "fail", "?": "info"}.get(mark, "ok")  # type: ignore[assignment]
        start = begin + 10 * place
        end = start + 1 if mark == "<" else begin + late + place
        ops.append(txn(text.removeprefix(mark), start, end, process=process, outcome=outcome))
        process += mark != "<"
    return ops


def after(history: History, ops: list[Op]) -> History:
    """The ops once all of `history` is over, for which they must begin late enough; those of
    processes that are known there already are other processes."""
    shift = max(op.start if op.end is None else op.end for op in history.ops) + 1
    others = max(op.process for op in history.ops) + 1
    for op in ops:
        op.process += others
        op.index = op.start = op.start + shift
        if op.end is not None:
            op.end_index = op.end = op.end + shift
    return History([*history.ops, *ops])


def _micro(word: str) -> list[Any]:
    f, key, rest = word[0], word[1], word[2:]
    if f == "r":
        if rest.startswith("="):
            return ["r", key, None if rest == "=" else int(rest[1:])]
        return ["r", key, list(map(int, rest))]
    return [{"a": "append", "w": "w"}[f], key, int(rest)]
