"""The target that a compose file is."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from harness.compose.containers import container_of, image_of
from harness.compose.model import Project, Service
from harness.compose.nodes import base_name, entry_services, node_names, run_once, waves
from harness.compose.project import read_project
from harness.container import Container, Image
from harness.errors import UsageError
from harness.target import MAX_NODES, Node, Target

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0

_INTERVAL_S = 30.0  # what health checks have by default
_RETRIES = 3


@dataclass(frozen=True, kw_only=True)
class ComposeTarget(Target):
    """The services of a compose file as nodes; see `compose_target` for the options.

    It is read as soon as this is made; it says `name`, `ports`, `dependencies` and `nodes`. `asked`
    are the `probes`.
    `once` are in the end all services that are run to their end, which the file tells of most.
    `image_ports` are the ports that images expose, of services for which neither the file nor
    `expose` names any: an engine knows them (`unknown_ports`, `completed`).
    """

    in_containers_only: ClassVar[bool] = True

    file: str
    members: Sequence[str] = ()
    scale: Mapping[str, int] = field(default_factory=dict)
    images: Mapping[str, Image] = field(default_factory=dict)
    only: Sequence[str] = ()
    profiles: Sequence[str] = ()
    once: Sequence[str] = ()
    expose: Mapping[str, Sequence[int]] = field(default_factory=dict)
    ignore: Sequence[str] = ()
    asked: Mapping[str, bytes] = field(default_factory=dict)
    image_ports: Mapping[str, Sequence[int]] = field(default_factory=dict)
    ready_timeout_s: float = READY_TIMEOUT_S
    stop_timeout_s: float = STOP_TIMEOUT_S

    project: Project = field(init=False, repr=False, compare=False)
    services: Mapping[str, Service] = field(init=False, repr=False, compare=False)
    service_images: Mapping[str, Image] = field(init=False, repr=False, compare=False)
    """Service → its image; always the same object for the same service."""

    service_nodes: Mapping[str, Sequence[str]] = field(init=False, repr=False, compare=False)
    """Service → the names of its nodes."""

    def __post_init__(self) -> None:
        for option in ("members", "only", "profiles", "once", "ignore"):
            self._set(option, _names(option, getattr(self, option)))
        for option in ("expose", "image_ports"):
            found = {name: _ports(name, ports) for name, ports in getattr(self, option).items()}
            self._set(option, found)
        project = read_project(
            Path(self.file),
            os.environ,
            only=self.only,
            profiles=self.profiles,
            scale=self.scale,
            replaced=self.images.keys(),
            ignore=self.ignore,
        )
        services = project.services
        once = run_once(services, self.once)
        lasting = [name for name in services if name not in once]
        known = {service.image for service in services.values()} | services.keys()
        for option, there in (
            ("once", services.keys()),
            ("members", lasting),
            ("scale", services.keys()),
            ("expose", lasting),
            ("images", known),
        ):
            if unknown := [name for name in getattr(self, option) if name not in there]:
                raise UsageError(
                    f"compose_target: {option} names {unknown[0]!r}, which "
                    + (
                        f"is run once, and no node, in {self.file}."
                        if unknown[0] in services
                        else f"is not in {self.file} or is left out."
                    ),
                    do=f"There are {', '.join(sorted(name for name in there if name))}.",
                )
        self._set("project", project)
        self._set("services", services)
        self._set("once", once)
        self._set("service_nodes", node_names(services))
        self._set("service_images", {n: image_of(s, self.images) for n, s in services.items()})
        members = self.members or entry_services(services, once)
        if not members:
            raise UsageError(
                f"{self.file} has no service that clients could talk to.",
                do="Name those that they do: members=[…].",
            )
        self._set("members", tuple(name for name in services if name in members))
        # What the base class calls the same for all instances is what this file says.
        self._set("name", project.name)
        self._set("nodes", len(self.node_names))
        self._set(
            "dependencies",
            {
                node: self._ports_of_service(service)
                for service in self._in_order()
                if service not in (*self.members, *once)
                for node in self.service_nodes[service]
            },
        )
        self._set(
            "ports",
            {
                port: number
                for name in self.members
                for port, number in self._ports_of_service(name).items()
            },
        )
        self._set("probes", self.asked)
        unknown = [] if self.unknown_ports else [p for p in self.asked if p not in self.all_ports]
        if unknown:
            raise UsageError(
                f"compose_target: probes names {unknown[0]!r}, which is no port of {self.file}.",
                do=f"There are {', '.join(self.all_ports) or 'none'}.",
            )
        if len(self.all_names) > MAX_NODES:
            raise UsageError(
                f"{self.file} has {len(self.all_names)} nodes.", do=f"Use at most {MAX_NODES}."
            )
        if self.mutant is not None:
            raise UsageError(
                f"Target {self.name} has no mutant {self.mutant!r}.",
                do="A compose file has no mutants.",
            )

    # What the harness asks

    @property
    def node_names(self) -> tuple[str, ...]:
        """The nodes of the members, in the order of the file."""
        return tuple(node for name in self.members for node in self.service_nodes[name])

    @property
    def all_ports(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for name in self.services:
            found |= self._ports_of_service(name)
        return found

    def ports_of(self, name: str) -> Mapping[str, int]:
        return self._ports_of_service(self.service_of(name))

    @property
    def start_groups(self) -> Sequence[Sequence[str]]:
        """The nodes in the order of depends_on: each group is started when the one before is
        ready."""
        return tuple(
            tuple(node for name in wave for node in self.service_nodes[name])
            for wave in waves(self.services)
        )

    @property
    def groups(self) -> Mapping[str, Sequence[str]]:
        """The services whose name is not that of their one node → their nodes."""
        return {
            name: nodes
            for name, nodes in self.service_nodes.items()
            if tuple(nodes) != (name,) and name not in self.once
        }

    @property
    def tasks(self) -> tuple[str, ...]:
        """The nodes of the services that are run once."""
        return tuple(node for name in self.once for node in self.service_nodes[name])

    def completed(self, exposed: Callable[[str], Collection[int]]) -> Self:
        found = {name: exposed(self.service_nodes[name][0]) for name in self.unknown_ports}
        return self.with_image_ports(found) if found else self

    def container(self, name: str) -> Container:
        service = self.service_of(name)
        return container_of(
            self.services[service],
            self.service_images[service],
            self.services,
            self.service_nodes,
        )

    def command(self, node: Node, peers: Sequence[Node]) -> Sequence[str]:
        """The file's command; empty for the image's own."""
        return self.services[self.service_of(node.name)].command

    def environment(self, node: Node) -> Mapping[str, str]:
        return self.services[self.service_of(node.name)].environment

    async def ready(self, node: Node) -> bool:
        """Whether the ports of the node accept connections: all that the file names, or one of
        those that its image exposes, which may be more than are used. A service with a health
        check in the file is ready by that alone, which the runtime sees to."""
        name = self.service_of(node.name)
        if self.services[name].health:
            return True
        named = bool(self._declared_ports(name))
        answers = [await _accepts(node.address, port) for port in node.ports.values()]
        return not answers or (all(answers) if named else any(answers))

    def to_json(self) -> dict[str, Any]:
        """The options, the names of what replaces images, and what the services run."""
        fields = {one.name for one in dataclasses.fields(self) if one.init}
        options = {name: getattr(self, name) for name in sorted(fields - {"images", "asked"})}
        shown = {
            name: f"build {service.build.context}" if service.build else service.image or "replaced"
            for name, service in self.services.items()
        }
        digest = hashlib.sha256(repr(self.services).encode()).hexdigest()
        return {
            "name": self.name,
            **options,
            "images": sorted(self.images),
            "asked": sorted(self.asked),
            "services": shown,
            "digest": digest[:16],
        }

    # What the docker runtime asks beside that

    def service_of(self, node: str) -> str:
        """The service that a node is of. Raises `UsageError` for an unknown name."""
        for service, nodes in self.service_nodes.items():
            if node in nodes:
                return service
        names = ", ".join((*self.all_names, *self.tasks))
        raise UsageError(f"{self.file} has no node {node!r}.", do=f"There are {names}.")

    @property
    def unknown_ports(self) -> tuple[str, ...]:
        """The services whose ports only their images tell."""
        return tuple(
            name
            for name in self.services
            if name not in (*self.once, *self.image_ports) and not self._declared_ports(name)
        )

    def with_image_ports(self, exposed: Mapping[str, Collection[int]]) -> Self:
        """The same with the TCP ports that images expose: service → ports, an empty one for none.
        They count for the services of `unknown_ports` only."""
        found = {name: sorted(exposed[name]) for name in self.unknown_ports if name in exposed}
        return dataclasses.replace(self, image_ports={**self.image_ports, **found})

    @property
    def ignored(self) -> Mapping[str, str]:
        """What of the file has no effect here: place → why."""
        unlinked = {
            f"services.{name}": "no port of it is known, so nothing can connect to it; "
            f'expose={{"{name}": [port]}} names one, once=["{name}"] says that it ends by itself'
            for name, ports in self.image_ports.items()
            if not ports and name in self.services and not self._declared_ports(name)
        }
        return {**self.project.ignored, **unlinked}

    @property
    def patience_s(self) -> float:
        """How long to wait for nodes to get ready, if their health checks are taken at their
        word."""
        health = [service.health for service in self.services.values() if service.health]
        told = [
            (one.start_period_s or 0.0)
            + (one.retries or _RETRIES) * (one.interval_s or _INTERVAL_S)
            for one in health
            if one.start_period_s is not None
        ]
        return max([READY_TIMEOUT_S, *told])

    # Helpers

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _in_order(self) -> list[str]:
        return [name for wave in waves(self.services) for name in wave]

    def _declared_ports(self, service: str) -> tuple[int, ...]:
        if service in self.once:
            return ()
        return (*self.services[service].ports, *self.expose.get(service, ()))

    def _ports_of_service(self, service: str) -> dict[str, int]:
        numbers = self._declared_ports(service) or self.image_ports.get(service, ())
        prefix = base_name(service)
        return {f"{prefix}-{number}": number for number in sorted(set(numbers))}


def compose_target(
    file: str | os.PathLike[str],
    *,
    members: Sequence[str] = (),
    scale: Mapping[str, int] | None = None,
    images: Mapping[str, Image] | None = None,
    only: Sequence[str] = (),
    profiles: Sequence[str] = (),
    once: Sequence[str] = (),
    expose: Mapping[str, Sequence[int]] | None = None,
    ignore: Sequence[str] = (),
    probes: Mapping[str, bytes] | None = None,
    ready_timeout_s: float | None = None,
    stop_timeout_s: float | None = None,
) -> ComposeTarget:
    """A compose file as a target for the docker runtime. The file stays as it is.

    The service `db` is the node `db`; three of `web` are `web-1` to `web-3`, and `web` means all of
    them. `members` are the services that clients and load talk to and that `"random"` and `"all"`
    mean; the others are dependencies, which faults mean by name. By default they are the services
    that no other depends on, and of those the ones that publish ports.

    `scale` overrides how many nodes a service has. `images` puts images in the place of others, by
    the name of a service or of an image. `only` these services are started, whatever depends on
    others; `profiles` are started as well. Services that do their work and end are run before those
    that depend on them: those whose end the file says others wait for, and those in `once`.
    `expose` names ports that neither the file nor the image does. `ignore` are places of the file
    (`services.web.privileged`) that may have no effect though they would make a difference.
    `probes` are bytes that a healthy node always answers, by the name of the port
    (`{"cache-6379": b"PING\\r\\n"}`): with them, faults are proved by asking.

    Times in seconds: how long nodes may take to get ready (by default a minute, or longer if a
    `start_period` asks for it), and to stop (the longest `stop_grace_period`, or ten seconds).

    Raises `UsageError` for what makes no sense, and with a list of all that cannot be had.
    """
    path = Path(file)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    target = ComposeTarget(
        file=str(path),
        members=members,
        scale=dict(scale or {}),
        images=dict(images or {}),
        only=only,
        profiles=profiles,
        once=once,
        expose=dict(expose or {}),
        ignore=ignore,
        asked=dict(probes or {}),
    )
    asked = [one.stop_timeout_s for one in target.services.values()]
    longest = max([one for one in asked if one is not None], default=STOP_TIMEOUT_S)
    return dataclasses.replace(
        target,
        ready_timeout_s=target.patience_s if ready_timeout_s is None else ready_timeout_s,
        stop_timeout_s=longest if stop_timeout_s is None else stop_timeout_s,
    )


def _names(option: str, value: Sequence[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise UsageError(f"compose_target: {option}={value!r}.", do=f"Give a list: [{value!r}].")
    return tuple(value)


def _ports(service: str, numbers: Sequence[int]) -> tuple[int, ...]:
    for number in numbers:
        if not isinstance(number, int) or not 1 <= number <= 65535:
            raise UsageError(
                f"compose_target: expose names the port {number!r} of {service}.",
                do="Ports are whole numbers from 1 to 65535.",
            )
    return tuple(numbers)


async def _accepts(address: str, port: int) -> bool:
    try:
        _reader, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
