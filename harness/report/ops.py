"""The ops of a run as columns: a hundred thousand of them are a few arrays."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from harness.history import MISMATCH, Record
from harness.report.markup import Html, cut

if TYPE_CHECKING:
    import numpy as np

OK, REFUSED, FAIL, INFO = range(4)
"""How ops ended, as they are drawn. `fail` is told apart: a refusal for the state that was met (a
`mismatch`) is an answer, anything else is not."""

MAX_TEXT = 160
"""Characters of a value that a report shows."""

_ENDED = {"ok": OK, "fail": FAIL, "info": INFO}


@dataclass(frozen=True)
class Ops:
    """The ops, ordered by lane and then by their beginning; each array has one entry an op.

    `start` and `end` are seconds since the run's start; `end` is NaN if nothing more was heard, and
    of an `info` op the moment at which its client gave up. `f`, `key`, `value`, `result`, `error`
    and `node` are numbers of `texts`. `lanes` names the lanes.
    """

    start: np.ndarray
    end: np.ndarray
    ended: np.ndarray
    final: np.ndarray
    lane: np.ndarray
    process: np.ndarray
    index: np.ndarray
    f: np.ndarray
    key: np.ndarray
    value: np.ndarray
    result: np.ndarray
    error: np.ndarray
    node: np.ndarray
    texts: list[str]
    lanes: list[str]
    rows: dict[int, int]
    """Where an op is, by the index of its invocation."""
    last_ns: int

    def __len__(self) -> int:
        return len(self.start)

    def counts(self) -> dict[str, int]:
        """How many ended how, in the words of reports."""
        names = ("ok", "mismatch", "unavailable", "unknown")
        return {name: int((self.ended == n).sum()) for n, name in enumerate(names)}

    def says(self, row: int) -> str:
        """What the op asked, and what it was told: `read r5 → 19`."""
        texts = self.texts
        words = [texts[self.f[row]], texts[self.key[row]]]
        asked, got = texts[self.value[row]], texts[self.result[row]]
        if asked not in ("", "null"):
            words.append(asked)
        if self.ended[row] == OK and got != asked:
            words.append(f"→ {got}")
        return " ".join(word for word in words if word)

    def packed(self, columns: Columns, offset_s: float = 0.0) -> dict[str, Any]:
        """What the script gets of the ops, the columns being put into `columns`; `offset_s` is
        added to all times. Times are to the microsecond."""
        import numpy as np

        return {
            "n": len(self),
            "start": columns.put_rising(np.rint((self.start + offset_s) * 1e6), 1e-6),
            "dur": columns.put((self.end - self.start).astype(np.float32)),
            "ended": columns.put(self.ended),
            "lane": columns.put(self.lane),
            "process": columns.put(_small(self.process)),
            "index": columns.put_rising(self.index, 1),
            "f": columns.put(_small(self.f)),
            "key": columns.put(_small(self.key)),
            "value": columns.put_rising(self.value, 1),
            "result": columns.put_rising(self.result, 1),
            "error": columns.put(_small(self.error)),
            "node": columns.put(_small(self.node)),
            "texts": self.texts,
            "lanes": self.lanes,
        }


class OpsBuilder:
    """Pairs the records of a history, as far as it goes."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._start, self._end = array("d"), array("d")
        self._ended, self._final = array("B"), array("B")
        self._process, self._index = array("q"), array("q")
        names = ("f", "key", "value", "result", "error", "node")
        self._named = {name: array("L") for name in names}
        self._texts: dict[str, int] = {"": 0}
        self._known: dict[Any, int] = {None: 0}
        self._last = 0

    def add(self, record: Record) -> None:
        """Take the next record. A completion without an invocation is left out."""
        self._last = max(self._last, record.time)
        if record.type == "invoke":
            self._open[record.process] = len(self._start)
            self._start.append(record.time / 1e9)
            self._end.append(float("nan"))
            self._ended.append(INFO)
            self._final.append(record.final)
            self._process.append(record.process)
            self._index.append(record.index)
            named = self._named
            named["f"].append(self._name(record.f))
            named["key"].append(self._name(record.key))
            named["value"].append(self._value(record.value))
            named["node"].append(self._name(record.node))
            named["result"].append(0)
            named["error"].append(0)
            return
        row = self._open.pop(record.process, None)
        if row is None:
            return
        refused = record.type == "fail" and record.error == MISMATCH
        self._ended[row] = REFUSED if refused else _ENDED[record.type]
        self._end[row] = max(record.time / 1e9, self._start[row])
        self._named["error"][row] = self._name(record.error)
        if record.type == "ok":
            self._named["result"][row] = self._value(record.value)

    def build(self, clients: int | None = None, nodes: int = 0) -> Ops:
        """The columns. `clients` and `nodes` are how many the plan has: processes of one client
        share a lane."""
        import numpy as np

        start, process = np.array(self._start, float), np.array(self._process, np.int64)
        final = np.array(self._final, bool)
        lane, lanes = _lanes(process, final, clients, nodes)
        order = np.lexsort((start, lane))
        index = np.array(self._index, np.int64)[order]
        columns = {name: np.array(column, np.int64)[order] for name, column in self._named.items()}
        return Ops(
            start=start[order],
            end=np.array(self._end, float)[order],
            ended=np.array(self._ended, np.uint8)[order],
            final=final[order],
            lane=lane[order].astype(np.uint16),
            process=process[order],
            index=index,
            texts=list(self._texts),
            lanes=lanes,
            rows={index: row for row, index in enumerate(index.tolist())},
            last_ns=self._last,
            **columns,
        )

    def _name(self, value: Any) -> int:
        """The number of a name as it is, of anything else as JSON."""
        if isinstance(value, str):
            known = self._known.get(value)
            if known is None:
                known = self._known[value] = self._text(value)
            return known
        return 0 if value is None else self._value(value)

    def _value(self, value: Any) -> int:
        return self._text(orjson.dumps(value, default=str).decode())

    def _text(self, text: str) -> int:
        text = cut(text, MAX_TEXT)
        return self._texts.setdefault(text, len(self._texts))


