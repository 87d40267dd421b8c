"""A whole room as a document: JSON, one JSON object a line, or Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import orjson

from .entries import Entry
from .streams import ended_state

_MARKDOWN: Final = r"\`*_{}[]<>()#+-!|"


def _object(entry: Entry) -> bytes:
    if entry.kind == "end":
        return orjson.dumps({"kind": "answer", **ended_state(entry), "clock": entry.clock})
    if entry.kind == "ask":
        asked = orjson.loads(entry.body)
        return orjson.dumps({"kind": "question", **entry.message(), "body": asked["prompt"]})
    return orjson.dumps({"kind": "message", **entry.message()})


def as_json(topic: str, entries: Iterable[Entry]) -> Iterator[bytes]:
    yield b'{"topic":' + orjson.dumps(topic) + b',"entries":[\n'
    for number, entry in enumerate(entries):
        yield (b",\n" if number else b"") + _object(entry)
    yield b"\n]}\n"


def as_jsonl(topic: str, entries: Iterable[Entry]) -> Iterator[bytes]:
    for entry in entries:
        yield _object(entry) + b"\n"


def as_markdown(topic: str, entries: Iterable[Entry]) -> Iterator[bytes]:
    yield f"# {_plain(topic)}\n\n".encode()
    for entry in entries:
        who, text = entry.user, entry.body
        if entry.kind == "ask":
            text = orjson.loads(text)["prompt"]
        elif entry.kind == "end":
            state = ended_state(entry)
            who, text = f"{state['model']}, asked by {entry.user}", state["text"]
            if state["state"] == "error":
                text += f" … ({state['reason']})"
        lines = "\n  ".join(_plain(text).splitlines())
        yield f"- **{_plain(who)}**: {lines}\n".encode()


def _plain(text: str) -> str:
    """So that nothing a user wrote is taken for Markdown or HTML."""
    return "".join(f"\\{one}" if one in _MARKDOWN else one for one in text)


Format = Callable[[str, Iterable[Entry]], Iterator[bytes]]

FORMATS: Final[Mapping[str, tuple[str, Format]]] = {
    "json": ("application/json", as_json),
    "jsonl": ("application/jsonl", as_jsonl),
    "md": ("text/markdown; charset=utf-8", as_markdown),
}
"""Name → media type, and what writes it."""
