"""What every fault is: a reversible disturbance that is injected, proved, healed and proved gone.

A fault is a frozen dataclass. Its own fields say what it does; the fields here say when. Before a
run, `occurrences` turns one into dated copies without anything random left, which make up the
plan. Adding a fault is one file with one subclass; see docs/faults.md.
"""

from __future__ import annotations

import dataclasses
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from harness.errors import UsageError
from harness.units import Moment, Share, of_phase, to_seconds

if TYPE_CHECKING:
    from harness.nemesis import Site
    from harness.target import Target

MAX_OCCURRENCES = 10_000

Proof = dict[str, Any]
"""What was seen when a fault proved itself, as it stands in the journal."""


@dataclass(frozen=True, slots=True)
class Members:
    """What can be named in `who`: the cluster's nodes, its target's roles, its dependencies, which
    only their names mean, and names of groups of either."""

    nodes: Sequence[str]
    roles: Sequence[str] = ()
    dependencies: Sequence[str] = ()
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, target: Target) -> Self:
        return cls(
            target.node_names,
            tuple(target.roles),
            tuple(target.dependencies),
            {name: tuple(members) for name, members in target.groups.items()},
        )

    def expanded(self, names: Sequence[str]) -> tuple[str, ...]:
        """`names` with the members of groups in the place of the groups' names."""
        return tuple(one for name in names for one in self.groups.get(name, (name,)))


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A fault with nothing random left, and when: seconds after the faults' phase began."""

    at_s: float
    lasting_s: float
    fault: Fault


_KINDS: dict[str, type[Fault]] = {}

_TIMING = frozenset({"at", "every", "lasting", "jitter"})


@dataclass(frozen=True, kw_only=True)
class Fault(ABC):
    """Base class of all faults: when it happens.

    `at` is one time or several; `every` repeats (the first after one interval, each moved by up to
    ±`jitter` of the interval); `lasting` is the time from injection to healing.
    """

    kind: ClassVar[str] = ""
    lasts: ClassVar[bool] = True
    """False for faults that are over at once (a reset)."""

    at: Moment | Sequence[Moment] | None = None
    every: Moment | None = None
    lasting: Moment | None = None
    jitter: float = 0.1

    @property
    def needs(self) -> str | None:
        """What it needs of the runtime, a word of `harness.runtime.needs`; None for nothing."""
        return None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.kind:
            _KINDS[cls.kind] = cls

    def __post_init__(self) -> None:
        name = f"faults.{self.kind}"
        if self.at is not None and self.every is not None:
            raise UsageError(f"{name} has both at= and every=.", do="Give one of them.")
        if self.every is not None:
            of_phase(self.every, 1.0, f"{name}: every")
        for moment in _moments(self.at):
            of_phase(moment, 1.0, f"{name}: at", allow_zero=True)
        if self.lasting is not None:
            of_phase(self.lasting, 1.0, f"{name}: lasting")
        if not 0 <= self.jitter < 0.5:
            raise UsageError(
                f"{name}: jitter must be at least 0 and below 0.5, not {self.jitter!r}.",
                do="It is the share of `every` by which each occurrence may move.",
            )

    # What a fault does. `site` gives the cluster, and keeps what this occurrence has to remember.

    @abstractmethod
    def resolve(self, rng: random.Random, members: Members, lasting_s: float) -> Self:
        """A copy with every random choice drawn; roles stay, they are looked up at injection."""

    @abstractmethod
    async def inject(self, site: Site) -> None:
        """Make it happen, and set `site.nodes` to those concerned."""

    @abstractmethod
    async def prove(self, site: Site) -> Proof:
        """Show that it is in force; raise `FaultError` if it is not."""

    async def prove_held(self, site: Site) -> None:  # noqa: B027  most need not
        """Show, just before it is healed, that nobody has undone it meanwhile; raise `FaultError`
        if somebody has. For faults whose healing would not notice."""

    @abstractmethod
    async def heal(self, site: Site) -> None:
        """Undo it, also after a partial or failed injection. Others that hold the same node or
        link stay in force."""

    @abstractmethod
    async def prove_healed(self, site: Site) -> Proof:
        """Show that nothing of it is left; raise `FaultError` otherwise."""

    @abstractmethod
    def describe(self) -> str:
        """A few words for people: "pause leader"."""

    # When it happens.

    def occurrences(
        self, rng: random.Random, members: Members, duration_s: float, scale: float
    ) -> list[Occurrence]:
        """The dated, resolved copies within a phase of `duration_s` seconds. Those that could not
        be healed within it are left out. `scale` moves the times given with `at`."""
        lasting_s = self.lasting_s(duration_s)
        found = []
        for at_s in tick_times(self, rng, duration_s, scale):
            fault = dataclasses.replace(
                self.resolve(rng, members, lasting_s), at=None, every=None, lasting=None
            )
            if at_s + lasting_s <= duration_s:
                found.append(Occurrence(at_s, lasting_s, fault))
        return found

    def lasting_s(self, duration_s: float) -> float:
        """How long each occurrence holds, in seconds."""
        if not self.lasts:
            return 0.0
        if self.lasting is None:
            raise UsageError(
                f"faults.{self.kind} does not say for how long.",
                do="Add lasting=seconds(2), for example.",
            )
        return of_phase(self.lasting, duration_s, f"faults.{self.kind}: lasting")

    # How it stands in a plan.

    def to_json(self) -> dict[str, Any]:
        """Its own fields; a value that is the default is written as well."""
        return {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name not in _TIMING and f.init
        }


