"""A target: a kind of system under test, described to the harness in one small class.

The smallest target names its ports and how a node starts:

    class Redis(Target):
        name = "redis"
        ports = {"redis": 6379}

        def command(self, node, peers):
            return ["redis-server", "--bind", node.address, "--dir", str(node.home)]

Everything else has a default that works for many servers and can be overridden.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from harness.container import Container, Image, Limits
from harness.errors import UsageError
from harness.parts import Part, find

MAX_NODES = 100


@dataclass(frozen=True)
class Node:
    """One member of a cluster as its target sees it.

    `name` is its host name, which every other node resolves to the link towards it. `address` is
    where its own server must listen (never the wildcard address). `home` is its own directory:
    working directory and data, kept across restarts. `ports` maps the target's port names. `image`
    is what it runs in, None for a process of this machine.
    """

    name: str
    address: str
    home: Path
    ports: Mapping[str, int] = field(default_factory=dict)
    image: Image | None = None

    @property
    def python(self) -> str:
        """The Python interpreter, as this node's command has to name it."""
        return sys.executable if self.image is None else "python3"

    def program(self, part: Part) -> str:
        """A program, as this node's command has to name it. Raises `MissingPartError`."""
        return str(find(part).path) if self.image is None else part.executable

    def path(self, here: Path) -> str:
        """A file or folder of this machine, as this node finds it. Raises `UsageError` if the
        node's image does not hold it."""
        return str(here) if self.image is None else self.image.inside(here)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Base class of all targets. Subclasses may be dataclasses with options of their own."""

    name: ClassVar[str] = ""
    """What reports call it; also the default name of its `parts`."""

    ports: ClassVar[Mapping[str, int]] = {}
    """Port name → number. Nodes listen on the same numbers, each on its own address."""

    probes: ClassVar[Mapping[str, bytes]] = {}
    """Port name → bytes that a healthy node always answers (`b"PING\\r\\n"`). With them, a cut or
    slowed link is proved by asking through it; without, by what Toxiproxy says of it."""

    parts: ClassVar[Sequence[Part]] = ()
    """The programs it needs; experiments are skipped with the ways to get one that is missing."""

    dependencies: ClassVar[Mapping[str, Mapping[str, int]]] = {}
    """What the nodes need beside them, each a node of its own (a database, a provider): name → its
    ports, by names that no other port has. They are started before the nodes, `command` is asked
    for each, and faults may name them; `who="random"` and `"all"` do not mean them."""

    mutants: ClassVar[Mapping[str, str]] = {}
    """Deliberate bugs that `mutant` switches on: name → what is wrong then."""

    roles: ClassVar[Sequence[str]] = ()
    """The roles that `holders` can find, e.g. `("leader", "follower")`."""

    needs_names: ClassVar[bool] = True
    """False if `command` uses the addresses of `peers` and no host names. Such a target also
    works where private hosts files are impossible."""

    starts_in_turn: ClassVar[bool] = False
    """True for servers that wait for one another if they all start at the same moment: each node is
    then started as soon as the one before it listens on its ports."""

    image: ClassVar[Image | None] = None
    """What the nodes run in on the docker runtime. Without one the target has processes only."""

    in_containers_only: ClassVar[bool] = False
    """True for one whose commands mean containers: it is skipped on the process runtime."""

    limits: ClassVar[Limits] = Limits()
    """What each container of a node may use."""

    nodes: int = 3
    mutant: str | None = None
    ready_timeout_s: float = 30.0
    stop_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        kind = type(self).__name__
        _require_dataclass(type(self))
        if not self.name or not self.ports:
            missing = "a name" if not self.name else "any ports"
            raise UsageError(
                f"Target {kind} does not say {missing}.",
                do=f'Give class {kind} a `name = "…"` and `ports = {{"client": 1234}}`.',
            )
        for port, number in self.all_ports.items():
            if not isinstance(number, int) or not 1 <= number <= 65535:
                raise UsageError(
                    f"Target {kind} names the port {port!r} as {number!r}.",
                    do="Ports are whole numbers from 1 to 65535.",
                )
        if not isinstance(self.nodes, int) or not 1 <= self.nodes <= MAX_NODES:
            raise UsageError(
                f"Target {kind} cannot have {self.nodes!r} nodes.",
                do=f"nodes is a whole number from 1 to {MAX_NODES}.",
            )
        if self.mutant is not None and self.mutant not in self.mutants:
            raise UsageError(
                f"Target {kind} has no mutant {self.mutant!r}.",
                do=f"Its mutants: {', '.join(self.mutants) or 'none'}.",
            )

    def command(self, node: Node, peers: Sequence[Node]) -> Sequence[str]:
        """The command that runs `node` in the foreground. `peers` are all nodes, itself included;
        a peer's `address` is that of the link from this node to it."""
        raise UsageError(
            f"Target {type(self).__name__} does not say how a node starts.",
            do="Define `def command(self, node, peers)` that returns the argument list.",
        )

    def environment(self, node: Node) -> Mapping[str, str]:
        """Environment variables for `node`, added to the harness's own (in a container to those of
        its image)."""
        return {}

    def container(self, name: str) -> Container | None:
        """What the node or dependency `name` runs in on the docker runtime."""
        return None if self.image is None else Container(self.image, self.limits)

    def files(self, node: Node, peers: Sequence[Node]) -> Mapping[str, str]:
        """Files written into the node's home before its first start: relative path → text."""
        return {}

    async def ready(self, node: Node) -> bool:
        """Whether `node` serves. Default: each port accepts a connection. Asked again until true;
        an `OSError` counts as not yet."""
        for port in node.ports.values():
            _reader, writer = await asyncio.open_connection(node.address, port)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return True

    async def holders(self, role: str, nodes: Sequence[Node]) -> Sequence[str]:
        """The names of those of `nodes` (the running ones, and the running dependencies) that hold
        `role` now. May be empty."""
        raise UsageError(
            f"Target {type(self).__name__} does not say who holds the role {role!r}.",
            do="Define `async def holders(self, role, nodes)` and list the role in `roles`.",
        )

    def event(self, line: str) -> tuple[float, str, Mapping[str, Any]] | None:
        """What a line of a node's log tells the checks, if anything: when (seconds of
        CLOCK_MONOTONIC, which all processes of a machine share), its name, and data. The logs are
        read when the cluster is down."""
        return None

    @property
    def node_names(self) -> tuple[str, ...]:
        """`node-1` … in order, without the dependencies."""
        return tuple(f"node-{number}" for number in range(1, self.nodes + 1))

    @property
    def all_names(self) -> tuple[str, ...]:
        """The dependencies and the nodes, in the order in which they are started."""
        return (*self.dependencies, *self.node_names)

    @property
    def tasks(self) -> Sequence[str]:
        """What is run to its end while the cluster starts (a migration), beside the nodes: each
        stands in one of the `start_groups`, and the next group waits until it has ended well.
        `command` is asked for each; no client, fault or final read can mean one."""
        return ()

    @property
    def groups(self) -> Mapping[str, Sequence[str]]:
        """Names that mean several nodes or dependencies, for faults."""
        return {}

    @property
    def ignored(self) -> Mapping[str, str]:
        """What of its description has no effect: place → why. Told once in each run."""
        return {}

    @property
    def start_groups(self) -> Sequence[Sequence[str]]:
        """The nodes and dependencies in the order in which they are started: each group when the
        one before it is ready, for it may need it."""
        return (tuple(self.dependencies), self.node_names)

    def completed(self, exposed: Callable[[str], Collection[int]]) -> Self:
        """The same with what only the images tell: `exposed` says which TCP ports that of a node
        exposes. Asked before the links are made."""
        return self

    @property
    def all_ports(self) -> Mapping[str, int]:
        """The ports of the nodes and of all dependencies, by name."""
        found = dict(self.ports)
        for ports in self.dependencies.values():
            found |= ports
        return found

    def ports_of(self, name: str) -> Mapping[str, int]:
        """The ports of a node or a dependency. What is run once has none."""
        return {} if name in self.tasks else self.dependencies.get(name, self.ports)

    def to_json(self) -> dict[str, Any]:
        """Name and options, as they stand in a plan."""
        return {"name": self.name, **dataclasses.asdict(self)}


def _require_dataclass(kind: type[Target]) -> None:
    """Options of a class that is no dataclass of its own would silently have no effect."""
    for one in kind.__mro__[: kind.__mro__.index(Target)]:
        annotations = vars(one).get("__annotations__", {})
        options = [name for name, type in annotations.items() if "ClassVar" not in str(type)]
        if options and "__dataclass_fields__" not in vars(one):
            raise UsageError(
                f"Target {one.__name__} has an option {options[0]!r}, but is no dataclass.",
                do="Write @dataclass(frozen=True, kw_only=True) above the class, or mark what is "
                "the same for all instances as ClassVar.",
            )
