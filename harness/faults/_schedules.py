"""Schedules of several faults: mixed (one of them each time) and staggered (one after another)."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from harness.errors import UsageError
from harness.faults._base import Fault, Members, NodeFault, Occurrence, tick_times
from harness.units import Duration, Moment, seconds, to_seconds


class Schedulable(Protocol):
    """Anything that can stand in the `faults` of an experiment."""

    def occurrences(
        self, rng: random.Random, members: Members, duration_s: float, scale: float
    ) -> list[Occurrence]: ...


@dataclass(frozen=True)
class Mixed:
    """At each tick one of `options`, drawn from the seed."""

    kind: ClassVar[str] = "mixed"

    options: tuple[Fault, ...]
    at: Moment | Sequence[Moment] | None
    every: Moment | None
    jitter: float

    def occurrences(
        self, rng: random.Random, members: Members, duration_s: float, scale: float
    ) -> list[Occurrence]:
        found = []
        for at_s in tick_times(self, rng, duration_s, scale):
            fault = self.options[int(rng.random() * len(self.options))]
            once = dataclasses.replace(fault, at=at_s / scale, every=None)
            found += once.occurrences(rng, members, duration_s, scale)
        return found


@dataclass(frozen=True)
class Staggered:
    """At each tick `fault` on a random subset of the nodes, one after the other, healed in another
    order (FoundationDB's swizzle)."""

    kind: ClassVar[str] = "staggered"

    fault: NodeFault
    step: Duration
    at: Moment | Sequence[Moment] | None
    every: Moment | None
    jitter: float

    def occurrences(
        self, rng: random.Random, members: Members, duration_s: float, scale: float
    ) -> list[Occurrence]:
        step_s = to_seconds(self.step, "faults.staggered: step")
        lasting_s = self.fault.lasting_s(duration_s)
        found = []
        for at_s in tick_times(self, rng, duration_s, scale):
            chosen = rng.sample(list(members.nodes), rng.randint(1, len(members.nodes)))
            healing = rng.sample(range(len(chosen)), len(chosen))
            all_in_s = at_s + step_s * (len(chosen) - 1)
            for number, node in enumerate(chosen):
                start_s = at_s + number * step_s
                end_s = all_in_s + lasting_s + healing[number] * step_s
                if end_s > duration_s:
                    continue
                one = dataclasses.replace(self.fault, who=node, at=None, every=None, lasting=None)
                length_s = round(end_s - start_s, 3)
                fault = one.resolve(rng, members, length_s)
                found.append(Occurrence(round(start_s, 3), length_s, fault))
        return found


def mixed(
    *options: Fault,
    every: Moment | None = None,
    at: Moment | Sequence[Moment] | None = None,
    jitter: float = 0.1,
) -> Mixed:
    """One of `options` at each tick; each gives its own `lasting`, none its own times."""
    if not options:
        raise UsageError("faults.mixed() has nothing to choose from.", do="Name some faults.")
    for option in options:
        if option.at is not None or option.every is not None:
            raise UsageError(
                f"faults.mixed: {option.kind} has times of its own.",
                do="Give every= or at= to mixed(), and only lasting= to the faults in it.",
            )
    return Mixed(options, at, every, jitter)


def staggered(
    fault: NodeFault,
    *,
    step: Duration = seconds(0.5),
    every: Moment | None = None,
    at: Moment | Sequence[Moment] | None = None,
    jitter: float = 0.1,
) -> Staggered:
    """`fault` on a random subset of nodes, `step` apart; held together for its `lasting`, then
    healed `step` apart in another random order. Its own `who` is not used."""
    if not isinstance(fault, NodeFault) or fault.at is not None or fault.every is not None:
        raise UsageError(
            "faults.staggered takes one fault that hits nodes, without times of its own.",
            do="For example staggered(pause(lasting=seconds(2)), every=seconds(8)).",
        )
    return Staggered(fault, step, at, every, jitter)
