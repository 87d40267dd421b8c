"""What the nodes said of themselves in their logs, as events on the run's clock."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import orjson

from harness.errors import UsageError, origin
from harness.target import Target
from harness.timeline import TargetEvent


def read_events(
    target: Target, logs: Path, names: Sequence[str], start_ns: int
) -> list[TargetEvent]:
    """The events in the logs of `names`, by time; none for a target that knows none. O(lines).

    Raises `UsageError` if the target's `event` fails on a line.
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
                try:
                    told = target.event(line)
                except Exception as error:
                    kind = type(target).__name__
                    raise UsageError(
                        f"Target {kind} failed in event() on {path.name}:{number}.",
                        why="{}: {} ({}:{})".format(type(error).__name__, error, *origin(error)),
                        do="Return None for lines that say nothing.",
                    ) from error
                if told is not None:
                    at_s, event, data = told
                    found.append(TargetEvent(round(at_s * 1e9) - start_ns, name, event, data))
    return sorted(found, key=lambda event: event.time)


def write_events(path: Path, events: Sequence[TargetEvent]) -> None:
    """Write them as JSON Lines."""
    with path.open("wb") as file:
        for one in events:
            line = {"time": one.time, "node": one.node, "event": one.name, **one.data}
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE, default=str))
