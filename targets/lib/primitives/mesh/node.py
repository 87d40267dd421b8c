"""One node's place in the mesh."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

from ..callbacks import Callbacks
from ..frames import MAX_FRAME
from ..telemetry import Metrics, emit
from .acceptor import Acceptor
from .contract import SCHEMA, Handler, Timing, Unreachable
from .link import Link
from .wire import Is, dump


class Mesh:
    """Listens on `address` and `port`, and dials `peers`, whose hosts are looked up at every
    attempt. A link's queue takes `queue` frames, and as many messages of a peer may wait for their
    handlers before that peer is made to wait. `incarnation` is, unless given, the loop's time in
    microseconds: greater with every start on one machine. It is a `Messenger`."""

    def __init__(
        self,
        name: str,
        address: str,
        port: int,
        peers: Mapping[str, tuple[str, int]],
        *,
        random: random.Random,
        metrics: Metrics,
        queue: int = 1000,
        timing: Timing | None = None,
        incarnation: int | None = None,
        max_frame: int = MAX_FRAME,
    ) -> None:
        self._name = name
        self._address = address
        self._port = port
        self._random = random
        self._queue = queue
        self._max_frame = max_frame
        self._timing = timing or Timing()
        self._incarnation = incarnation
        self._meter = metrics.meter(SCHEMA, adapter="tcp")
        self._told = Callbacks[str, bool]("link")
        self._connected: frozenset[str] = frozenset()
        self._started = False
        self._links: dict[str, Link] = {}
        self._acceptor = Acceptor(
            name, meter=self._meter, timing=self._timing, queue=queue, max_frame=max_frame
        )
        for peer, (host, at) in peers.items():
            self.add_peer(peer, host, at)

    @property
    def name(self) -> str:
        return self._name

    @property
    def port(self) -> int:
        """The one that was given, or if that was 0, the one that `start` found."""
        return self._port

    @property
    def incarnation(self) -> int:
        if self._incarnation is None:
            self._incarnation = int(asyncio.get_running_loop().time() * 1e6)
        return self._incarnation

    @property
    def connected(self) -> frozenset[str]:
        return self._connected

    async def start(self) -> None:
        """Listen and begin to dial. Does not wait for anybody. Raises `OSError` if the port is
        taken."""
        self._port = await self._acceptor.listen(self._address, self._port)
        self._started = True
        emit("mesh-listening", node=self._name, port=self._port, incarnation=self.incarnation)
        for link in self._links.values():
            link.start()

    async def close(self) -> None:
        """Send what is queued, as far as that goes at once, and end everything."""
        self._started = False
        await asyncio.gather(*(link.close() for link in self._links.values()))
        await self._acceptor.close()

    def handle(self, kind: str, handler: Handler) -> None:
        self._acceptor.handle(kind, handler)

    def send(self, peer: str, kind: str, body: Any) -> bool:
        link = self._links.get(peer)
        refused = "not connected" if link is None else link.send(dump(Is.MESSAGE, kind, body))
        self._meter.count("send", refused or "ok")
        return refused is None

    async def request(self, peer: str, kind: str, body: Any, timeout_s: float) -> Any:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            link = self._links.get(peer)
            if link is None:
                raise Unreachable(peer, "not connected", "it is not known here")
            answer = await link.request(kind, body, timeout_s)
        except Unreachable as error:
            self._meter.count("request", error.reason)
            raise
        self._meter.count("request", "ok")
        self._meter.observe("request", loop.time() - begun)
        return answer

    def on_change(self, callback: Callable[[str, bool], object]) -> None:
        self._told.add(callback)

    def add_peer(self, name: str, host: str, port: int) -> None:
        known = self._links.get(name)
        if known is not None:
            known.moved(host, port)
        elif name != self._name:
            link = self._links[name] = self._link(name, host, port)
            if self._started:
                link.start()

    def _link(self, peer: str, host: str, port: int) -> Link:
        return Link(
            peer,
            host,
            port,
            hello=lambda dial: dump(Is.HELLO, self._name, peer, self.incarnation, dial),
            on_change=lambda connected: self._changed(peer, connected),
            meter=self._meter,
            random=self._random,
            timing=self._timing,
            queue=self._queue,
            max_frame=self._max_frame,
        )

    def _changed(self, peer: str, connected: bool) -> None:
        self._connected = self._connected | {peer} if connected else self._connected - {peer}
        self._meter.gauge("links", len(self._connected))
        self._meter.gauge("queued", sum(link.waiting for link in self._links.values()))
        emit("link", peer=peer, connected=connected)
        self._told(peer, connected)
