r"""Op lines in the log of a Jepsen test: `INFO  jepsen.util - 3\t:invoke\t:cas\t[1 2]`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from harness.formats._edn import Edn
from harness.formats._source import Cut, Damage, Source
from harness.history import MISMATCH

# Process, type, f and value, which is printed so that it holds no tab; newer ones add the error.
_OP = re.compile(r"(?:^|.*?\s)(\S+)\t:(\w+)\t:([^\s]+)\t([^\t]+)(?:\t(.+))?")
_MAYBE = re.compile(r"(?:^|\s)\d+\t:")
_TIMED_OUT = "timed-out"


def logged(source: Source) -> Iterator[Mapping[Any, Any]]:
    """The op maps that the lines hold; other lines are left out.

    A `cas` that failed met another value, and its error is `MISMATCH`, unless the line names
    another error. `:timed-out` in place of a value is an error. Raises `UnreadableError` for an op
    line that cannot be read, and for a last line without its end: what is missing of it would
    change the value.
    """
    while True:
        end = source.text.find("\n", source.pos)
        if end < 0:
            if not source.ended:
                source.more()
                continue
            if source.pos < len(source.text):
                raise source.damaged("The file ends within this line.")
            return
        line = source.text[source.pos : end].rstrip("\r")
        op = _op(line, source)
        source.at, source.pos = source.pos, end + 1
        if op is not None:
            yield op


def is_op(line: str) -> bool:
    """Whether the line tells of an op."""
    return _OP.fullmatch(line) is not None


def _op(line: str, source: Source) -> dict[str, Any] | None:
    found = _OP.fullmatch(line)
    if found is None:
        if _MAYBE.search(line):
            raise source.damaged("An op has process, type, f and value, with tabs between them.")
        return None
    process, kind, f, text, error = found.groups()
    op: dict[str, Any] = {
        "process": int(process) if process.isdecimal() else process,
        "type": kind,
        "f": f,
    }
    if type(op["process"]) is not int:
        return op
    try:
        value = _value(text)
    except (Cut, Damage) as error_in_value:
        why = getattr(error_in_value, "why", "It ends too early.")
        raise source.damaged(f"The value {text[:60]!r} cannot be read. {why}") from None
    if error is not None:
        op["error"] = error.removeprefix(":")
    if value == _TIMED_OUT and text.strip() == f":{_TIMED_OUT}":
        op.setdefault("error", _TIMED_OUT)
        return op
    if kind == "fail" and f == "cas":
        op.setdefault("error", MISMATCH)
    op["value"] = value
    return op


@lru_cache(maxsize=1 << 16)  # the same few are on nearly all lines
def _value(text: str) -> Any:
    grammar = Edn()
    value, end = grammar.value(text, 0, True)
    if grammar.blank(text, end, True) < len(text):
        raise Damage(end, "Something stands after it.")
    return value
