"""Which format a file has, by its beginning."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import orjson

from harness.errors import UnreadableError
from harness.formats._log import is_op

_BEGINNING = 1 << 20
_JSON = re.compile(r'[\s,]*\[?[\s,]*\{\s*"(?:[^"\\]|\\.)*"\s*:')
_BLANK = r"[\s,]*(?:;[^\n]*[\s,]*)*"
_EDN = re.compile(rf"{_BLANK}(?:[\[(]{_BLANK}[\])]|[\[(]?{_BLANK}[{{#])")


def detected(path: Path, file: BinaryIO, formats: Sequence[str]) -> str:
    """The name of the format. `file` is left at its beginning.

    Raises `UnreadableError` if it is none, or the file has nothing but blanks.
    """
    head = file.read(_BEGINNING)
    file.seek(0)
    text = head.decode("utf-8-sig", "replace")
    if not text.strip():
        raise UnreadableError(f"{path} holds no ops.", why="It is empty.", do="Name another file.")
    if _JSON.match(text):
        return "jsonl" if _is_ours(head) else "json"
    if _EDN.match(text):
        return "edn"
    if any(map(is_op, text.splitlines())):
        return "jepsen-log"
    if path.suffix == ".jsonl":
        return "jsonl"
    raise UnreadableError(
        f"{path} is of no format that is known.",
        why=f"It begins with {text.strip()[:40]!r}.",
        do=f"Name one, if it is one of them: {', '.join(formats)}.",
    )


def _is_ours(head: bytes) -> bool:
    # Others' lines hold no key of their own (it is part of the value), or an op of the nemesis.
    *lines, last = head.splitlines()
    return all(map(_is_record, lines)) and (_is_record(last) or bool(lines))


def _is_record(line: bytes) -> bool:
    try:
        record = orjson.loads(line)
    except ValueError:
        return False
    numbers = ("index", "time", "process")
    return (
        isinstance(record, dict)
        and "key" in record
        and all(type(record.get(name)) is int for name in numbers)
    )
