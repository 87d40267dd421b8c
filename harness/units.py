"""Durations: `seconds(5)` where people write them, plain float seconds where code counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from harness.errors import UsageError

Duration: TypeAlias = timedelta | float | int
"""What every public argument that is a time accepts; a plain number means seconds."""


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the phase in which the faults come, however long that is. See `share`."""

    value: float

    def of(self, duration_s: float) -> float:
        """That part of `duration_s`, in seconds."""
        return round(self.value * duration_s, 3)


Moment: TypeAlias = Duration | Share
"""When a fault comes, and how long it lasts."""


def seconds(value: float) -> timedelta:
    """`value` seconds."""
    return timedelta(seconds=value)


def milliseconds(value: float) -> timedelta:
    """`value` milliseconds."""
    return timedelta(milliseconds=value)


def minutes(value: float) -> timedelta:
    """`value` minutes."""
    return timedelta(minutes=value)


def share(value: float) -> Share:
    """`value` (from 0 to 1) of the experiment's duration: grows with it under `--chaos-scale`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise UsageError(
            f"share({value!r}) is no part of anything.", do="Give a number from 0 to 1."
        )
    return Share(value)


def of_phase(value: Moment, phase_s: float, what: str, *, allow_zero: bool = False) -> float:
    """`value` in seconds, where a share is one of a phase of `phase_s` seconds."""
    if isinstance(value, Share):
        value = value.of(phase_s)
    return to_seconds(value, what, allow_zero=allow_zero)


def to_seconds(value: Duration, what: str, *, allow_zero: bool = False) -> float:
    """`value` as float seconds, to the millisecond that plans are written in.

    `what` names the argument in the error. Raises `UsageError` if it is negative, not finite,
    not a duration, or zero where zero makes no sense.
    """
    if isinstance(value, timedelta):
        number = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
    else:
        raise UsageError(
            f"{what} must be a duration, not {value!r}.",
            do="Write seconds(5), milliseconds(200), or a number of seconds.",
        )
    if not math.isfinite(number) or number < 0 or (number == 0 and not allow_zero):
        bound = "zero or more" if allow_zero else "more than zero"
        raise UsageError(
            f"{what} must be {bound}, not {number:g} s.",
            do="Write seconds(5), milliseconds(200), or a number of seconds.",
        )
    return round(number, 3)
