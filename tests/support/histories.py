"""Readers for histories that others wrote, and a short way to write one's own. For tests only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from harness.history import MISMATCH, History, Record

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "histories"
"""Public corpora beside the checkout; may be absent."""


def history(*lines: tuple[Any, ...], **known: Any) -> History:
    """A history from lines `(process, type, f, value)`, optionally with a dict of other fields.

    Each line is 100 ms after the one before; the key is `x`, the node that of the process number.
    """
    return History.of((_record(index, *line) for index, line in enumerate(lines)), **known)


def read_jepsen_log(path: Path) -> History:
    """One register in the log lines of Jepsen's etcd test."""
    return History.of(_logged(path.read_text().splitlines()))


def read_knossos(path: Path) -> History:
    """A register in EDN. There, a read of nil says nothing; it becomes an `info`."""
    records: list[Record] = []
    for line in parse_edn(path.read_text()):
        if isinstance(line["process"], int):
            unread = line["type"] == "ok" and line["f"] == "read" and line["value"] is None
            kind = "info" if unread else line["type"]
            records.append(_record(len(records), line["process"], kind, line["f"], line["value"]))
    return History.of(_with_fresh_processes(records))


def parse_edn(text: str) -> Any:
    """The first form of an EDN text: lists, vectors, maps, keywords, numbers, strings, nil."""
    return _form(iter(_EDN_TOKEN.findall(re.sub(r";[^\n]*", "", text))))


_EDN_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][(){}]|[^][(){}\s,"]+')
_EDN_CLOSING = {"(": ")", "[": "]", "{": "}"}
_EDN_WORDS = {"nil": None, "true": True, "false": False}


def _form(tokens: Iterator[str], token: str | None = None) -> Any:
    token = next(tokens) if token is None else token
    if token in _EDN_CLOSING:
        items: list[Any] = []
        while (inner := next(tokens)) != _EDN_CLOSING[token]:
            items.append(_form(tokens, inner))
        return dict(zip(items[::2], items[1::2], strict=True)) if token == "{" else items
    if token in _EDN_WORDS:
        return _EDN_WORDS[token]
    if token[0] == ":":
        return token[1:]
    return token[1:-1] if token[0] == '"' else int(token)


def _logged(lines: Iterable[str]) -> Iterator[Record]:
    for index, line in enumerate(lines):
        found = re.match(r"INFO +jepsen\.util - (\d+)\t:(\w+)\t:(\w+)\t(.*)", line)
        if found is None:
            continue
        process, kind, f, text = found.groups()
        value = None if text == ":timed-out" else parse_edn(text)
        error = MISMATCH if kind == "fail" and f == "cas" else None
        yield _record(index, int(process), kind, f, value, {"error": error})


def _record(
    index: int, process: int, kind: Any, f: str, value: Any, more: dict[str, Any] | None = None
) -> Record:
    fields: dict[str, Any] = {"key": "x", "node": f"node-{process}", **(more or {})}
    return Record(index, index * 100_000_000, process, kind, f, value=value, **fields)


def _with_fresh_processes(records: Iterable[Record]) -> Iterator[Record]:
    # A read that said nothing does not end its process there; here an info op does.
    renamed: dict[int, int] = {}
    for record in records:
        process = record.process
        record.process = renamed.get(process, process)
        if record.type == "info":
            renamed[process] = record.process + 1000
        yield record
