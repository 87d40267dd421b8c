"""Durations: `seconds(5)` where people write them, plain float seconds where code counts."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TypeAlias

from harness.errors import UsageError

Duration: TypeAlias = timedelta | float | int
"""What every public argument that is a time accepts; a plain number means seconds."""


def seconds(value: float) -> timedelta:
    """`value` seconds."""
    return timedelta(seconds=value)


def milliseconds(value: float) -> timedelta:
    """`value` milliseconds."""
    return timedelta(milliseconds=value)


def minutes(value: float) -> timedelta:
    """`value` minutes."""
    return timedelta(minutes=value)


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
