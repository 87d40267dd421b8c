"""The port of a node: sockets and HTTP, over aiohttp.

aiohttp and not a WebSocket library alone, because both are on one port, and because it takes half
the processor time per message that comes in (measured: 2 000 sockets, 13 kB and 14 kB of memory for
each with the two, 19 and 18 µs for each frame that goes out). Frames that go out are made once for
all sockets of a topic and written to their transports, past the library; nothing is compressed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import orjson
from aiohttp import WSMsgType, web
from primitives.telemetry import CONTENT_TYPE, Metrics

from . import export, protocol
from .channels import TOPIC, Channels
from .crowd import Crowd
from .history import History
from .settings import Settings
from .sockets import UNSUPPORTED, Socket
from .store import Store

_JSON: Final = "application/json"


class Api:
    """`about` tells what /ready is to say beside whether it is."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        history: History,
        channels: Channels,
        crowd: Crowd,
        metrics: Metrics,
        about: Callable[[], dict[str, Any]],
    ) -> None:
        self._settings = settings
        self._store = store
        self._history = history
        self._channels = channels
        self._crowd = crowd
        self._metrics = metrics
        self._about = about

    def application(self) -> web.Application:
        application = web.Application()
        router = application.router
        router.add_get("/socket/websocket", self._socket)
        router.add_get("/health", self._health)
        router.add_get("/ready", self._ready)
        router.add_get("/metrics", self._show_metrics)
        router.add_get("/have", self._have)
        router.add_get("/export/{topic}", self._export)
        return application

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        version = request.query.get("vsn", "")
        if version != protocol.VERSION:
            said = f"this is version {protocol.VERSION} of the protocol, not {version!r}"
            return _json(403, {"error": said})
        if self._channels.draining:
            return _json(503, {"error": "draining"})
        websocket = web.WebSocketResponse(
            compress=False, max_msg_size=protocol.LARGEST_FRAME, decode_text=True
        )
        await websocket.prepare(request)
        transport = request.transport
        if transport is None:  # gone already
            return websocket
        # Whoever has half of what may wait for it gets no further answers until it has read some.
        transport.set_write_buffer_limits(high=self._settings.queue_bytes // 2)
        clock = asyncio.get_running_loop().time
        socket = Socket(websocket, transport, self._settings, clock(), self._crowd.slow)
        self._crowd.enter(socket)
        try:
            await self._converse(request, websocket, socket, clock)
        except protocol.ProtocolError as error:
            await websocket.close(code=error.code, message=str(error).encode())
        except ConnectionError:
            pass  # it ended while its answers were waiting
        finally:
            self._crowd.leave(socket)
            self._channels.gone(socket)
        return websocket

    async def _converse(
        self,
        request: web.Request,
        websocket: web.WebSocketResponse,
        socket: Socket,
        clock: Callable[[], float],
    ) -> None:
        """One push after another, as they come."""
        async for message in websocket:
            socket.heard_at = clock()
            if message.type is not WSMsgType.TEXT:
                raise protocol.ProtocolError("only text frames are understood", UNSUPPORTED)
            await self._channels.handle(socket, protocol.read(message.data))
            await request.writer.drain()

    async def _health(self, _request: web.Request) -> web.Response:
        return _json(200, {"status": "alive"})

    async def _ready(self, _request: web.Request) -> web.Response:
        # Nothing about other nodes: one that is alone serves its clients all the same.
        draining = self._channels.draining
        status = {"status": "draining" if draining else "ready"}
        return _json(503 if draining else 200, {**status, **self._about()})

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _have(self, _request: web.Request) -> web.Response:
        store = self._store
        return _json(200, {"origin": store.origin, "have": store.have, "clock": store.clock})

    async def _export(self, request: web.Request) -> web.StreamResponse:
        topic = request.match_info["topic"]
        name = request.query.get("format", "json")
        if not TOPIC.fullmatch(topic) or name not in export.FORMATS:
            formats = ", ".join(export.FORMATS)
            return _json(400, {"error": f"/export/room:<id>?format=<one of {formats}>"})
        media_type, document = export.FORMATS[name]
        response = web.StreamResponse(headers={"Content-Type": media_type})
        await response.prepare(request)
        for part in document(topic, self._history.all(topic)):
            await response.write(part)
        await response.write_eof()
        return response


def _json(status: int, body: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type=_JSON)
