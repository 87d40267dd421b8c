"""What is on a link and what should be, and the calls that lead from the one to the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import quote

from harness.network.effects import Drop, Effect, Reject, ToxicState
from harness.network.links import Door, Link
from harness.network.toxiproxy import add_toxic, remove_toxic, update_toxic
from harness.network.transport import Call

Holders = Mapping[str, Mapping[Link, tuple[Effect, ...]]]


@dataclass(frozen=True, slots=True)
class LinkState:
    """What is on one link: whether it listens, and its toxics by name."""

    enabled: bool = True
    toxics: Mapping[str, ToxicState] = field(default_factory=dict)


MISSING = LinkState(enabled=False)
"""Stands, by identity, for a link that Toxiproxy does not know."""

Change: TypeAlias = tuple[LinkState, LinkState]
"""What is on a link, and what is wanted there."""


def wanted_on(holders: Holders, link: Link) -> LinkState:
    """What `link` must be for all holders together."""
    enabled = True
    toxics: dict[str, ToxicState] = {}
    for holder, held in holders.items():
        for number, effect in enumerate(held.get(link, ())):
            if isinstance(effect, Reject):
                enabled = False
            # One drop is as good as many: it has no holder's name, and stays with the last one.
            prefix = "drop" if isinstance(effect, Drop) else f"{quote(holder, safe='')}:{number}"
            for toxic in effect.toxics():
                toxics[f"{prefix}:{toxic.type}:{toxic.stream}"] = toxic
    return LinkState(enabled, toxics)


def toxic_calls(link: Link, now: LinkState, wanted: LinkState) -> list[Call]:
    """The calls that change the toxics of `link`."""
    calls = []
    for name, toxic in now.toxics.items():
        new = wanted.toxics.get(name)
        if new is None or (new.type, new.stream) != (toxic.type, toxic.stream):
            calls.append(remove_toxic(link.name, name))
    for name, new in wanted.toxics.items():
        old = now.toxics.get(name)
        if old is None or (old.type, old.stream) != (new.type, new.stream):
            calls.append(
                add_toxic(link.name, name, new.type, new.stream, new.attributes, new.toxicity)
            )
        elif old != new:
            calls.append(update_toxic(link.name, name, new.attributes, new.toxicity))
    return calls


def needs_making(now: LinkState, wanted: LinkState) -> bool:
    """Whether the link does not exist, or one of several toxics on one stream is removed."""
    removed = {now.toxics[name].stream for name in now.toxics.keys() - wanted.toxics.keys()}
    counts = Counter(toxic.stream for toxic in now.toxics.values())
    return now is MISSING or any(counts[stream] > 1 for stream in removed)


def undrops(now: LinkState, wanted: LinkState) -> bool:
    return any(
        toxic.type == "timeout" and name not in wanted.toxics for name, toxic in now.toxics.items()
    )


def resets(now: LinkState, wanted: LinkState) -> bool:
    return any(
        toxic.type == "reset_peer" and name not in now.toxics
        for name, toxic in wanted.toxics.items()
    )


def differences(link: Link, wanted: LinkState, real: LinkState | None) -> list[str]:
    if real is None:
        return [f"{link.name} does not exist"]
    found = []
    if real.enabled != wanted.enabled:
        found.append(f"{link.name} is {'' if real.enabled else 'not '}accepting connections")
    for name in sorted({*wanted.toxics, *real.toxics}):
        should, does = wanted.toxics.get(name), real.toxics.get(name)
        if should != does:
            found.append(f"{link.name} has {does or 'nothing'} instead of {should or 'nothing'}")
    return found


def proxy_fields(link: Link | Door) -> dict[str, Any]:
    return {
        "name": link.name,
        "listen": "{}:{}".format(*link.listen),
        "upstream": "{}:{}".format(*link.upstream),
        "enabled": True,
    }
