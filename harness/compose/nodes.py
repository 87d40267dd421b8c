"""From services to nodes: their names, what else they are called, and who starts when."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from harness.compose.model import Service
from harness.errors import UsageError

_RESERVED = frozenset({"client", "localhost", "toxiproxy"})


def base_name(service: str) -> str:
    """The name of a service as a host name can have it."""
    return re.sub(r"[^a-z0-9]+", "-", service.lower()).strip("-") or "service"


def node_names(services: Mapping[str, Service]) -> dict[str, tuple[str, ...]]:
    """Service → its nodes: `db` is the node `db`, three of `web` are `web-1` to `web-3`. What a
    host name cannot hold (`my_app`) becomes a hyphen. Raises `UsageError` if two nodes would have
    the same name."""
    found: dict[str, tuple[str, ...]] = {}
    owners: dict[str, str] = {}
    for service in services.values():
        base = base_name(service.name)
        if service.replicas == 1 and base not in _RESERVED:
            names: tuple[str, ...] = (base,)
        else:
            names = tuple(f"{base}-{number}" for number in range(1, service.replicas + 1))
        for name in dict.fromkeys((base, *names)):
            if name in owners:
                raise UsageError(
                    f"The services {owners[name]} and {service.name} would both be called {name}.",
                    do="Leave one of them out with only=[…], or change its scale.",
                )
            owners[name] = service.name
        found[service.name] = names
    return found


def host_names(
    services: Mapping[str, Service], nodes: Mapping[str, Sequence[str]], service: str
) -> dict[str, tuple[str, ...]]:
    """What else than their own names the nodes of `service` know nodes by: host name → the nodes it
    means, several where it is that of several replicas. A service's own name goes before aliases of
    others."""
    own = {name for names in nodes.values() for name in names}
    found: dict[str, tuple[str, ...]] = {}
    known = [(name, name) for name in services]
    known += [(alias, one.name) for one in services.values() for alias in one.aliases]
    for alias, name in known:
        if alias in services and alias != name:
            continue
        found[alias] = tuple(dict.fromkeys((*found.get(alias, ()), *nodes[name])))
    found |= {alias: tuple(nodes[name]) for alias, name in services[service].links.items()}
    return {
        alias: names
        for alias, names in found.items()
        if names and alias not in own and alias != "localhost"
    }


def waves(services: Mapping[str, Service]) -> list[list[str]]:
    """The services in the order of `depends_on`: each wave needs nothing but those before it.
    Raises `UsageError` if services wait for one another."""
    left = {name: set(service.depends_on) for name, service in services.items()}
    found = []
    while left:
        wave = [name for name, needed in left.items() if not needed & left.keys()]
        if not wave:
            raise UsageError(
                f"These services wait for one another: {', '.join(_circle(left))}.",
                do="Correct depends_on.",
            )
        found.append(wave)
        left = {name: needed for name, needed in left.items() if name not in wave}
    return found


def _circle(left: Mapping[str, set[str]]) -> list[str]:
    """One circle among services of which each waits for another one."""
    path = [next(iter(left))]
    while True:
        following = min(left[path[-1]] & left.keys())
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)


def run_once(services: Mapping[str, Service], named: Collection[str] = ()) -> tuple[str, ...]:
    """The services that do their work and end: those whose end others wait for, and those that are
    `named`."""
    awaited = {
        name
        for service in services.values()
        for name, condition in service.depends_on.items()
        if condition == "service_completed_successfully"
    }
    return tuple(name for name in services if name in awaited or name in named)


def entry_services(services: Mapping[str, Service], once: Collection[str] = ()) -> tuple[str, ...]:
    """Those that the world talks to, none that is run `once`: nobody that stays depends on them,
    and of those the ones that publish ports; or else, what publishes ports and is not there for
    others that do; or else nobody depends on them, and of those the ones that name ports."""
    lasting = [service for service in services.values() if service.name not in once]
    needed = _needed_by(services, lasting)
    roots = [service for service in lasting if service.name not in needed]
    published = [service for service in lasting if service.published]
    behind = _needed_by(services, published)
    found = (
        [service for service in roots if service.published]
        or [service for service in published if service.name not in behind]
        or [service for service in roots if service.ports]
        or roots
    )
    return tuple(service.name for service in found)


def _needed_by(services: Mapping[str, Service], some: Iterable[Service]) -> set[str]:
    """All that `some` of the services depend on, and what those depend on, and so on."""
    needed = {name for service in some for name in service.depends_on}
    for wave in reversed(waves(services)):
        for name in wave:
            if name in needed:
                needed |= services[name].depends_on.keys()
    return needed
