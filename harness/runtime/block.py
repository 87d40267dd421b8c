"""A block of loopback addresses for one cluster: 127.R.0.0/16, with R reserved on this machine.

Node j listens on 127.R.0.j, the link from node i to node j on 127.R.i.j, links from `client` in
row 250, and Toxiproxy's own interface on 127.R.254.254.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BrokenError, UsageError
from harness.runtime import ledger
from harness.runtime.sockets import listeners
from harness.runtime.spec import CLIENT, check_names

MAX_NODES = 249

_NUMBERS = range(16, 251)  # 127.0 is everybody's; the rest up to 15 is left to other programs
_CLIENT_ROW = 250


@dataclass(frozen=True)
class Block:
    """The addresses of the cluster `id` with these nodes; `where` is its directory."""

    id: str
    number: int
    where: Path
    nodes: tuple[str, ...]

    @property
    def api_address(self) -> str:
        """Where Toxiproxy itself is told what to do."""
        return f"127.{self.number}.254.254"

    @property
    def unused_address(self) -> str:
        """Where nobody listens, except those who listen everywhere."""
        return f"127.{self.number}.255.254"

    def address(self, node: str) -> str:
        """Where `node` itself listens. Raises `UsageError` for an unknown node."""
        return f"127.{self.number}.0.{self._index(node)}"

    def link_address(self, source: str, node: str) -> str:
        """Where the link from `source` to `node` listens. Raises `UsageError`."""
        if source == node:
            raise UsageError(f"There is no link from {node} to itself.")
        row = _CLIENT_ROW if source == CLIENT else self._index(source)
        return f"127.{self.number}.{row}.{self._index(node)}"

    def names(self, node: str) -> dict[str, str]:
        """What the nodes' names mean to `node`: its own address, links to all others."""
        return {
            other: self.address(node) if other == node else self.link_address(node, other)
            for other in self.nodes
        }

    def home(self, node: str) -> Path:
        """The directory of `node`."""
        self._index(node)
        return self.where / node

    def hosts(self, node: str) -> Path:
        """The hosts file of `node`. Its path is the mark of processes in the node's namespace."""
        return self.where / "hosts" / self.id / node

    def _index(self, node: str) -> int:
        try:
            return self.nodes.index(node) + 1
        except ValueError:
            known = ", ".join(self.nodes)
            raise UsageError(f"There is no node {node!r}.", do=f"Nodes are: {known}.") from None


def reserve(base: Path, nodes: Sequence[str], run_id: str) -> Block:
    """Reserve a block that no cluster and no other program uses.

    Raises `BrokenError` if there is none, `UsageError` for names that cannot be used.
    """
    check_names(nodes, MAX_NODES)
    id, made = ledger.create(base, run_id)
    numbers = list(_NUMBERS)
    random.Random(secrets.randbits(64)).shuffle(numbers)  # an address says nothing about a run
    # Programs that do not know of reservations, or reserve in another temporary directory.
    used = {found.address.packed[1] for found in listeners() if found.address.is_loopback}
    for number in numbers:
        where = base / f"127.{number}"
        if number in used or where.exists():
            continue
        try:
            made.rename(where)  # fails if another process was faster: that directory is not empty
        except OSError:
            continue
        return Block(id, number, where, tuple(nodes))
    ledger.undo(ledger.LeftOver(id, made, 0, run_id, False, ()))
    raise BrokenError(
        f"No block of addresses is free: {base} holds {len(list(base.glob('127.*')))} clusters.",
        do="Run `harness cleanup`, or run fewer experiments at once.",
    )
