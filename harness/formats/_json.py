"""JSON values in a text that is read in pieces."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from harness.formats._source import Cut, Damage

_BLANK = re.compile(r"[\s,]*")
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*"|["{}\[\]]', re.DOTALL)
_SCALAR = re.compile(r"[^\s,\[\]{}]+")
_LONG_NUMBER = re.compile(r"-[0-9]{19}|[0-9]{20}")
_MAYBE_LONG = re.compile(r"[0-9]{4}")


class Json:
    """The grammar of JSON. Commas count as blanks between ops."""

    openings = "["

    def __init__(self) -> None:
        self._text = ""
        self._long = False

    def quick(self, text: str, pos: int) -> tuple[Mapping[Any, Any], int, int] | None:
        """An object up to its first closing brace: no beginning of an object is one itself."""
        if text is not self._text:
            self._text, self._long = text, _holds_long_number(text)
        if self._long:
            return None
        start = _BLANK.match(text, pos).end()  # type: ignore[union-attr]  # it matches nothing, too
        end = text.find("}", start) + 1
        if end == 0 or text[start] != "{":
            return None
        try:
            return orjson.loads(text[start:end]), start, end
        except ValueError:
            return None

    def blank(self, text: str, pos: int, ended: bool) -> int:
        """Where the next value or bracket begins."""
        end = _BLANK.match(text, pos).end()  # type: ignore[union-attr]  # it matches nothing, too
        if end == len(text) and not ended:
            raise Cut
        return end

    def value(self, text: str, pos: int, ended: bool) -> tuple[Any, int]:
        """The value that begins at `pos`, and where it ends."""
        end = _end(text, pos, ended)
        try:
            # Not orjson: it takes whole numbers beyond 64 bits for floats, and drops digits.
            return json.loads(text[pos:end]), end
        except json.JSONDecodeError as error:
            raise Damage(pos + error.pos, f"This is no JSON: {error.msg}.") from None
        except (ValueError, RecursionError) as error:
            raise Damage(pos, f"This is no JSON that can be read: {error}.") from None


def _end(text: str, pos: int, ended: bool) -> int:
    if text[pos] not in '{["':
        scalar = _SCALAR.match(text, pos)
        end = scalar.end() if scalar else pos + 1
        if end == len(text) and not ended:
            raise Cut
        return end
    depth = 0
    for found in _STRUCTURE.finditer(text, pos):
        token = found.group()
        if token == '"':  # a string without an end
            break
        if token in "{[":
            depth += 1
        elif token in "}]":
            depth -= 1
        if depth == 0:
            return found.end()
    raise Cut


def _holds_long_number(text: str) -> bool:
    # Of 19 digits in a row, four stand four places apart, wherever one begins to count: looking at
    # every fourth place first takes a fourth of the time.
    return bool(_MAYBE_LONG.search(text[::4]) and _LONG_NUMBER.search(text))
