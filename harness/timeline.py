"""What happened beside the ops, on the same clock: faults, load, measurements, the target's events.

All times are nanoseconds since the run's start, like those of the history. This module depends on
nothing, so that checks can be used with no cluster at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class FaultSpan:
    """A fault as it took place: from the moment it was in force to the moment healing began.

    `kind` is that of the fault (`latency`), `what` its description for people, `nodes` those it
    hit: for faults on links the nodes named in `who`, for netsplits both sides.
    """

    id: str
    kind: str
    what: str
    nodes: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class LoadSample:
    """One HTTP request of the load: when it ended, how long it took, and whether it failed.

    `route` is what the script named it (k6's tag `name`), `status` 0 if there was no answer.
    """

    time: int
    route: str
    duration_s: float
    failed: bool
    status: int


@dataclass(frozen=True, slots=True)
class TargetEvent:
    """Something that a node said of itself in its log, e.g. `breaker` with its new state."""

    time: int
    node: str
    name: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a probe measured, and whether that was within its tolerance.

    `value` is None if it could not be measured; `error` then says why.
    """

    time: int
    probe: str
    value: float | None
    within: bool
    error: str = ""


@dataclass(frozen=True)
class Timeline:
    """All of it, each in order of time. Empty for a bare history."""

    faults: Sequence[FaultSpan] = ()
    load: Sequence[LoadSample] = ()
    events: Sequence[TargetEvent] = ()
    measurements: Sequence[Measurement] = ()
