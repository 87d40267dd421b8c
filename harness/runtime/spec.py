"""What all runtimes share: how a node is described, and what can be done with it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypeVar

from harness.errors import UsageError

if TYPE_CHECKING:  # the reaper imports this, with the standard library alone
    from harness.container import Container, Image
    from harness.runtime.docker.means import Means
    from harness.runtime.resources import Sample

RUNTIMES = ("process", "docker")
"""The runtimes by name; the first is used where none is named."""

Address: TypeAlias = tuple[str, int]
"""IPv4 address and port."""

TOXIPROXY_NODE = "toxiproxy"
"""What the server of the proxies is called, where nodes and tools have names."""

CLIENT = "client"
"""The source of the links that load and clients use."""

T = TypeVar("T")

State: TypeAlias = Literal["running", "paused", "down"]

_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_RESERVED_NAMES = frozenset({CLIENT, TOXIPROXY_NODE, "localhost"})


@dataclass(frozen=True)
class NodeSpec:
    """How one node starts, and when it counts as started.

    `ports` (name → number) are what it must listen on, at its own address only. `env` is added to
    the harness's own environment. `files` (path in the node's home → text) are written once,
    before the first start. `ready` is asked again and again: False, an `OSError` or an `EOFError`
    mean not yet; any other exception is a defect and ends the start. Raises `UsageError` for a
    description that cannot work. `container` is what it runs in, where nodes run in containers; the
    command may then be empty, for the image's own, and `env` is added to the image's. One that is
    run `once` has started when it has ended with 0, within `ready_timeout_s`, and is never asked.
    """

    name: str
    argv: Sequence[str]
    ports: Mapping[str, int]
    ready: Callable[[], Awaitable[bool]]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    ready_timeout_s: float = 30.0
    stop_timeout_s: float = 10.0
    needs_names: bool = True
    container: Container | None = None
    once: bool = False

    def __post_init__(self) -> None:
        if not self.argv and self.container is None:
            raise UsageError(f"{self.name} has no command.", do="Give it the program to run.")
        for name in self.files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise UsageError(
                    f"{self.name} has a file {name!r} outside its home.",
                    do="Name files by a path relative to the node's home, without `..`.",
                )


@dataclass(frozen=True)
class NodeExit:
    """A node (or tool) ended and nobody had asked for it."""

    name: str
    status: int | None


class Runtime(Protocol):
    """A cluster's nodes and tools. Methods raise `BrokenError` if the machine fails them and
    `UsageError` for unknown names; names of tools are accepted where names of nodes are."""

    @property
    def id(self) -> str:
        """What tells this cluster from every other one, ever."""
        ...

    @property
    def nodes(self) -> tuple[str, ...]: ...

    @property
    def api_address(self) -> str:
        """Where the proxies' own interface listens."""
        ...

    def address(self, node: str) -> str:
        """Where `node` itself listens."""
        ...

    def link_address(self, source: str, node: str) -> str:
        """Where the link from `source` (a node or `client`) to `node` listens."""
        ...

    def home(self, node: str) -> Path:
        """The directory of `node`: its working directory and data, kept across restarts."""
        ...

    def image(self, node: str) -> Image | None:
        """What `node` runs in; None for a process of this machine."""
        ...

    def versions(self) -> Mapping[str, str]:
        """What nodes run in, in words: nothing where that is this machine."""
        ...

    def lacks(self, need: str) -> str | None:
        """Why a fault that needs `need` (a word of `harness.runtime.needs`) is not to be had here,
        or None."""
        ...

    @property
    def means(self) -> Means | None:
        """What faults can do to nodes because they are containers; None where they are not."""
        ...

    async def inside(
        self, name: str, argv: Sequence[str], *, user: str = "root"
    ) -> tuple[int, str]:
        """Run a command in a node's container: its exit status, and what it said. Raises
        `BrokenError` if the node is down, has no container, or cannot run it."""
        ...

    async def use(self, work: Callable[[Means], T]) -> T:
        """Have `work` use the means, to its end. Raises `MissingPartError` if there are none."""
        ...

    async def start_toxiproxy(self, port: int) -> None:
        """Start the proxies' server, with its interface at `api_address`, or start it again."""
        ...

    def exposed(self, node: str) -> Collection[int]:
        """The TCP ports that the node's image says it listens on."""
        ...

    def make_doors(self, links: Sequence[Address]) -> Mapping[Address, int]:
        """Publish ways in from outside the cluster's network, once Toxiproxy runs: the addresses of
        links → the port of its container that is to lead there. None where all is inside."""
        ...

    def published(self) -> Mapping[Address, Address]:
        """Where links are to be had for people and programs of this machine, by their addresses."""
        ...

    def toxiproxy_process(self) -> int | None:
        """The process of the proxies' server; None if it is none of this machine's."""
        ...

    def own_network(self, name: str) -> int | None:
        """A process in the network that is the node's own; None where all share the machine's."""
        ...

    def sampler(self) -> Callable[[int], list[Sample]]:
        """What the nodes use at a moment, in nanoseconds since the run's start."""
        ...

    async def start(self, spec: NodeSpec) -> None:
        """Start a node, or start it again with the data it has, and wait until it is ready."""
        ...

    async def spawn(self, spec: NodeSpec) -> None:
        """The first half of `start`: returns as soon as the node's process runs."""
        ...

    async def wait_ready(self, spec: NodeSpec) -> None:
        """The second half of `start`. A node that fails to get ready is left as it is."""
        ...

    async def start_all(self, specs: Sequence[NodeSpec], *, in_turn: bool = False) -> None:
        """Start nodes at the same time, or each as soon as the one before it listens on its ports.
        If one fails, all of them are ended."""
        ...

    async def start_tool(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        stop_timeout_s: float = 0.5,
    ) -> None:
        """Start a helper of the harness itself, and do not wait for it."""
        ...

    async def wait_exit(self, name: str) -> int | None:
        """Wait until the main process of a node or tool has ended; its exit status."""
        ...

    async def kill_process(self, name: str, pid: int) -> bool:
        """End one process of a node at once, and no other. False if it has none with that id."""
        ...

    async def kill(self, name: str) -> None:
        """End a node at once, with all its processes. Returns when none is left."""
        ...

    def end_now(self, name: str) -> None:
        """Kill a node or tool without awaiting anything, so that no cancellation comes between."""
        ...

    async def stop(self, name: str) -> str:
        """Ask a node to end, and kill it if it has not after `stop_timeout_s`; how it ended."""
        ...

    async def pause(self, name: str) -> None:
        """Stop a node's processes where they are. Returns when all have stopped."""
        ...

    async def resume(self, name: str) -> None:
        """Let a paused node go on. Returns when all its processes do."""
        ...

    def state(self, name: str) -> State: ...

    def processes(self, name: str) -> tuple[int, ...]:
        """The process ids of a node, its main process first."""
        ...

    def exit_status(self, name: str) -> int | None:
        """How the node's last main process ended; None while it runs or if it never did."""
        ...

    def log_tail(self, name: str, lines: int = 20) -> str:
        """The last lines that a node wrote since it was started the last time."""
        ...

    async def close(self, keep: bool = False) -> None:
        """End everything and remove all traces. `keep` leaves it running for a person to look at,
        until `harness cleanup`. May be called again, and after a cancellation."""
        ...


def check_names(nodes: Sequence[str], most: int) -> None:
    """Raise `UsageError` unless `nodes` are different host names, at least one, at most `most`."""
    if not 1 <= len(nodes) <= most:
        raise UsageError(f"A cluster cannot have {len(nodes)} nodes.", do=f"Use 1 to {most}.")
    for name in nodes:
        if not _HOST_NAME.fullmatch(name) or name in _RESERVED_NAMES:
            raise UsageError(
                f"A node cannot be called {name!r}.",
                do="Use a host name such as node-1: lower-case letters, digits and hyphens.",
            )
    if len(set(nodes)) != len(nodes):
        raise UsageError(f"Two nodes have the same name: {', '.join(nodes)}.")
