"""What a user writes to let the harness talk to a target: one method per kind of operation."""

from __future__ import annotations

from typing import Any, ClassVar

from harness.target import Target


class Refused(Exception):  # noqa: N818  an answer, not an error
    """The system answered that it did not do it, because of the state it met.

    A compare-and-set that found another value raises it. Recorded as `fail`: certainly no effect,
    and a working system's definite answer.
    """


class Unavailable(Exception):  # noqa: N818  an answer, not an error
    """The operation certainly had no effect, because it never reached a system that could do it.

    Raise it only when you are sure (connection refused, "not leader" before anything was done).
    """


class Client:
    """One simulated user, connected to one node. Subclass it with one method per operation.

    A method is called by the operation's name with its key and values: `read(key)`,
    `write(key, value)`, `cas(key, expected, new)`, or any name your workload uses. Methods may be
    `async` or plain (plain ones run in a thread). What happened is told by the way they end:

    - returning means it happened; what is returned is what was read;
    - `raise Refused` and `raise Unavailable` mean that it certainly had no effect;
    - any other exception, and running out of time, mean that nobody knows (`info`): the harness
      closes this client, retires its process id and opens a new one.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"read"})
    """Operations without any effect: when they fail for whatever reason, that is certain."""

    def __init__(self, target: Target, node: str, host: str) -> None:
        self.target = target
        self.node = node
        self.host = host
        """The address of the link to the node; ports are the target's own."""
        self.memory: dict[str, Any] = {}
        """What this user remembers from connection to connection: the same dictionary for every
        client that is opened in the place of this one. Empty when the run begins."""

    async def open(self) -> None:
        """Connect. An exception means that the node cannot be reached."""

    async def close(self) -> None:
        """Let go of everything. Called once, also after failures; its exceptions are ignored."""
