"""Links: the directed network paths from a source to one port of a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import UsageError
from harness.runtime.spec import CLIENT, Address


@dataclass(frozen=True, slots=True)
class Link:
    """The path from `source` (a node or `client`) to one port of `node`.

    Whoever is `source` connects to `listen`; Toxiproxy passes it on to `upstream`. A link carries
    the connections that its source opened, with the bytes of both directions.
    """

    source: str
    node: str
    port: str
    listen: Address
    upstream: Address

    def __post_init__(self) -> None:
        for word in (self.source, self.node, self.port):
            # Toxiproxy decodes a path before it splits it: %2F would not help.
            if not word or "/" in word or not word.isprintable():
                raise UsageError(
                    f"A link cannot be named {self.name!r}.",
                    do="Names of nodes and ports need at least one character and no slash.",
                )

    @property
    def name(self) -> str:
        """What Toxiproxy calls it: `node-1>node-2:peer`."""
        return f"{self.source}>{self.node}:{self.port}"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Door:
    """A way into the cluster's network: who connects to `listen` is at `upstream`, the `listen` of
    a link."""

    name: str
    listen: Address
    upstream: Address


def mesh(
    nodes: Sequence[str],
    ports_of: Callable[[str], Mapping[str, int]],
    address: Callable[[str], str],
    link_address: Callable[[str, str], str],
) -> tuple[Link, ...]:
    """All links of a cluster: from each node to each other one and from `client` to each node,
    for every port that `ports_of(node)` names. `address(node)` is where the node listens,
    `link_address(source, node)` where the link does, on the same port number. n² × ports links.
    """
    return tuple(
        Link(
            source=source,
            node=node,
            port=port,
            listen=(link_address(source, node), number),
            upstream=(address(node), number),
        )
        for source in (*nodes, CLIENT)
        for node in nodes
        if node != source
        for port, number in ports_of(node).items()
    )
