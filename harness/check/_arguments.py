"""What people give to checks, looked at before a run is spent on it."""

from __future__ import annotations

import math
from collections.abc import Collection

from harness.errors import UsageError


def whole(value: object, what: str, *, least: int = 1) -> int:
    """`value` as a whole number of `least` or more. Raises `UsageError`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(
            f"{what} must be a whole number of {least} or more, not {value!r}.",
            do=f"Write e.g. {what}={max(least, 5)}.",
        )
    return value


def number(value: object, what: str, *, least: float, most: float = math.inf) -> float:
    """`value` as a finite number from `least` to `most`. Raises `UsageError`."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not least <= value <= most
    ):
        bounds = f"of {least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"
        raise UsageError(
            f"{what} must be a number {bounds}, not {value!r}.",
            do=f"Write e.g. {what}={least + 0.05 if most == 1 else least + 2:g}.",
        )
    return float(value)


def word(value: object, what: str, allowed: Collection[str] = ()) -> str:
    """`value` as a text that is not empty and, if some are listed, `allowed`. Raises
    `UsageError`."""
    if not isinstance(value, str) or not value or (allowed and value not in allowed):
        kind = f"one of {', '.join(allowed)}" if allowed else "a name"
        raise UsageError(f"{what} must be {kind}, not {value!r}.", do=f"Give {what} {kind}.")
    return value


def words(value: object, what: str) -> tuple[str, ...]:
    """`value` as names, of which there must be one at least. Raises `UsageError`."""
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset) or not value:
        raise UsageError(
            f"{what} must be a tuple of names, not {value!r}.",
            do=f'Write e.g. {what}=("one",), with the comma.',
        )
    return tuple(word(one, what) for one in value)
