"""Projection lag: the read model shows every acknowledged command in time, and never goes back."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.check._arguments import words
from harness.check._findings import Findings, brief, judge, told_op
from harness.check._text import clock, many
from harness.check.verdict import Verdict
from harness.history import History, Op
from harness.units import Duration, to_seconds


@dataclass(frozen=True)
class ProjectionLag:
    """The check that `projection_lag` makes."""

    within_s: float
    commands: tuple[str, ...]
    queries: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"projection_lag(within={self.within_s:g}s)"

    def __call__(self, history: History) -> Verdict:
        began = time.monotonic()
        found = Findings("went-back", "late")
        within = round(self.within_s * 1e9)
        known = (*self.commands, *self.queries)
        due = commands = queries = 0
        lags: list[float] = []
        for key, ops in History([op for op in history.ops if op.f in known]).by_key().items():
            acknowledged = list(_told(ops, self.commands))
            answers = list(_told(ops, self.queries))
            commands += len(acknowledged)
            queries += len(answers)
            due += _late(key, acknowledged, answers, within, found)
            lags += _lags(acknowledged, answers)
            _backwards(key, answers, found)
        unknown = None
        if not due:
            unknown = (
                f"Nothing was tested: no query began {self.within_s:g} s after a command "
                f"(expected: {' or '.join(self.commands)} and {' or '.join(self.queries)}, both "
                "answered with the version of their key)."
            )
        lags.sort()
        quantiles = {
            str(point): lags[min(len(lags) - 1, int(len(lags) * point))]
            for point in (0.5, 0.95, 0.99, 1)
            if lags
        }
        told = f"{many(commands, 'command')}, {queries} answers of the read model"
        if lags:
            told += f", shown after at most {lags[-1]:.3f} s"
        return judge(
            self.name,
            began,
            found,
            ops=len(history),
            told=told,
            unknown=unknown,
            data={"commands": commands, "queries": queries, "lag_s": quantiles},
        )


def projection_lag(
    *,
    within: Duration,
    commands: Sequence[str] = ("command",),
    queries: Sequence[str] = ("query",),
) -> ProjectionLag:
    """Check that a read model shows acknowledged commands `within` that time, and never goes back.

    Ops: those called `commands` and `queries`, per key (an aggregate, an account). Both answer with
    a version of the key that grows with every command: a number, or `{"version": 7, …}`. A query
    that begins `within` or longer after a command was acknowledged must show at least its version.
    Queries of a node that follow each other must not show less and less; those of different nodes
    may (each has its own projection).

    Anomalies: `went-back`; `late`. `data` has quantiles of the seconds from the acknowledgement of
    a command to the end of the first query that showed it (so at most the lag and one query).
    `unknown`: no query began late enough. O(n log n). Raises `UsageError` for wrong arguments.

    Example: command answers 5 at 1.0 s, query answers 4 at 2.0 s: `invalid` within 0.5 s.
    """
    return ProjectionLag(
        to_seconds(within, "within"), words(commands, "commands"), words(queries, "queries")
    )


def _told(ops: Sequence[Op], names: Sequence[str]) -> Iterator[Op]:
    for op in ops:
        answered = op.f in names and op.outcome == "ok" and op.end is not None
        if answered and _number(op.result) is not None:
            yield op


def _number(result: Any) -> float | None:
    told = result.get("version") if isinstance(result, Mapping) else result
    known = isinstance(told, int | float) and not isinstance(told, bool)
    return told if known else None


def _version(op: Op) -> float:
    number = _number(op.result)
    assert number is not None
    return number


def _end(op: Op) -> int:
    assert op.end is not None
    return op.end


def _highest(ops: Sequence[Op]) -> list[Op]:
    """Of each of the first ops, in the order given, the one of the greatest version."""
    best: list[Op] = []
    for op in ops:
        best.append(op if not best or _version(best[-1]) < _version(op) else best[-1])
    return best


def _late(
    key: Hashable, commands: Sequence[Op], queries: Sequence[Op], within: int, found: Findings
) -> int:
    """How many queries something was demanded of."""
    ended = sorted(commands, key=_end)
    ends, highest = [_end(op) for op in ended], _highest(ended)
    demanded = 0
    for query in queries:
        place = bisect_right(ends, query.start - within)
        if not place:
            continue
        demanded += 1
        command = highest[place - 1]
        if _version(query) < _version(command):
            what = told_op(query, f"was shown version {_version(query):g} of {brief(key)}")
            sentence = f"{what}, though {_version(command):g} had been acknowledged at "
            found.add("late", f"{sentence}{clock(_end(command))} s", command, query)
    return demanded


def _lags(commands: Sequence[Op], queries: Sequence[Op]) -> Iterator[float]:
    """From each acknowledgement to the end of the first query that showed the version."""
    shown = sorted(queries, key=_version)
    soonest: list[int] = []  # the first end of those that show at least that version
    for query in reversed(shown):
        soonest.append(min(_end(query), soonest[-1]) if soonest else _end(query))
    soonest.reverse()
    versions = [_version(query) for query in shown]
    for command in commands:
        place = bisect_right(versions, _version(command) - 1e-9)
        if place < len(shown):
            yield max(0, soonest[place] - _end(command)) / 1e9


def _backwards(key: Hashable, queries: Sequence[Op], found: Findings) -> None:
    nodes: dict[str | None, list[Op]] = defaultdict(list)
    for query in queries:
        nodes[query.node].append(query)
    for several in nodes.values():
        ended = sorted(several, key=_end)
        ends, highest = [_end(op) for op in ended], _highest(ended)
        for query in several:
            # Strictly before: what ends in the moment in which another begins may be beside it.
            place = bisect_right(ends, query.start - 1)
            if place and _version(query) < _version(highest[place - 1]):
                what = told_op(query, f"was shown version {_version(query):g} of {brief(key)}")
                before = highest[place - 1]
                sentence = f"{what}, after {_version(before):g} had been shown there"
                found.add("went-back", sentence, before, query)
