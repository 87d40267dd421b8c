"""HTTP to one Toxiproxy server: many calls at once, each with a deadline.

Calls are pipelined (HTTP/1.1) over a few connections that stay open, because a netsplit of a small
cluster is some fifty calls, and one after another they would take longer than the harness may.
Go's server answers the calls of one connection in their order, and several connections at once.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from harness.errors import BrokenError

CONNECTIONS = 4
"""How many connections a batch is spread over: 48 calls took 2.9 ms over one, 1.8 over four and 1.7
over sixteen, on two cores."""

_WINDOW = 64  # calls on their way per connection; all of them fit into the socket's buffers
_IDLE_S = 30.0  # Toxiproxy closes connections idle for 60 s; younger ones are safe to use again
_MAX_REPLY_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024


class ToxiproxyHangs(BrokenError):  # noqa: N818  what it is, like its sibling
    """A call did not end by its deadline. The server may never recover: end its process."""


class ToxiproxyGone(BrokenError):  # noqa: N818
    """The server does not listen, or ended the connection."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. Calls of one `lane` are carried out in order, others in any order."""

    method: str
    path: str
    body: Any = None
    lane: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one call, whatever its status."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        return orjson.loads(self.body)


class Transport:
    """Connections to the API of the server at `host` and `port`. Threads may share it."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()

    def call(self, call: Call, deadline_s: float) -> Reply:
        """The reply to one call. Raises like `batch`."""
        return self.batch([call], deadline_s)[0]

    def batch(self, calls: Sequence[Call], deadline_s: float) -> list[Reply]:
        """The replies to all calls, in the order of the calls.

        Raises `ToxiproxyHangs` if not all have come after `deadline_s` seconds and `ToxiproxyGone`
        if the server is not there; some of the calls may have been carried out then.
        """
        ends = time.monotonic() + deadline_s
        queues = _spread(calls)
        replies: dict[int, Reply] = {}
        connections: list[_Connection] = []
        done = False
        try:
            for _ in queues:
                connections.append(self._take(ends))
            for start in range(0, max(map(len, queues), default=0), _WINDOW):
                parts = [queue[start : start + _WINDOW] for queue in queues]
                for connection, part in zip(connections, parts, strict=True):
                    if part:
                        connection.send(b"".join(self._encode(calls[i]) for i in part), ends)
                for connection, part in zip(connections, parts, strict=True):
                    for number in part:
                        replies[number] = connection.reply(ends)
            done = True
        except TimeoutError:
            missing = next(call for i, call in enumerate(calls) if i not in replies)
            raise ToxiproxyHangs(
                f"Toxiproxy at {self.host}:{self.port} did not answer {missing.method} "
                f"{missing.path} within {deadline_s:g} s.",
                why="It waits for a connection whose receiver does not read, or it is overloaded.",
                do="End its process; nothing else makes it let go.",
            ) from None
        except (OSError, EOFError, ValueError) as error:
            raise ToxiproxyGone(
                f"Toxiproxy at {self.host}:{self.port} does not answer.",
                why=f"{type(error).__name__}: {error}",
                do="Look at the end of its log for why it ended.",
            ) from None
        finally:
            if done:
                with self._lock:
                    self._idle.extend(connections)
            else:
                for connection in connections:
                    connection.close()
        return [replies[number] for number in range(len(calls))]

    def close(self) -> None:
        """Close the connections that stay open between calls. Later calls open new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self, ends: float) -> _Connection:
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection = self._idle.pop()
            if time.monotonic() - connection.used < _IDLE_S:
                return connection
            connection.close()
        return _Connection(self.host, self.port, ends)

    def _encode(self, call: Call) -> bytes:
        # json rather than orjson: attributes may be any Python numbers, and errors must be its.
        body = b"" if call.body is None else json.dumps(call.body).encode()
        head = (
            f"{call.method} {call.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def _spread(calls: Sequence[Call]) -> list[list[int]]:
    """The numbers of the calls, for each connection; one lane never goes over two."""
    lanes: dict[str, list[int]] = {}
    for number, call in enumerate(calls):
        lanes.setdefault(call.lane, []).append(number)
    queues: list[list[int]] = [[] for _ in range(min(CONNECTIONS, len(lanes)))]
    for lane in sorted(lanes.values(), key=len, reverse=True):
        min(queues, key=len).extend(lane)
    return queues


class _Connection:
    """One connection. Every wait ends at `ends` (monotonic) with `TimeoutError`."""

    def __init__(self, host: str, port: int, ends: float) -> None:
        self._socket = socket.create_connection((host, port), timeout=_left(ends))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self.used = time.monotonic()

    def send(self, data: bytes, ends: float) -> None:
        self._socket.settimeout(_left(ends))
        self._socket.sendall(data)

    def reply(self, ends: float) -> Reply:
        version, _, rest = self._line(ends).partition(b" ")
        if not version.startswith(b"HTTP/1."):
            raise ValueError("its answer is not HTTP")
        status = int(rest[:3])
        length, chunked = 0, False
        while line := self._line(ends):
            name, _, value = line.partition(b":")
            match name.lower():
                case b"content-length":
                    length = int(value)
                case b"transfer-encoding":
                    chunked = value.strip().lower() == b"chunked"
        body = self._chunks(ends) if chunked else self._exactly(length, ends)
        self.used = time.monotonic()
        return Reply(status, body)

    def close(self) -> None:
        self._socket.close()

    def _chunks(self, ends: float) -> bytes:
        body = bytearray()
        while size := int(self._line(ends), 16):
            body += self._exactly(size, ends)
            self._line(ends)
            if len(body) > _MAX_REPLY_BYTES:
                raise ValueError(f"its answer is longer than {_MAX_REPLY_BYTES} bytes")
        while self._line(ends):
            pass  # trailers
        return bytes(body)

    def _line(self, ends: float) -> bytes:
        searched = 0
        while (end := self._buffer.find(b"\r\n", searched)) < 0:
            if len(self._buffer) > _CHUNK_BYTES:
                raise ValueError("its answer is not HTTP")
            searched = max(0, len(self._buffer) - 1)
            self._receive(ends)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _exactly(self, size: int, ends: float) -> bytes:
        if size > _MAX_REPLY_BYTES:
            raise ValueError(f"its answer is longer than {_MAX_REPLY_BYTES} bytes")
        while len(self._buffer) < size:
            self._receive(ends)
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _receive(self, ends: float) -> None:
        self._socket.settimeout(_left(ends))
        data = self._socket.recv(_CHUNK_BYTES)
        if not data:
            raise EOFError("it closed the connection")
        self._buffer += data


def _left(ends: float) -> float:
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
