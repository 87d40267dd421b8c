"""Generated histories of ops that overlap, small enough for brute force."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from harness.history import History, Op
from tests.support.services import numbered

OUTCOMES = st.sampled_from(["ok", "ok", "ok", "ok", "info", "fail"])


def overlapping(
    fields: st.SearchStrategy[dict[str, Any]],
    *,
    most: int = 8,
    processes: int = 3,
    least: int = 0,
) -> st.SearchStrategy[History]:
    """Histories of ops with these fields, each process one at a time, a new one after an info."""
    timed = st.tuples(st.integers(0, processes - 1), st.integers(0, 2), st.integers(0, 4), fields)
    return st.lists(timed, min_size=least, max_size=most).map(_history)


def registers(*, most: int = 10) -> st.SearchStrategy[History]:
    """Writes of unique values (their places, from 1 on) to two keys, and reads that mostly answer
    with one of them, or with None."""
    fields = st.fixed_dictionaries(
        {
            "f": st.sampled_from(["write", "read"]),
            "key": st.sampled_from(["x", "x", "y"]),
            "outcome": st.sampled_from(["ok"] * 8 + ["info", "fail"]),
            "result": st.integers(0, 20),
            "node": st.sampled_from(["n1", "n1", "n2"]),
        }
    )
    return overlapping(fields, most=most, least=most // 2).map(_with_sources)


def _with_sources(history: History) -> History:
    for place, op in enumerate(history.ops, start=1):
        if op.f == "write":
            op.value = place
    for op in history.ops:
        if op.f == "write":
            op.result = None
        elif op.outcome == "ok":
            made = [one.value for one in history.ops if one.f == "write" and one.key == op.key]
            known = [None, *made]
            op.result = known[op.result % len(known)] if op.result < 20 else 99
    return history


def _history(drawn: Sequence[tuple[int, int, int, dict[str, Any]]]) -> History:
    clocks: dict[int, int] = {}
    numbers: dict[int, int] = {}
    ops = []
    for place, (process, pause, lasting, fields) in enumerate(drawn):
        start = clocks.get(process, 0) + 10 * pause
        end = start + 10 * lasting + 5
        clocks[process] = end
        # No two records at the same moment: those of later ops come a little later.
        known = fields.get("outcome", "ok") != "info"
        op = Op(
            process=numbers.get(process, process),
            f=fields["f"],
            key=fields.get("key"),
            value=fields.get("value"),
            outcome=fields.get("outcome", "ok"),
            result=fields.get("result") if fields.get("outcome", "ok") == "ok" else None,
            start=start * 100 + place,
            end=end * 100 + place if known else None,
            index=0,
            end_index=None,
            node=fields.get("node"),
            error=fields.get("error"),
        )
        if not known:
            numbers[process] = 100 + place
        ops.append(op)
    return numbered(ops)