def from_json(kind: str, fields: Mapping[str, Any]) -> Fault:
    """The fault that `to_json` wrote. Raises `UsageError` for an unknown kind or field."""
    cls = _KINDS.get(kind)
    if cls is None:
        raise UsageError(
            f"The plan holds a fault of the kind {kind!r}, which is not known here.",
            do=f"Known kinds: {', '.join(sorted(_KINDS))}. Import the module that defines it.",
        )
    try:
        return cls(**fields)
    except TypeError as error:
        raise UsageError(
            f"The plan holds a fault {kind!r} with fields that do not fit.", why=str(error)
        ) from None


def tick_times(timing: Any, rng: random.Random, duration_s: float, scale: float) -> list[float]:
    """The moments, in seconds, that `at` or `every` with `jitter` name within the phase."""
    kind = timing.kind
    if timing.every is None:
        if timing.at is None:
            raise UsageError(
                f"faults.{kind} does not say when.",
                do="Add every=seconds(5) or at=seconds(3); at= also takes several times.",
            )
        moments = [
            moment.of(duration_s)
            if isinstance(moment, Share)
            else to_seconds(moment, f"faults.{kind}: at", allow_zero=True) * scale
            for moment in _moments(timing.at)
        ]
        return [round(moment, 3) for moment in sorted(moments)]
    every_s = of_phase(timing.every, duration_s, f"faults.{kind}: every")
    count = int(duration_s / every_s)
    if count > MAX_OCCURRENCES:
        raise UsageError(
            f"faults.{kind} would happen {count} times.",
            do=f"Make every= longer; the limit is {MAX_OCCURRENCES}.",
        )
    times = [
        (number + rng.uniform(-timing.jitter, timing.jitter)) * every_s
        for number in range(1, count + 1)
    ]
    return [round(time, 3) for time in times]


def _moments(at: Moment | Sequence[Moment] | None) -> Sequence[Moment]:
    if at is None:
        return ()
    return at if isinstance(at, (list, tuple)) else (at,)


Who = str | Sequence[str]
"""Whom a fault hits: a node's name, several, a role, or `random`, `minority`, `all`."""


def resolve_who(who: Who, rng: random.Random, members: Members, fault: str) -> Who:
    """`who` with the random words drawn. A role stays as it is. Raises `UsageError` naming what
    exists if `who` names nothing."""
    nodes = list(members.nodes)
    named = {*nodes, *members.dependencies}
    if isinstance(who, str) and who in members.groups:
        return members.expanded([who])
    if not isinstance(who, str):
        who = members.expanded(who)
        unknown = [name for name in who if name not in named]
        if unknown or not who:
            raise _unknown(unknown[0] if unknown else "nobody", members, fault)
        return tuple(who)
    if who == "random":
        return nodes[int(rng.random() * len(nodes))]
    if who == "minority":
        size = max(1, (len(nodes) - 1) // 2)
        return tuple(sorted(rng.sample(nodes, size)))
    if who == "all":
        return tuple(nodes)
    if who in named or who in members.roles:
        return who
    raise _unknown(who, members, fault)


def _unknown(who: str, members: Members, fault: str) -> UsageError:
    roles = ", ".join(members.roles) or "none"
    dependencies = ", ".join(members.dependencies) or "none"
    groups = f"groups: {', '.join(members.groups)}; " if members.groups else ""
    return UsageError(
        f"faults.{fault}: there is no node and no role {who!r}.",
        do=f"Nodes: {', '.join(members.nodes)}; roles of this target: {roles}; "
        f"dependencies: {dependencies}; {groups}"
        "or one of random, minority, all.",
    )


@dataclass(frozen=True)
class NodeFault(Fault):
    """Base of the faults that hit whole nodes."""

    who: Who = field(default="random", kw_only=True)

    def resolve(self, rng: random.Random, members: Members, lasting_s: float) -> Self:
        return dataclasses.replace(self, who=resolve_who(self.who, rng, members, self.kind))

    def describe(self) -> str:
        who = self.who if isinstance(self.who, str) else ", ".join(self.who)
        return f"{self.kind} {who}"
