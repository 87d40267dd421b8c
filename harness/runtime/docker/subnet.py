"""The addresses of one cluster: a /16 of its own, with an address for each node and each link.

In 10.R.0.0/16 node j is 10.R.0.j and the link from node i to node j listens at 10.R.(128+i).j, with
row 128 for links from `client`. The whole upper half belongs to the container of Toxiproxy: one
route makes every address in it local there ("AnyIP"), so that nothing is configured link by link.
A Toxiproxy beside each node, in the node's own network, would need no addresses at all; but it
could not listen on a port that the server takes at the wildcard address.
"""

from __future__ import annotations

import ipaddress
import random
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.runtime.spec import CLIENT

MAX_NODES = 100

_LINKS_ROW = 128

Prefix = tuple[int, int]
"""The first two bytes of a /16."""


@dataclass(frozen=True)
class Subnet:
    """The /16 that begins with `prefix`, for these nodes."""

    prefix: Prefix
    nodes: tuple[str, ...]

    @property
    def cidr(self) -> str:
        """All of it."""
        return self._at(0, 0) + "/16"

    @property
    def gateway(self) -> str:
        """What the engine's bridge has."""
        return self._at(127, 254)

    @property
    def links(self) -> str:
        """The part that belongs to Toxiproxy."""
        return self._at(_LINKS_ROW, 0) + "/17"

    @property
    def toxiproxy(self) -> str:
        """Toxiproxy's own address, from which it connects to nodes."""
        return self._at(1, 1)

    def address(self, node: str) -> str:
        """Where `node` itself listens. Raises `UsageError` for an unknown node."""
        return self._at(0, self._index(node))

    def link_address(self, source: str, node: str) -> str:
        """Where the link from `source` to `node` listens. Raises `UsageError`."""
        if source == node:
            raise UsageError(f"There is no link from {node} to itself.")
        row = 0 if source == CLIENT else self._index(source)
        return self._at(_LINKS_ROW + row, self._index(node))

    def _at(self, row: int, column: int) -> str:
        return f"{self.prefix[0]}.{self.prefix[1]}.{row}.{column}"

    def _index(self, node: str) -> int:
        try:
            return self.nodes.index(node) + 1
        except ValueError:
            known = ", ".join(self.nodes)
            raise UsageError(f"There is no node {node!r}.", do=f"Nodes are: {known}.") from None


def candidates(nodes: Sequence[str], routes: Sequence[ipaddress.IPv4Network]) -> Iterator[Subnet]:
    """Private subnets in random order, without those that `routes` lead elsewhere. Whether one is
    free is for the engine to say, which refuses a network that overlaps another one."""
    prefixes = [(10, second) for second in range(16, 251)] + [(172, n) for n in range(20, 32)]
    random.Random(secrets.randbits(64)).shuffle(prefixes)  # an address says nothing about a run
    for prefix in prefixes:
        subnet = Subnet(prefix, tuple(nodes))
        network = ipaddress.IPv4Network(subnet.cidr)
        if not any(network.overlaps(route) for route in routes):
            yield subnet


def routes_here(table: Path = Path("/proc/net/route")) -> list[ipaddress.IPv4Network]:
    """Where this machine's routes lead, but for the default one: a cluster there would hide it."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return []
    found = []
    for line in lines:
        fields = line.split()
        target, mask = (int(fields[column], 16).to_bytes(4, "little") for column in (1, 7))
        if any(mask):
            found.append(
                ipaddress.IPv4Network(
                    f"{ipaddress.IPv4Address(target)}/{ipaddress.IPv4Address(mask)}", strict=False
                )
            )
    return found
