"""A key-value store with append."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, ClassVar

from harness.check.models._model import (
    INCONSISTENT,
    UNSEEN,
    Entry,
    Model,
    UnfitOpError,
    respelled,
    words,
)
from harness.history import Op


@dataclass(frozen=True)
class KeyValue(Model):
    """A text under each key: `get`, `put`, and `append` to what is there.

    A key without a value reads as `initial`; None is the same as the empty text.
    """

    initial: Hashable = ""
    name: ClassVar[str] = "kv"
    functions: ClassVar[Mapping[str, str]] = words(get="read r", put="write w", append="")
    by_process: ClassVar[bool] = False

    # A text with which no text that somebody got begins is as good as any other of these: until the
    # next put, nobody can get it or what is appended to it. They are one state, and mostly none at
    # all (`entries`), which leaves the search with the few ways that the gets have left open.

    def step(self, state: Any, op: Op) -> Any:
        if op.f == "get":
            return state if state == op.result else INCONSISTENT
        known = op.result if isinstance(op.result, _Known) else None
        if op.f == "append" and state is UNSEEN:
            after: Any = UNSEEN
        else:
            after = op.value if op.f == "put" else state + op.value
            if known is None or known.holds(after):
                return after
        return INCONSISTENT if known is not None and known.strict else UNSEEN

    def start(self, told: Sequence[Op]) -> Any:
        return self.initial or ""

    def told(self, ops: Sequence[Op]) -> Sequence[Op]:
        told = [
            op
            for op in respelled(ops, self.functions)
            if op.outcome == "ok" or (op.outcome == "info" and op.f != "get")
        ]
        for op in told:
            text = (op.result or "") if op.f == "get" else op.value
            if not isinstance(text, str):
                raise UnfitOpError(f"the values of a kv are texts, not {text!r}")
        # (a get of None says nothing where nothing is not what the key begins with)
        return [op for op in told if op.f != "get" or op.result is not None or not self.initial]

    def entries(self, told: Sequence[Op]) -> list[Entry]:
        texts = sorted({op.result or "" for op in told if op.f == "get"})
        loose, strict = _Known(texts, strict=False), _Known(texts, strict=True)
        spans = _Spans(told)
        entries = []
        for op in told:
            if op.f == "get":
                comparable = replace(op, result=op.result or "")
            else:
                seen = strict if op.f == "append" and spans.must_be_seen(op) else loose
                comparable = replace(op, result=seen)
            entries.append(Entry(comparable, op, op.index, op.end_index, op.f == "get"))
        return entries


@dataclass(frozen=True)
class _Known:
    """The texts that somebody got, in order. With `strict`, an op must lead to one of them."""

    texts: Sequence[str]
    strict: bool

    def holds(self, text: str) -> bool:
        """Whether one of the texts begins with `text`. O(log n) comparisons."""
        place = bisect_left(self.texts, text)
        return place < len(self.texts) and self.texts[place].startswith(text)


class _Spans:
    """Where the gets and puts of a key lie. O(n log n)."""

    def __init__(self, told: Sequence[Op]) -> None:
        gets = [(op.index, op.end_index) for op in told if op.f == "get" and op.end_index]
        self._get_starts = [start for start, _ in gets]
        # (the earliest end of the gets from each on)
        self._get_ends = list(accumulate((end for _, end in reversed(gets)), min))[::-1]
        puts = [(op.index, op.end_index) for op in told if op.f == "put"]
        self._put_starts = [start for start, _ in puts]
        ends = (sys.maxsize if end is None else end for _, end in puts)
        self._put_ends = list(accumulate(ends, max))

    def must_be_seen(self, op: Op) -> bool:
        """Whether a get begins after `op` has ended, and no put can have come between them."""
        if op.end_index is None:
            return False
        later = bisect_left(self._get_starts, op.end_index)
        if later == len(self._get_starts):
            return False
        puts = bisect_left(self._put_starts, self._get_ends[later])
        return puts == 0 or self._put_ends[puts - 1] < op.index
