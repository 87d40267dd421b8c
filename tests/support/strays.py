"""A cluster with a connection that passes a link by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from fixtures.registers import PORT, Registers
from harness import Node


class PastTheLink(Registers):
    """node-3 keeps a connection to `where`, which is no link of its own."""

    starts_in_turn: ClassVar[bool] = True
    where: ClassVar[str]

    def command(self, node: Node, peers: Sequence[Node]) -> Sequence[str]:
        server = super().command(node, peers)
        if node.name != "node-3":
            return server
        block = ".".join(node.address.split(".")[:2])
        script = f'exec 3<>/dev/tcp/{block}.{self.where}/{PORT}; exec "$@"'
        return ["bash", "-c", script, "bash", *server]
