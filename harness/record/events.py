"""What the nodes said of themselves in their logs, as events on the run's clock."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from harness.errors import UsageError, with_place
from harness.target import Target
from harness.timeline import TargetEvent

_EARLIEST_NS = -60 * 10**9
"""How long before the run's start an event may be: clusters take a while to start."""

_SLACK_NS = 10**9
"""How far ahead of now an event may be: targets round."""


def read_events(
    target: Target, logs: Path, names: Sequence[str], start_ns: int
) -> list[TargetEvent]:
    """The events in the logs of `names`, by time; none for a target that knows none. O(lines).

    `start_ns` is the run's start on CLOCK_MONOTONIC. Raises `UsageError` if the target's `event`
    fails on a line, or returns what is no event of this run.
    """
    if type(target).event is Target.event:
        return []
    found = []
    for name in names:
        path = logs / f"{name}.log"
        if not path.exists():
            continue
        with path.open(errors="replace") as file:
            for number, line in enumerate(file, start=1):
                where = f"event() on {path.name}:{number}"
                try:
                    told = target.event(line)
                except Exception as error:
                    kind = type(target).__name__
                    raise UsageError(
                        f"Target {kind} failed in {where}.",
                        why=with_place(error),
                        do="Return None for lines that say nothing.",
                    ) from error
                if told is not None:
                    found.append(_event(told, name, start_ns, f"{type(target).__name__}.{where}"))
    return sorted(found, key=lambda event: event.time)


def write_events(path: Path, events: Sequence[TargetEvent]) -> None:
    """Write them as JSON Lines."""
    with path.open("wb") as file:
        for one in events:
            own = {"time": one.time, "node": one.node, "event": one.name}
            # Twice: first in the line, and not to be overwritten by data of the same names.
            line = {**own, **one.data, **own}
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE, default=str))


def _event(told: Any, node: str, start_ns: int, where: str) -> TargetEvent:
    if not _well_formed(told):
        raise UsageError(
            f"{where} returned {told!r}.",
            why="An event is a tuple of a number, a name, and a mapping of names to data.",
            do='Return e.g. (12.5, "breaker", {"state": "open"}), or None for lines that say '
            "nothing.",
        )
    at_s, name, data = told
    time_ns = round(at_s * 1e9) - start_ns
    since_ns = time.monotonic_ns() - start_ns
    if not _EARLIEST_NS <= time_ns <= since_ns + _SLACK_NS:
        raise UsageError(
            f"{where} returned the moment {at_s!r}, which is not in this run.",
            why=f"The run lasted from {start_ns / 1e9:.3f} to {(start_ns + since_ns) / 1e9:.3f}.",
            do="event() must give seconds of CLOCK_MONOTONIC (loop.time(), time.monotonic()), not "
            "the time of day.",
        )
    return TargetEvent(time_ns, node, name, data)


def _well_formed(told: Any) -> bool:
    if not isinstance(told, tuple) or len(told) != 3:
        return False
    at_s, name, data = told
    number = isinstance(at_s, int | float) and not isinstance(at_s, bool) and math.isfinite(at_s)
    return (
        number
        and isinstance(name, str)
        and isinstance(data, Mapping)
        and all(isinstance(one, str) for one in data)
    )
