"""What a target says of its calls to a dependency, read from its events without trusting them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from harness.history import History

Instance: TypeAlias = tuple[str, str]
"""A breaker object: its node, and what the node calls it (a process id; empty if it does not)."""


@dataclass(frozen=True, slots=True)
class Change:
    """A breaker's new state: `open`, `half-open` or `closed`."""

    time: int
    instance: Instance
    state: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call to a dependency: the first (`attempt` 1), or a retry after a pause of `delay_s`."""

    time: int
    instance: Instance
    key: object
    attempt: int
    delay_s: float | None


def changes(history: History, dependency: str) -> list[Change]:
    """What breakers of `dependency` said, in order of time."""
    found = [
        Change(at, instance, str(data.get("state")))
        for at, instance, data in _told(history, "breaker", dependency)
    ]
    return sorted(found, key=lambda change: change.time)


def attempts(history: History, dependency: str) -> list[Attempt]:
    """The calls to `dependency`, in order of time. Events without an attempt's number are left
    out."""
    found = []
    for at, instance, data in _told(history, "attempt", dependency):
        number, delay_s = data.get("attempt"), data.get("delay_s")
        if isinstance(number, int) and number >= 1:
            known = isinstance(delay_s, int | float) and math.isfinite(delay_s)
            pause_s = float(delay_s) if known else None  # type: ignore[arg-type]
            found.append(Attempt(at, instance, data.get("key"), number, pause_s))
    return sorted(found, key=lambda attempt: attempt.time)


def dependencies(history: History) -> set[str]:
    """The dependencies that breakers and attempts were told of."""
    return {
        name
        for event in history.timeline.events
        if event.name in ("breaker", "attempt")
        and isinstance(name := event.data.get("dependency"), str)
    }


def exited(history: History) -> set[Instance]:
    """Instances whose process has ended: nothing more is to be expected of them."""
    return {
        (event.node, str(event.data.get("instance")))
        for event in history.timeline.events
        if event.name == "worker-exited"
    }


def signs(log: Sequence[Change], calls: Sequence[Attempt]) -> dict[Instance, list[int]]:
    """The times at which each instance was heard of, in order."""
    times: dict[Instance, list[int]] = {}
    for change in log:
        times.setdefault(change.instance, []).append(change.time)
    for call in calls:
        times.setdefault(call.instance, []).append(call.time)
    return {instance: sorted(heard) for instance, heard in times.items()}


def _told(
    history: History, name: str, dependency: str
) -> Iterator[tuple[int, Instance, Mapping[str, Any]]]:
    for event in history.timeline.events:
        if event.name == name and event.data.get("dependency") == dependency:
            yield event.time, (event.node, str(event.data.get("instance", ""))), event.data
