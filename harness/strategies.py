"""Hypothesis strategies for what chaos experiments are made of: who, when, what, and seeds.

They shrink towards what is simple: fewer faults, earlier, shorter, of the kind named first, on
fewer and lower-numbered nodes; groups towards one node against the rest. Machines draw by rules
(`harness.machine`); these are for tests of your own, such as one of a check, or of a plan.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from harness.errors import MissingPartError, UsageError

try:
    from hypothesis import strategies as st
except ModuleNotFoundError:
    raise MissingPartError(
        "harness.strategies needs Hypothesis, which is not installed here.",
        do="pip install hypothesis",
    ) from None

from harness import faults
from harness.faults import Fault, Members
from harness.plan import PlannedFault
from harness.seeds import SESSION_LIMIT
from harness.target import Target
from harness.units import Duration, to_seconds

STEP_S = 0.05
"""Times are drawn as multiples of this: plans that people read have round figures."""

DEFAULT_FAULTS = (faults.kill(), faults.pause(), faults.netsplit("isolate"))


def seeds() -> st.SearchStrategy[int]:
    """Seeds of sessions."""
    return st.integers(0, SESSION_LIMIT - 1)


def keys(count: int = 5) -> st.SearchStrategy[str]:
    """`r1` to `r<count>`, as workloads of registers name them."""
    if count < 1:
        raise UsageError(f"keys({count}) are no keys.", do="Give at least one.")
    return st.sampled_from([f"r{number}" for number in range(1, count + 1)])


def values() -> st.SearchStrategy[int | str]:
    """Values that any target can hold and a history can show: small whole numbers, short texts."""
    texts = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
    return st.integers(0, 999) | texts


def nodes(target: Target | Members) -> st.SearchStrategy[str]:
    """The name of one node."""
    return st.sampled_from(list(_members(target).nodes))


def some_nodes(
    target: Target | Members, *, at_most: int | None = None
) -> st.SearchStrategy[tuple[str, ...]]:
    """One node or several, in order; by default any number but all."""
    names = list(_members(target).nodes)
    most = max(1, len(names) - 1) if at_most is None else at_most
    if not 1 <= most <= len(names):
        raise UsageError(
            f"some_nodes(at_most={at_most}) of {len(names)} nodes.",
            do=f"Give a number from 1 to {len(names)}.",
        )
    chosen = st.lists(st.sampled_from(names), min_size=1, max_size=most, unique=True)
    return chosen.map(lambda several: tuple(sorted(several, key=names.index)))


def netsplit_groups(
    target: Target | Members, *, at_most: int | None = None
) -> st.SearchStrategy[tuple[tuple[str, ...], ...]]:
    """The sides of a netsplit: all nodes (and dependencies) in two groups or more, `at_most` so
    many, for `faults.netsplit("groups", groups=…)`. Shrinks to `node-1` against the rest."""
    members = _members(target)
    names = [*members.nodes, *members.dependencies]
    most = len(names) if at_most is None else at_most
    if not 2 <= most <= len(names):
        raise UsageError(
            f"netsplit_groups(at_most={at_most}) of {len(names)} nodes.",
            why="A netsplit has two sides or more, and none is empty.",
            do=f"Give a number from 2 to {len(names)}." if len(names) > 1 else "Take more nodes.",
        )

    def grouped(sides: list[int]) -> tuple[tuple[str, ...], ...]:
        # The last group is where nodes are that were not drawn away: 0 is the rest.
        groups: dict[int, list[str]] = {}
        for name, side in zip(names, sides, strict=True):
            groups.setdefault(side, []).append(name)
        if len(groups) == 1:
            return ((names[0],), tuple(names[1:]))
        return tuple(tuple(groups[side]) for side in sorted(groups, reverse=True))

    return st.lists(st.integers(0, most - 1), min_size=len(names), max_size=len(names)).map(grouped)


def planned_faults(
    target: Target | Members,
    options: Sequence[Fault] = DEFAULT_FAULTS,
    *,
    duration: Duration,
) -> st.SearchStrategy[PlannedFault]:
    """One of `options` (the first is the simplest) on whom it is meant for, at some time, for some
    time, over within `duration`. What is random in it is resolved; roles stay."""
    members = _members(target)
    slots = int(to_seconds(duration, "planned_faults: duration") / STEP_S + 1e-9)
    if not options or slots < 2:
        raise UsageError(
            f"planned_faults draws from {len(options)} faults within {slots * STEP_S:g} s.",
            do=f"Name at least one fault, and a duration of at least {2 * STEP_S:g} s.",
        )
    for option in options:
        if not isinstance(option, Fault):
            raise UsageError(
                f"{option!r} among the faults is no fault.", do="Name e.g. faults.kill()."
            )
    plain = [dataclasses.replace(one, at=None, every=None, lasting=None) for one in options]

    @st.composite
    def drawn(draw: st.DrawFn) -> PlannedFault:
        fault = draw(st.sampled_from(plain))
        who = getattr(fault, "who", None)
        if who == "random":
            # Drawn here, so that it shrinks; `resolve` would draw it from its own randomness.
            fault = dataclasses.replace(fault, who=draw(nodes(members)))  # type: ignore[call-arg]
        at = draw(st.integers(0, slots - 1))
        lasting = draw(st.integers(1, slots - at)) if fault.lasts else 0
        lasting_s = round(lasting * STEP_S, 3)
        rng = draw(st.randoms(use_true_random=False))
        resolved = fault.resolve(rng, members, lasting_s)
        return PlannedFault("f1", round(at * STEP_S, 3), lasting_s, resolved)

    return drawn()


def schedules(
    target: Target | Members,
    options: Sequence[Fault] = DEFAULT_FAULTS,
    *,
    duration: Duration,
    at_least: int = 0,
    at_most: int = 4,
) -> st.SearchStrategy[tuple[PlannedFault, ...]]:
    """The `faults` of a plan: `at_least` to `at_most` of them, in order of time, named f1, f2, …"""
    if not 0 <= at_least <= at_most:
        raise UsageError(
            f"schedules(at_least={at_least}, at_most={at_most}) is none.",
            do="Give 0 <= at_least <= at_most.",
        )

    def named(several: list[PlannedFault]) -> tuple[PlannedFault, ...]:
        in_order = sorted(several, key=lambda one: one.at_s)
        return tuple(
            dataclasses.replace(one, id=f"f{number}")
            for number, one in enumerate(in_order, start=1)
        )

    one = planned_faults(target, options, duration=duration)
    return st.lists(one, min_size=at_least, max_size=at_most).map(named)


def _members(target: Target | Members) -> Members:
    return target if isinstance(target, Members) else Members.of(target)
