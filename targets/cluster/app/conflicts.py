"""The journal of conflicts: which claims to a worker met, and who was its owner afterwards.

An append-only file of JSON lines on the node's disk, each on disk (fsync) before anything follows
from it: `conflict` when a node sees two claims of living nodes to one worker, with a snapshot of
them, `resolved` when it sees one at most again. Each node writes down what it has seen itself; the
one that gives way always has seen both claims.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from .placement import best

MOST_KEPT = 10_000
"""Resolved conflicts that can be asked for; the file keeps all."""

Snapshot = Mapping[str, str]
"""Owner → instance of the worker there."""


@dataclass(frozen=True)
class Conflict:
    """`before` are all claims that were seen while it was open, `after` those that were left; the
    rule demands `winner`, unless it is among the `gone`: claimants that did not give way, but were
    taken for dead before it was settled. `opened` and `closed` are moments of the loop's clock, in
    the start `incarnation` of the node."""

    worker: str
    incarnation: int
    opened: float
    before: dict[str, str]
    winner: str
    after: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    closed: float | None = None


class Journal:
    """Of one node. `now` is the loop's clock; `tell` writes an event to the node's log."""

    def __init__(
        self,
        path: Path,
        incarnation: int,
        now: Callable[[], float],
        tell: Callable[..., None],
        *,
        mutant: str | None = None,
    ) -> None:
        self._mutant = mutant
        self._incarnation = incarnation
        self._now = now
        self._tell = tell
        self._open: dict[str, Conflict] = {}
        self._resolved = _resolved_before(path)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    @property
    def open(self) -> list[Conflict]:
        """Those that are not resolved yet."""
        return list(self._open.values())

    @property
    def resolved(self) -> list[Conflict]:
        """The last ones, oldest first; those of earlier starts of this node included."""
        return self._resolved[-MOST_KEPT:]

    def saw(self, worker: str, claims: Snapshot, dead: Collection[str] = ()) -> None:
        """Note who claims `worker` now, of the living nodes, and which claimants are taken for
        dead. Raises `OSError` if it cannot be written down; then it is as if nothing had been
        seen."""
        conflict = self._open.get(worker)
        if len(claims) > 1:
            known = {} if conflict is None else conflict.before
            if claims.keys() - known.keys():
                opened = self._now() if conflict is None else conflict.opened
                self._note_open(worker, opened, {**known, **claims})
        elif conflict is not None:
            gone = sorted(conflict.before.keys() & set(dead))
            resolved = replace(conflict, after=dict(claims), gone=gone, closed=self._now())
            self._write("resolved", resolved)
            del self._open[worker]
            self._resolved.append(resolved)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _note_open(self, worker: str, opened: float, before: dict[str, str]) -> None:
        winner = best(worker, before) or ""
        if self._mutant == "journal-forgets-losers":  # Mutant: of what was, only the winner stays.
            before = {winner: before[winner]}
        conflict = Conflict(worker, self._incarnation, opened, before, winner)
        self._write("conflict", conflict)
        self._open[worker] = conflict

    def _write(self, event: str, conflict: Conflict) -> None:
        told = asdict(conflict)
        os.write(self._file, json.dumps({"event": event, **told}).encode() + b"\n")
        os.fsync(self._file)
        self._tell(event, **told)


def _resolved_before(path: Path) -> list[Conflict]:
    """What earlier starts of the node resolved. A line that a kill cut short is left out."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text().splitlines():
        try:
            told = json.loads(line)
            if told.pop("event") == "resolved":
                found.append(Conflict(**told))
        except (ValueError, TypeError, KeyError):
            continue
    return found[-MOST_KEPT:]
