"""A short way to write a history, and where published ones lie. For tests only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.history import History, Record

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "histories"
"""Public corpora beside the checkout; may be absent."""


def history(*lines: tuple[Any, ...], **known: Any) -> History:
    """A history from lines `(process, type, f, value)`, optionally with a dict of other fields.

    Each line is 100 ms after the one before; the key is `x`, the node that of the process number.
    """
    return History.of((_record(index, *line) for index, line in enumerate(lines)), **known)


def _record(
    index: int, process: int, kind: Any, f: str, value: Any, more: dict[str, Any] | None = None
) -> Record:
    fields: dict[str, Any] = {"key": "x", "node": f"node-{process}", **(more or {})}
    return Record(index, index * 100_000_000, process, kind, f, value=value, **fields)
