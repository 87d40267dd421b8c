"""The evidence of a verdict as a picture: ops as bars, one row for each process, time to the right.

Time is drawn by the order of events, not to scale: what matters is which ops overlap, and pauses
between them would only push the bars apart. The moments stand at the bottom.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from harness.check._text import end_of, span, start_of
from harness.check.verdict import Verdict
from harness.history import History, Op, hashable

MAX_OPS = 18
"""Ops in a picture: the few of the evidence, and as many of those before them as fit."""

_LEFT, _TOP, _ROW, _ROW_WITH_ARROWS, _BAR = 130, 56, 40, 76, 24
_COLOURS = {"ok": "#2e7d4f", "info": "#b7791f", "fail": "#7a7f87"}
_BLOCKED = "#c0392b"
_CHARACTER = 6.5  # the width of one, about, in pixels
_LABEL = 34  # characters of an op's label
_ANSWERS = ("read", "r", "get", "dequeue", "pop", "contains")


def draw(verdict: Verdict, history: History) -> str | None:
    """An SVG of the ops that `verdict` is about, or None where its evidence names none.

    Read are these of `verdict.data`, where they are there: `ops` (those of the evidence, each with
    its `index`), `key` (of all ops to be shown), `blocked` (the index of the op that has no place),
    `prefix` (indexes in a legal order: bars are numbered by it) and `edges` (`from`, `to`, `kind`:
    arrows between ops). O(n).
    """
    shown = _chosen(verdict.data, history)
    if not shown:
        return None
    picture = _Picture(shown, verdict.data)
    order = {index: place for place, index in enumerate(verdict.data.get("prefix", ()), start=1)}
    width = max(picture.width, len(verdict.summary) * _CHARACTER + 30)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {picture.height}" '
        f'width="{width:.0f}" height="{picture.height}" font-family="sans-serif" font-size="12">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#333"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{picture.height}" fill="#fff"/>',
        f'<text x="10" y="20" font-weight="bold">{_xml(verdict.check)}</text>',
        f'<text x="10" y="38">{_xml(verdict.summary)}</text>',
        *picture.rows(width),
    ]
    named = _named(verdict.data)
    for op in shown:
        colour = _BLOCKED if op.index == verdict.data.get("blocked") else _COLOURS[op.outcome]
        parts += picture.bar(op, colour, order.get(op.index), bold=op.index in named)
    for edge in _told(verdict.data, "edges"):
        parts += picture.arrow(edge)
    return "\n".join([*parts, *picture.moments(), "</svg>", ""])


def _told(data: Mapping[str, Any], what: str) -> list[Mapping[str, Any]]:
    """The ops or edges of a verdict; other checks may mean something else by these names."""
    given = data.get(what)
    if not isinstance(given, list | tuple):
        return []
    return [one for one in given if isinstance(one, Mapping)]


def _named(data: Mapping[str, Any]) -> set[int | None]:
    return {op.get("index") for op in _told(data, "ops")} | {data.get("blocked")}


def _chosen(data: Mapping[str, Any], history: History) -> list[Op]:
    named = _named(data)
    ops = history.ops
    if "key" in data:
        ops = [op for op in ops if hashable(op.key) == hashable(data["key"])]
    chosen = [op for op in ops if op.index in named][-MAX_OPS:]
    if not chosen:
        return []
    if "edges" not in data:  # (a cycle of transactions needs no others to be understood)
        last = max(op.index if op.end_index is None else op.end_index for op in chosen)
        others = [op for op in ops if op.index not in named and op.index < last]
        chosen += others[len(others) - min(len(others), MAX_OPS - len(chosen)) :]
    return sorted(chosen, key=lambda op: op.index)


@dataclass
class _Place:
    left: float
    right: float
    middle: float


class _Picture:
    """Where everything stands."""

    def __init__(self, shown: Sequence[Op], data: Mapping[str, Any]) -> None:
        self.shown = shown
        self.names = {op["index"]: op["name"] for op in _told(data, "ops") if "name" in op}
        height = _ROW_WITH_ARROWS if _told(data, "edges") else _ROW
        moments = {op.index for op in shown} | {
            op.end_index for op in shown if op.end_index is not None
        }
        columns = {index: place for place, index in enumerate(sorted(moments))}
        ends = {
            op.index: len(columns) if op.end_index is None else columns[op.end_index]
            for op in shown
        }
        step = 24.0
        for op in shown:
            span = max(ends[op.index] - columns[op.index], 0.6)
            step = max(step, min(130.0, (len(_label(op)) + 8) * _CHARACTER / span))
        self.row = {process: n for n, process in enumerate(sorted({op.process for op in shown}))}
        self.places = {
            op.index: _Place(
                _LEFT + columns[op.index] * step,
                _LEFT + max(ends[op.index], columns[op.index] + 0.6) * step - 4,
                _TOP + (self.row[op.process] + 0.5) * height,
            )
            for op in shown
        }
        self.width = _LEFT + (len(columns) + 1) * step
        self.row_height = height
        self.height = _TOP + height * len(self.row) + 34

    def rows(self, width: float) -> list[str]:
        parts = []
        for process, row in self.row.items():
            y = _TOP + (row + 0.5) * self.row_height
            nodes = {op.node for op in self.shown if op.process == process and op.node}
            label = " ".join([f"process {process}", *sorted(nodes)])
            parts.append(f'<text x="10" y="{y + 4}" fill="#444">{_xml(label)}</text>')
            parts.append(
                f'<line x1="{_LEFT}" y1="{y}" x2="{width - 10:.0f}" y2="{y}" stroke="#e3e3e3"/>'
            )
        return parts

    def bar(self, op: Op, colour: str, place: int | None, *, bold: bool) -> list[str]:
        at = self.places[op.index]
        dashed = ' stroke-dasharray="4 3"' if op.end is None else ""
        number = "" if place is None else f"{place}. "
        label = number + self.names.get(op.index, "") + " " + _label(op)
        room = int((at.right - at.left - 8) / _CHARACTER)
        label = label if len(label) <= room else label[: room - 1] + "…"
        told = f"{op.index}: {_label(op, cut=None)}, {op.outcome}, {span(op)}"
        return [
            f"<g><title>{_xml(told)}</title>",
            f'<rect x="{at.left:.1f}" y="{at.middle - _BAR / 2}" rx="4" '
            f'width="{at.right - at.left:.1f}" height="{_BAR}" fill="{colour}" fill-opacity="0.16" '
            f'stroke="{colour}" stroke-width="{2.5 if bold else 1}"{dashed}/>',
            f'<text x="{at.left + 4:.1f}" y="{at.middle + 4}" fill="{colour}">'
            f"{_xml(label.strip())}</text></g>",
        ]

    def arrow(self, edge: Mapping[str, Any]) -> list[str]:
        if edge["from"] not in self.places or edge["to"] not in self.places:
            return []
        start, end = self.places[edge["from"]], self.places[edge["to"]]
        # Arrows leave on the left and arrive on the right, so that those of a pair do not meet.
        x1 = start.left + (start.right - start.left) * 0.3
        x2 = end.left + (end.right - end.left) * 0.7
        y1, y2 = start.middle, end.middle
        down = 1 if y2 >= y1 else -1
        y1, y2 = y1 + down * _BAR / 2, y2 - down * _BAR / 2
        bend = 18 if y1 == y2 or x1 == x2 else 0
        x, y = (x1 + x2) / 2 + bend, (y1 + y2) / 2
        label_x, label_y = x1 * 0.7 + x2 * 0.3 + bend / 2 + 6, y1 * 0.7 + y2 * 0.3 + 4
        return [
            f'<path d="M{x1:.1f} {y1:.1f}Q{x:.1f} {y:.1f} {x2:.1f} {y2:.1f}" fill="none" '
            'stroke="#333" marker-end="url(#tip)"/>',
            f'<text x="{label_x:.1f}" y="{label_y:.1f}" fill="#333">{_xml(edge["kind"])}</text>',
        ]

    def moments(self) -> list[str]:
        first, last = self.shown[0], max(self.shown, key=lambda op: op.end or op.start)
        y = self.height - 10
        right = self.places[last.index].right
        return [
            f'<text x="{_LEFT}" y="{y}" fill="#777">{start_of(first)}</text>',
            f'<text x="{right:.1f}" y="{y}" fill="#777" text-anchor="end">'
            f"{end_of(last) if last.end else start_of(last)}</text>",
        ]


def _label(op: Op, cut: int | None = _LABEL) -> str:
    if op.outcome == "ok" and (op.f in _ANSWERS or (op.value is None and op.result is not None)):
        text = f"{op.f} → {op.result!r}"
    elif _is_transaction(op.value):
        done = op.result if op.outcome == "ok" and _is_transaction(op.result) else op.value
        text = ", ".join(f"{f} {key} {_short(value)}" for f, key, value in done)
    else:
        text = op.f if op.value is None else f"{op.f} {op.value!r}"
    return text if cut is None or len(text) <= cut else text[: cut - 1] + "…"


def _is_transaction(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(micro, list | tuple) and len(micro) == 3 for micro in value)
    )


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(str, value)) + "]"
    return str(value)


def _xml(text: str) -> str:
    # XML has no way to write most control characters (XML 1.0, section 2.2).
    return escape(_UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text))


_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
