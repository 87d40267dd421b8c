"""The stretches for which breakers were not closed, put together from what they said."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.check._events import Change, Instance
from harness.timeline import FaultSpan

_DEADLY = ("kill", "stop", "restart", "crash-loop")


@dataclass
class Stretch:
    """One time that a breaker opened: until it closed (None if it never did), and whether it tried
    the dependency before that (half-open)."""

    instance: Instance
    start: int
    end: int | None = None
    probed: bool = False

    @property
    def where(self) -> str:
        """Node and instance, for people."""
        return "/".join(part for part in self.instance if part)


def stretches(changes: Iterable[Change]) -> list[Stretch]:
    """Every stretch of every instance, in order of its opening. O(n)."""
    found: list[Stretch] = []
    current: dict[Instance, Stretch] = {}
    for change in changes:
        stretch = current.get(change.instance)
        if change.state == "open":
            if stretch is None:
                stretch = current[change.instance] = Stretch(change.instance, change.time)
                found.append(stretch)
            stretch.probed = False
        elif stretch is not None and change.state == "half-open":
            stretch.probed = True
        elif stretch is not None and change.state == "closed":
            stretch.end = change.time
            del current[change.instance]
    return found


def gone(stretch: Stretch, exited: Iterable[Instance], faults: Iterable[FaultSpan]) -> bool:
    """Whether the process of the breaker ended after it had opened: it will not close any more."""
    return stretch.instance in exited or any(
        span.kind in _DEADLY and stretch.instance[0] in span.nodes and span.start >= stretch.start
        for span in faults
    )


def awake_from(stretch: Stretch, quiet: int, signs: Mapping[Instance, Sequence[int]]) -> int | None:
    """From when on the breaker had occasion to close, once no fault was in its way any more: from
    `quiet` on, or later.

    A breaker closes when somebody calls through it. Where other breakers of its node were at work
    after the faults, the calls may have gone to them alone; then only its own `signs` of life (the
    times of its events, in order) count, and None says that there were none. O(instances).
    """
    node = stretch.instance[0]
    others = (
        times
        for instance, times in signs.items()
        if instance[0] == node and instance[1] and instance != stretch.instance
    )
    if not any(times[-1] >= quiet for times in others):
        return quiet
    own = signs.get(stretch.instance, ())
    place = bisect_left(own, quiet)
    return own[place] if place < len(own) else None
