"""Publish and subscribe between the nodes of a service.

What every adapter promises, and what `tests/unit/targets/primitives/test_pubsub_compliance.py`
demands of each:

- A subscriber gets each message of its topic at most once, and those of one publisher (a node) in
  the order in which it published them, over all topics.
- Subscribers on the publisher's own node get every message, whatever becomes of the network.
- Subscribers on other nodes get every message as long as both nodes stay connected and nothing
  overflows.
- Nothing is lost in silence: when a subscriber may have missed something of a publisher, `on_gap`
  says so, before any later message of that publisher is delivered and, if there is no later one,
  soon after the nodes hear each other again. A gap may be announced although nothing was missed.
- `publish` never waits for other nodes. Payloads are JSON objects; what is not raises `TypeError`
  at the call. All subscribers, local ones too, get what JSON makes of them (tuples become lists),
  to be read and not changed.
- A callback that fails is logged and counted, and disturbs nobody else. One that publishes has its
  message delivered after those that are being delivered.
- All adapters measure the same things, under `SCHEMA`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from ..telemetry import Schema

SCHEMA = Schema(
    component="pubsub",
    operations={
        "publish": ("ok",),
        "relay": ("ok", "dropped"),
        "deliver": ("ok", "failed"),
        "discard": ("duplicate", "stale", "not understood"),
        "connect": ("ok", "failed"),
        "gap": ("joined", "restarted", "lost", "silent", "reconnected"),
    },
    gauges=("subscribers", "peers", "queued"),
)


@dataclass(frozen=True)
class Message:
    """`publisher` is the name of the node on which it was published."""

    topic: str
    publisher: str
    payload: Mapping[str, Any]


GapReason: TypeAlias = Literal["joined", "restarted", "lost", "silent", "reconnected"]


@dataclass(frozen=True)
class Gap:
    """Messages of `publisher` (None: of any) may be missing before this moment: it was not heard
    until now, it was started again, numbers are missing, it is not heard any more, or this node's
    own connection was away."""

    publisher: str | None
    reason: GapReason


class PubSub(Protocol):
    """See the module for what is promised."""

    @property
    def peers(self) -> frozenset[str]:
        """The other nodes that are heard now."""

    async def start(self) -> None:
        """Begin to take part. Does not wait for a connection."""

    async def close(self) -> None:
        """Take no more part."""

    def subscribe(self, topic: str, callback: Callable[[Message], object]) -> Callable[[], None]:
        """Have `callback` called with every message of the topic from now on, until what this
        returns is called. Callbacks are plain functions, and must not take long."""

    async def publish(self, topic: str, payload: Mapping[str, Any]) -> None:
        """Have all who subscribed to the topic called, here before this returns."""

    def on_gap(self, callback: Callable[[Gap], object]) -> None:
        """Have it called when messages may be missing."""
