"""The chat of one node, without the port it is reached at: put together here, on whatever carries
messages to the other nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final

from primitives.membership import Member
from primitives.mesh import Messenger
from primitives.pubsub import Gap, PubSub
from primitives.telemetry import Metrics

from .assistant import Assistant
from .channels import Channels
from .delivery import Delivery
from .entries import Entry
from .fanout import Fanout
from .history import History
from .hub import Hub
from .metrics import ChatMetrics
from .models import MODELS, Model
from .presence import Presence
from .replication import Replication
from .settings import Settings
from .store import Store
from .streams import Streams

ANSWER_S: Final = 1.0
FLUSH_S: Final = 0.5


class Service:
    """To be made where a loop runs. `members` are asked for who is alive; whoever knows calls
    `members_changed`."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        mesh: Messenger,
        pubsub: PubSub,
        members: Callable[[], Mapping[str, Member]],
        *,
        random: Random,
        metrics: Metrics,
        models: Mapping[str, Model] = MODELS,
    ) -> None:
        mutant = settings.mutant
        self.store = store
        self.metrics = ChatMetrics(metrics)
        self.history = History(store, mutant)
        self._mesh = mesh
        self._members = members
        self._hub = Hub(lambda event: self.metrics.dropped.labels(event).inc())
        self._presence = Presence(mesh, self._hub, random=random, metrics=metrics, mutant=mutant)
        self.streams = Streams(
            mesh,
            self._hub,
            own=store.origin,
            origin_lost_s=settings.origin_lost_s,
            missed=self._missed,
            mutant=mutant,
        )
        self._delivery = Delivery(store, self._hub, self.streams, mutant)
        self._replication = Replication(
            mesh,
            store,
            random=random,
            metrics=self.metrics,
            early=self._delivery.early,
            mutant=mutant,
        )
        self._fanout = Fanout(
            mesh.name, pubsub, entries=self._replication.told, passing=self._told_in_passing
        )
        self._assistant = Assistant(
            store,
            self.streams,
            models,
            tell=self._fanout.pass_on,
            pace_s=settings.token_s,
            mutant=mutant,
        )
        self.channels = Channels(
            mesh.name,
            store,
            self.history,
            self._hub,
            self._presence,
            self.streams,
            self._assistant,
            self._fanout,
            self.metrics,
            clock=asyncio.get_running_loop().time,
            mutant=mutant,
        )
        store.listen(self._written)
        mesh.on_change(self._link_changed)
        pubsub.on_gap(self._gap)

    async def start(self) -> None:
        """Take part in what the mesh and the PubSub carry, which run already."""
        await self._fanout.start()
        self.members_changed()
        await self._presence.start()
        self.streams.start(self.store.open_questions())
        self._assistant.resume(self.store.unfinished())
        await self._replication.start()

    async def drain(self) -> None:
        """Take nothing more from clients, and answer what was taken."""
        await self.channels.drain(ANSWER_S)

    async def close(self) -> None:
        """Stop, and send on what was said. Sockets are closed by now."""
        await self._assistant.close()
        await self._replication.close()
        await self.streams.close()
        await self._presence.close()
        await self._fanout.close(FLUSH_S)

    def members_changed(self) -> None:
        """Who is believed to be alive has changed."""
        # A node that was cut off brings rumours of our deaths along. They are refuted soon, but
        # nobody is to vanish for so long: whom this node is linked with it knows to live.
        near = {self._mesh.name, *self._mesh.connected}
        self._presence.alive(
            {
                name: member.incarnation
                for name, member in self._members().items()
                if member.status != "dead" or name in near
            }
        )

    def _written(self, entries: Sequence[Entry]) -> None:
        """Entries are on the disk: tell everybody."""
        self._delivery.written(entries)
        own = [entry for entry in entries if entry.origin == self.store.origin]
        self.metrics.messages.labels("own").inc(len(own))
        self.metrics.messages.labels("others").inc(len(entries) - len(own))
        if own:
            self._fanout.wrote(own)
        for entry in own:
            if entry.kind == "ask":
                self._assistant.asked(entry)

    def _told_in_passing(self, event: dict[str, Any]) -> None:
        match event["what"]:
            case "token":
                self.streams.token(event["stream"], event["index"], event["text"])
            case "typing":
                told = {"user": event["user"], "typing": event["typing"]}
                self._hub.typing(event["topic"], told)

    def _missed(self) -> None:
        self._replication.missed()

    def _gap(self, _gap: Gap) -> None:
        self._replication.missed()

    def _link_changed(self, peer: str, connected: bool) -> None:
        self.members_changed()
        if connected:
            self.streams.connected(peer)
