"""PubSub over the links of a mesh: each node sends to every other one."""

from __future__ import annotations

from typing import Any

from ..mesh import Messenger
from ..telemetry import Metrics
from .numbered import Beat, NumberedPubSub


class MeshPubSub(NumberedPubSub):
    """`channel` tells several of one mesh apart. The mesh is started and closed by its owner."""

    def __init__(
        self,
        mesh: Messenger,
        *,
        metrics: Metrics,
        channel: str = "pubsub",
        beat: Beat | None = None,
    ) -> None:
        super().__init__(mesh.name, adapter="mesh", metrics=metrics, beat=beat)
        self._mesh = mesh
        self._kind = channel
        mesh.handle(channel, lambda _peer, item: self._received(item))
        mesh.on_change(self._link_changed)

    @property
    def _incarnation(self) -> int:
        return self._mesh.incarnation

    def _relay(self, item: list[Any]) -> None:
        for peer in self._mesh.connected:
            sent = self._mesh.send(peer, self._kind, item)
            self._meter.count("relay", "ok" if sent else "dropped")

    def _relay_beat(self, item: list[Any]) -> None:
        for peer in self._mesh.connected:
            self._mesh.send(peer, self._kind, item)

    def _link_changed(self, peer: str, connected: bool) -> None:
        # What was published while there was no link is missed now, not at the next beat.
        if connected:
            self._mesh.send(peer, self._kind, self._beat_item())
