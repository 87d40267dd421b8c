"""Common op maps in EDN at the speed of a JSON parser.

Nearly all op maps of nearly all histories hold no map in a map, no list, set, comment or escape.
Such a map is cut at its blanks, each piece is turned into JSON (few different ones, so that nearly
all are looked up), and the pieces joined are a JSON array that `orjson` reads: far faster than
reading token by token in Python. Whatever does not fit is left to the full reader, which also
says what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

_MAP = re.compile(r"[\s,]*(?:#[a-z][a-z.]*\.Op)?(\{([^{}\\]*(?:\{[^{}\\]*\}[^{}\\]*)*)\})")
_PIECE = re.compile(
    r"""([\[{]*)
    (?: :([A-Za-z*!_?<>=+-][A-Za-z0-9*!_?<>=+./-]*)
    | (nil|true|false|-?[1-9][0-9]{0,17}|0|-?(?:0|[1-9][0-9]{0,5})\.[0-9]{1,9}) )?
    ([\]}]*)""",
    re.VERBOSE,
)
_MOST_PIECES = 1 << 16


def quick_map(text: str, pos: int) -> tuple[Mapping[Any, Any], int, int] | None:
    """The map after blanks at `pos`, its beginning and its end; None if it is not so simple."""
    found = _MAP.match(text, pos)
    if found is None:
        return None
    body = found[2]
    try:
        if '"' in body:
            pieces = _with_strings(body)
        else:
            pieces = ",".join(map(_JSON.__getitem__, body.replace(",", " ").split()))
            if "[," in pieces or ",]" in pieces:
                pieces = pieces.replace("[,", "[").replace(",]", "]")
        items = orjson.loads(f"[{pieces}]")
        values = _map(items if "{" not in body else [_with_maps(item) for item in items])
    except (_NotSimpleError, ValueError, TypeError):
        return None
    return values, found.start(1), found.end()


def _map(items: list[Any]) -> dict[Any, Any]:
    values = dict(zip(items[::2], items[1::2], strict=True))
    if 2 * len(values) != len(items):
        raise _NotSimpleError  # a key stands twice
    return values


def _with_maps(value: Any) -> Any:
    # A map in the map is the JSON object {"": [key, value, …]}: keys need not be strings.
    if type(value) is dict:
        return _map([_with_maps(item) for item in value[""]])
    return list(map(_with_maps, value)) if type(value) is list else value


class _NotSimpleError(Exception):
    """A piece that only the full reader understands."""


class _Pieces(dict[str, str]):
    """EDN between two blanks to the same in JSON."""

    def __missing__(self, piece: str) -> str:
        number = piece.strip("[]")
        if number.isdecimal() and len(number) < 19:  # the same in JSON, or else no number in either
            if len(piece) < 5:
                self[piece] = piece
            return piece  # a time, an index, a value: never the same again
        found = _PIECE.fullmatch(piece)
        if found is None:
            raise _NotSimpleError
        opening, keyword, word, closing = found.groups(default="")
        if keyword:
            word = f'"{keyword}"'
        elif word == "nil":
            word = "null"
        opening, closing = opening.replace("{", '{"":['), closing.replace("}", "]}")
        json = f"{opening}{word}{closing}"
        if len(self) < _MOST_PIECES and len(piece) < 20:
            self[piece] = json
        return json


_JSON = _Pieces()


def _with_strings(body: str) -> str:
    parts = body.split('"')
    pieces: list[str] = []
    # ValueError where a string goes on after the brace that was taken for the end of the map.
    for between, string in zip(parts[::2], [*parts[1::2], None], strict=True):
        pieces += map(_JSON.__getitem__, between.replace(",", " ").split())
        if string is not None:
            if "[," in string or ",]" in string:
                raise _NotSimpleError  # would be taken for brackets that stand alone
            pieces.append(f'"{string}"')
    return ",".join(pieces).replace("[,", "[").replace(",]", "]")
