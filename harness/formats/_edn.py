"""EDN values (https://github.com/edn-format/edn) in a text that is read in pieces.

Keywords and symbols become strings without colon, nil None, characters strings, sets lists, ratios
the nearest number; a tagged literal is the value it tags. Keys of maps keep their type, except that
collections become tuples, to be keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from harness.formats._edn_quick import quick_map
from harness.formats._source import Cut, Damage
from harness.history import hashable

DEEPEST = 100
"""Levels of nesting. Real ones have some ten; what has more is no history, and would exhaust the
stack."""

_BLANK = re.compile(r"[\s,]*(?:;[^\n]*[\s,]*)*")
_TOKEN = re.compile(
    r"""(?P<atom>[^\s,()\[\]{}"\\;#^@`~'][^\s,()\[\]{}"\\;]*)
    |(?P<string>"[^"\\]*(?:\\.[^"\\]*)*")
    |(?P<open>\#?\{|\(|\[)
    |(?P<close>[)\]}])
    |(?P<discard>\#_)
    |(?P<symbolic>\#\#-?\w+)
    |(?P<tag>\#:?[^\W\d][^\s,()\[\]{}"\\;]*)
    |(?P<pattern>\#"[^"\\]*(?:\\.[^"\\]*)*")
    |(?P<char>\\(?:\w+|.))""",
    re.VERBOSE | re.DOTALL,
)
_CLOSING = {"(": ")", "[": "]", "{": "}", "#{": "}"}
_WORDS: Mapping[str, Any] = {"nil": None, "true": True, "false": False}
_SYMBOLIC = {"##Inf": float("inf"), "##-Inf": float("-inf"), "##NaN": float("nan")}
_CHARS = {"newline": "\n", "return": "\r", "space": " ", "tab": "\t", "formfeed": "\f"}
_CHARS["backspace"] = "\b"
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "b": "\b", '"': '"', "\\": "\\"}
_ESCAPE = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\[0-3]?[0-7]{1,2}|\\.", re.DOTALL)
_NUMBER = re.compile(
    r"""(?P<whole>[+-]?(?:0|[1-9][0-9]*))N?
    |(?P<hex>[+-]?0[xX][0-9a-fA-F]+)
    |(?P<ratio>[+-]?[0-9]+/[0-9]+)
    |(?P<float>[+-]?[0-9]+(?:(?:\.[0-9]*)?[eE][+-]?[0-9]+|\.[0-9]*|(?=M)))M?""",
    re.VERBOSE,
)
_NUMERIC = re.compile(r"[+-]?[0-9]")


class Edn:
    """The grammar of EDN."""

    openings = "[("

    quick = staticmethod(quick_map)

    def blank(self, text: str, pos: int, ended: bool) -> int:
        """Where the next value or bracket begins, after comments and discarded values."""
        reader = _Reader(text, pos, ended)
        reader.skip(0)
        return reader.pos

    def value(self, text: str, pos: int, ended: bool) -> tuple[Any, int]:
        """The value that begins at `pos`, and where it ends."""
        reader = _Reader(text, pos, ended)
        value = reader.value(0)
        return value, reader.pos


class _Reader:
    """Reads values from `text`, and goes on to the place after them."""

    def __init__(self, text: str, pos: int, ended: bool) -> None:
        self.text = text
        self.pos = pos
        self.ended = ended

    def skip(self, depth: int) -> None:
        """Go on to the next value or bracket, over comments and discarded values."""
        while True:
            self._go_to(_BLANK.match(self.text, self.pos).end())  # type: ignore[union-attr]
            if not self.text.startswith("#_", self.pos):
                return
            self.pos += 2
            self.value(depth + 1)

    def value(self, depth: int) -> Any:
        """The next value."""
        if depth > DEEPEST:
            raise Damage(self.pos, f"Here are more than {DEEPEST} brackets in each other.")
        self.skip(depth)
        begin = self.pos
        kind, token = self._token()
        if kind == "atom":
            return _atom(token, begin)
        if kind == "string":
            return _unescaped(token[1:-1], begin)
        if kind == "open":
            if token == "{":
                return self._map(depth, "")
            return self._items(token, depth)
        if kind == "tag":
            if token[1] == ":":
                return self._map_of_namespace(token[2:].lstrip(":"), depth)
            return self.value(depth + 1)
        if kind == "char":
            return _char(token[1:], begin)
        if kind == "pattern":
            return token[2:-1]
        if kind == "symbolic" and token in _SYMBOLIC:
            return _SYMBOLIC[token]
        raise Damage(begin, f"Here stands {token!r}, where a value should.")

    def _token(self) -> tuple[str | None, str]:
        found = _TOKEN.match(self.text, self.pos)
        if found is None:
            here = self.text[self.pos : self.pos + 4]
            if here in ("", "\\") or here.startswith(('"', '#"')):
                raise Cut
            if here[0] == "#" and len(here) < 4 and not self.ended:
                raise Cut  # no tag yet
            raise Damage(self.pos, f"Here stands {here[0]!r}, where a value should.")
        self._go_to(found.end())
        return found.lastgroup, found.group()

    def _go_to(self, end: int) -> None:
        if end == len(self.text) and not self.ended:
            raise Cut  # it may go on
        self.pos = end

    def _items(self, opening: str, depth: int) -> list[Any]:
        closing = _CLOSING[opening]
        items = []
        while not self._closed(opening, closing, depth):
            items.append(self.value(depth + 1))
        return items

    def _map(self, depth: int, prefix: str) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        while not self._closed("{", "}", depth):
            begin = self.pos
            named = self.text[begin] == ":"
            key = self.value(depth + 1)
            if named and prefix and "/" not in key:
                key = prefix + key
            elif isinstance(key, list | dict):
                key = hashable(key)
            if key in values:
                raise Damage(begin, f"The key {key!r} stands twice in one map.")
            if self._closed("{", "}", depth):
                raise Damage(begin, f"The key {key!r} has no value.")
            values[key] = self.value(depth + 1)
        return values

    def _map_of_namespace(self, namespace: str, depth: int) -> dict[Any, Any]:
        self.skip(depth)
        begin = self.pos
        if self._token() != ("open", "{"):
            raise Damage(begin, "Here should stand the map of the namespace.")
        return self._map(depth, f"{namespace}/")

    def _closed(self, opening: str, closing: str, depth: int) -> bool:
        self.skip(depth)
        here = self.text[self.pos : self.pos + 1]
        if not here:
            raise Cut
        if here == closing:
            self._go_to(self.pos + 1)
            return True
        if here in ("}", "]", ")"):
            raise Damage(self.pos, f"Here stands {here!r}, but {opening!r} is what is open.")
        return False


def _atom(token: str, pos: int) -> Any:
    if token[0] == ":":
        if len(token) == 1 or token[1] == ":":
            raise Damage(pos, f"{token!r} is no keyword.")
        return token[1:]
    if token in _WORDS:
        return _WORDS[token]
    return _number(token, pos) if _NUMERIC.match(token) else token


def _number(token: str, pos: int) -> int | float:
    found = _NUMBER.fullmatch(token)
    try:
        if found is not None and found["whole"]:
            return int(found["whole"])
        if found is not None and found["hex"]:
            return int(found["hex"], 16)
        if found is not None and found["ratio"]:
            ratio = Fraction(found["ratio"])
            return ratio.numerator if ratio.denominator == 1 else float(ratio)
        if found is not None:
            return float(found["float"])
    except (ValueError, ArithmeticError):
        pass  # too long, too great, or a ratio to nothing
    raise Damage(pos, f"{token[:60]!r} is no number.")


def _char(name: str, pos: int) -> str:
    if len(name) == 1:
        return name
    if name in _CHARS:
        return _CHARS[name]
    escape = "\\" + name.removeprefix("o")
    if not _ESCAPE.fullmatch(escape):
        raise Damage(pos, f"{name[:60]!r} is the name of no character.")
    return _unescaped(escape, pos)


def _unescaped(text: str, pos: int) -> str:
    if "\\" not in text:
        return text
    try:
        return _ESCAPE.sub(_escape, text)
    except (KeyError, ValueError):
        raise Damage(pos, f"{text[:60]!r} has an escape that is none.") from None


def _escape(found: re.Match[str]) -> str:
    escape = found.group()[1:]
    if escape[0] == "u" and len(escape) > 1:
        # Pairs of surrogates are one character: hence all that stand in a row at once.
        return bytes.fromhex(escape.replace("\\u", "")[1:]).decode("utf-16-be")
    if escape[0].isdigit():
        return chr(int(escape, 8))
    return _ESCAPES[escape]
