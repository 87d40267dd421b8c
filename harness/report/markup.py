"""HTML as text. Everything that a run recorded is untrusted and goes through here."""

from __future__ import annotations

import re
from html import escape
from typing import Any

_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_TAG = re.compile(r"[a-z][a-z0-9]*\Z")


class Html(str):
    """Text that is HTML already. Any other text is escaped where it is put in."""

    __slots__ = ()


def text(value: Any) -> Html:
    """`value` as it is shown to people: escaped, control characters replaced. Html stays."""
    if isinstance(value, Html):
        return value
    return Html(escape(_UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", str(value)), quote=False))


def quoted(value: Any) -> str:
    """`value` as it stands in the quotes of an attribute."""
    return text(str(value)).replace('"', "&quot;").replace("'", "&#x27;")


def join(*parts: Any, by: str = "") -> Html:
    """The parts, one after the other; None is left out."""
    return Html(by.join(text(part) for part in parts if part is not None))


def element(tag: str, *content: Any, **attributes: Any) -> Html:
    """`<tag …>content</tag>`. `class_` is class, `data_op` data-op; None and False leave an
    attribute out, True is one without a value."""
    assert _TAG.match(tag), tag
    told = []
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = name.rstrip("_").replace("_", "-")
        told.append(f" {name}" if value is True else f' {name}="{quoted(value)}"')
    return Html(f"<{tag}{''.join(told)}>{join(*content)}</{tag}>")


def table(head: list[Any], rows: list[list[Any]], class_: str | None = None) -> Html:
    """A table that scrolls by itself where it is too wide."""
    heads = element("tr", *(element("th", cell, scope="col") for cell in head))
    body = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    whole = element("table", element("thead", heads), element("tbody", *body), class_=class_)
    return element("div", whole, class_="wide")


def cut(value: str, limit: int) -> str:
    """`value`, of which no more than `limit` characters are shown, with a note of how many are."""
    return value if len(value) <= limit else f"{value[:limit]}… ({len(value)} characters)"