MAX_LANES = 64


def _lanes(
    process: np.ndarray, final: np.ndarray, clients: int | None, nodes: int
) -> tuple[np.ndarray, list[str]]:
    """The lane of each op, and the lanes' names. A client that lost an op goes on as a process
    whose number is a stride higher: that of clients and final readers together."""
    import numpy as np

    if not clients:
        names = np.unique(process)
        if len(names) <= MAX_LANES:
            return np.searchsorted(names, process), [f"process {name}" for name in names]
        return process % MAX_LANES, [f"lane {number}" for number in range(MAX_LANES)]
    strides = range(clients + nodes, clients - 1, -1)
    fits = [one for one in strides if bool((process[final] % one >= clients).all())]
    lane = process % (fits or [clients])[0]
    if clients > MAX_LANES:
        lane = np.where(lane < clients, lane % MAX_LANES, lane - clients + MAX_LANES)
        clients = MAX_LANES
    last = int(lane.max(initial=clients - 1)) + 1
    # Many nodes are never asked for final reads: such readers have no lane.
    held = [n for n in range(last) if n < clients or bool((lane == n).any())]
    titles = [f"client {n}" if n < clients else f"reader {n - clients}" for n in held]
    return np.searchsorted(np.array(held), lane), titles


class Columns:
    """Arrays for the script, one after the other in as few bytes as hold them."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def put(self, column: np.ndarray, unit: float | None = None) -> dict[str, Any]:
        """Take an array; what is returned says where it is. With `unit` it holds differences, to be
        summed and multiplied by that."""
        kind = column.dtype.newbyteorder("<")
        data = column.astype(kind, copy=False).tobytes()
        where = {"type": kind.str.lstrip("<|"), "at": self._size, "n": len(column), "unit": unit}
        data += bytes(-len(data) % 8)  # typed arrays begin at multiples of their size
        self._parts.append(data)
        self._size += len(data)
        return where

    def put_rising(self, column: np.ndarray, unit: float) -> dict[str, Any]:
        """Take whole numbers that mostly rise by little: their differences compress well."""
        import numpy as np

        steps = np.diff(column, prepend=0)
        if len(steps) and np.abs(steps).max() >= 2**31:
            return self.put(column.astype(np.float64) * unit)
        return self.put(steps.astype(np.int32), unit)

    def embed(self, data: Any, id: str) -> Html:
        """`data` as JSON with the columns, compressed, in an element of the page. Base64 holds
        nothing that could end the element, whatever was recorded."""
        code = orjson.dumps(data, default=str)
        code += b" " * (-(len(code) + 4) % 8)
        whole = struct.pack("<I", len(code)) + code + b"".join(self._parts)
        packed = base64.b64encode(zlib.compress(whole, 3)).decode()
        return Html(f'<script type="application/octet-stream" id="{id}">{packed}</script>')


def _small(column: np.ndarray) -> np.ndarray:
    """The same numbers in as few bytes as hold them."""
    import numpy as np

    most = int(column.max(initial=0))
    kind: Any = np.uint8 if most < 2**8 else np.uint16 if most < 2**16 else np.uint32
    return column.astype(kind)


MAX_TOLD = 40
"""Ops of the tables in a verdict's text that count as its evidence."""

_LINE = re.compile(r"\s*((\d+\.\d{3,6})(?:-(?:\d+\.\d+|…))? s)\s+process (\d+)\b")


_ROUNDED_S = 0.0006
"""How far from an op's moment the one in a text may be, which has three digits."""


def span_in(line: str) -> tuple[int, int] | None:
    """Where in a line of evidence the span of an op stands, if it begins with one."""
    told = _LINE.match(line)
    return None if told is None else told.span(1)


def row_in(ops: Ops, line: str) -> int | None:
    """The op that a line of evidence is about: by its process and the moment it began, or, where
    one moment is told only, ended."""
    import numpy as np

    told = _LINE.match(line)
    if told is None or not len(ops):
        return None
    rows = np.flatnonzero(ops.process == int(told[3]))
    if not len(rows):
        return None
    moments = [ops.start[rows]] if "-" in told[1] else [ops.start[rows], ops.end[rows]]
    for away in (np.nan_to_num(np.abs(one - float(told[2])), nan=np.inf) for one in moments):
        if away.min() <= _ROUNDED_S:
            return int(rows[away.argmin()])
    return None


def evidence_rows(ops: Ops, verdict: dict[str, Any]) -> tuple[list[int], int | None]:
    """The ops that a verdict names as its evidence, by time, and of them the one without a place.
    Where its data names none, those in the tables of its text. None that the history does not hold.
    """
    data = verdict.get("data")
    if not isinstance(data, dict):
        data = {}
    named: Sequence[Any] = data["ops"] if isinstance(data.get("ops"), list) else []
    indexes = [one.get("index") for one in named if isinstance(one, dict)]
    blocked = data.get("blocked")
    indexes.append(blocked)
    known = {ops.rows[i] for i in indexes if isinstance(i, int) and i in ops.rows}
    if not known:
        lines = str(verdict.get("evidence") or "").splitlines()
        told = [row for line in lines if (row := row_in(ops, line)) is not None]
        known = set(told[:MAX_TOLD])
    rows = sorted(known, key=lambda row: (ops.start[row], row))
    return rows, ops.rows.get(blocked) if isinstance(blocked, int) else None
