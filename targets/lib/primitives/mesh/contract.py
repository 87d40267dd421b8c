"""What a mesh promises, and what it measures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from ..telemetry import Schema

Handler: TypeAlias = Callable[[str, Any], Any | Awaitable[Any]]
"""Called with the name of the peer and the body. What it returns answers a request."""

Refusal: TypeAlias = Literal["not connected", "queue full"]
"""Why something was not even sent."""

Reason: TypeAlias = Refusal | Literal["link lost", "timeout", "failed"]

SCHEMA = Schema(
    component="mesh",
    operations={
        "dial": ("ok", "failed"),
        "link": ("lost",),
        "accept": ("ok", "refused"),
        "frame": ("magic", "version", "too-long", "checksum", "not understood"),
        "send": ("ok", "not connected", "queue full"),
        "receive": ("ok", "failed", "unknown kind"),
        "request": ("ok", "not connected", "queue full", "link lost", "timeout", "failed"),
    },
    gauges=("links", "queued"),
    timed=("request",),
)


class Unreachable(Exception):  # noqa: N818  says what is the matter
    """A request got no answer. If not even `sent`, it certainly had no effect."""

    def __init__(self, peer: str, reason: Reason, detail: str = "") -> None:
        super().__init__(f"no answer from {peer}: {detail or reason}")
        self.peer = peer
        self.reason: Reason = reason
        self.sent = reason not in ("not connected", "queue full")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """All in seconds. A link is given up when nothing was heard on it for `dead_s`. Before the n-th
    attempt in a row there are up to min(`backoff_most_s`, `backoff_s` × 2^n), evenly drawn."""

    ping_s: float = 0.25
    dead_s: float = 1.0
    dial_s: float = 1.0
    backoff_s: float = 0.05
    backoff_most_s: float = 0.5
    close_s: float = 0.5


class Messenger(Protocol):
    """What the parts above need of a mesh; `Mesh` is one, tests have others."""

    @property
    def name(self) -> str:
        """Of this node."""

    @property
    def incarnation(self) -> int:
        """Of this start of the node; a later start has a greater one."""

    @property
    def port(self) -> int:
        """That this node listens on."""

    @property
    def connected(self) -> frozenset[str]:
        """The peers to which something can be sent now."""

    def handle(self, kind: str, handler: Handler) -> None:
        """Have messages and requests of a kind handled. Messages of one peer are handled one after
        another; requests are handled as they come, and may overtake messages."""

    def send(self, peer: str, kind: str, body: Any) -> bool:
        """Send a message, at most once, in the order of the calls. Never waits. False if it
        certainly does not arrive: there is no link, or its queue is full. Bodies are JSON."""

    async def request(self, peer: str, kind: str, body: Any, timeout_s: float) -> Any:
        """What the peer's handler returns. Raises `Unreachable`."""

    def on_change(self, callback: Callable[[str, bool], object]) -> None:
        """Have `callback(peer, connected)` called whenever a link comes up or goes down."""

    def add_peer(self, name: str, host: str, port: int) -> None:
        """Connect to one more node, from now on. One that is known already may have moved."""
