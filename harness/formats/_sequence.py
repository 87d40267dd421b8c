"""Op maps one after another, or all of them in one vector, list or array."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from harness.formats._source import Cut, Damage, Source

_CLOSING = {"[": "]", "(": ")"}


class Grammar(Protocol):
    """How values are written. Positions are those of characters in `text`; `ended` says that the
    file has no more than `text`, without which everything that reaches its end is `Cut`."""

    openings: str
    """The brackets that may be around all ops."""

    def quick(self, text: str, pos: int) -> tuple[Mapping[Any, Any], int, int] | None:
        """The map that comes next with its beginning and end, if it is one of the common kind that
        can be read fast. None says nothing."""

    def blank(self, text: str, pos: int, ended: bool) -> int:
        """Where the next value or bracket begins."""

    def value(self, text: str, pos: int, ended: bool) -> tuple[Any, int]:
        """The value that begins at `pos`, and where it ends. Raises `Cut` and `Damage`."""


def op_maps(source: Source, grammar: Grammar) -> Iterator[Mapping[Any, Any]]:
    """The maps of the file, one at a time; `source.at` is where the last one begins.

    Raises `UnreadableError` if anything else stands there, or the file ends within a value.
    """
    quick = grammar.quick
    inside = ""  # the bracket that closes what is around all ops
    first = True
    while True:
        found = quick(source.text, source.pos)
        if found is not None:
            op, source.at, source.pos = found
            first = False
            yield op
            continue
        try:
            source.pos = grammar.blank(source.text, source.pos, source.ended)
            here = source.text[source.pos : source.pos + 1]
            if not here:
                if inside:
                    raise Damage(source.pos, f"It ends before the {inside!r} that closes all ops.")
                return
            if first and here in grammar.openings:
                inside = _CLOSING[here]
                source.pos += 1
            elif here == inside:
                source.pos += 1
                break
            else:
                value, end = grammar.value(source.text, source.pos, source.ended)
                if not isinstance(value, dict):
                    raise Damage(source.pos, f"Here stands {_short(value)}, and no op map.")
                source.at, source.pos = source.pos, end
                yield value
            first = False
        except Cut:
            _read_on(source)
        except Damage as damage:
            raise source.damaged(damage.why, damage.pos) from None
    _expect_end(source, grammar)


def _expect_end(source: Source, grammar: Grammar) -> None:
    while True:
        try:
            source.pos = grammar.blank(source.text, source.pos, source.ended)
            break
        except Cut:
            _read_on(source)
        except Damage as damage:
            raise source.damaged(damage.why, damage.pos) from None
    if source.pos < len(source.text):
        raise source.damaged("Something stands after the bracket that closes all ops.")


def _read_on(source: Source) -> None:
    if source.ended:
        raise source.damaged("The file ends within what begins here.")
    source.more()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
