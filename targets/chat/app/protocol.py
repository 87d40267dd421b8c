"""What travels on a socket: Phoenix Channels, version 2 of its JSON serialisation, in text frames.

A message is `[join_ref, ref, topic, event, payload]`. `ref` names a push and comes back with its
reply; `join_ref` is the ref of the join that the message belongs to, so that a client that has
joined again knows what is of before. Broadcasts carry neither, and so are the same bytes for all.
The stock client's `serializer.js` and `channel.js` (npm: phoenix 1.8) are the other side of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

VERSION: Final = "2.0.0"
SYSTEM_TOPIC: Final = "phoenix"
HEARTBEAT: Final = "heartbeat"
JOIN: Final = "phx_join"
LEAVE: Final = "phx_leave"
REPLY: Final = "phx_reply"
ERROR: Final = "phx_error"
CLOSE: Final = "phx_close"

LARGEST_FRAME: Final = 64 * 1024
_LONGEST_NAME: Final = 255
"""Of refs, topics and events; what the binary form of the protocol has room for."""

_TEXT_FRAME: Final = 0x81
"""RFC 6455, section 5.2: the last fragment (and only one) of a text message."""


class ProtocolError(Exception):
    """What was received is not a message of the protocol; `code` is the WebSocket's close code."""

    def __init__(self, said: str, code: int = 1007) -> None:
        super().__init__(said)
        self.code = code


@dataclass(frozen=True, slots=True)
class Push:
    """A message from a client."""

    join_ref: str | None
    ref: str | None
    topic: str
    event: str
    payload: dict[str, Any]


def read(text: str) -> Push:
    """The message in a text frame. Raises `ProtocolError`."""
    try:
        parts = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ProtocolError("a frame that is not JSON") from None
    if not isinstance(parts, list) or len(parts) != 5:
        raise ProtocolError("a frame that is not [join_ref, ref, topic, event, payload]")
    join_ref, ref, topic, event, payload = parts
    for name in (join_ref, ref):
        if name is not None and not _is_name(name):
            raise ProtocolError("a join_ref or ref that is neither null nor a text")
    if not _is_name(topic) or not _is_name(event):
        raise ProtocolError("a topic or event that is not a text of at most 255 characters")
    if not isinstance(payload, dict):
        raise ProtocolError("a payload that is not an object")
    return Push(join_ref, ref, topic, event, payload)


def reply(push: Push, status: str, response: object) -> bytes:
    """The frame that answers `push`; `status` is "ok" or "error"."""
    payload = {"status": status, "response": response}
    return frame([push.join_ref, push.ref, push.topic, REPLY, payload])


def event(topic: str, name: str, payload: object, join_ref: str | None = None) -> bytes:
    """The frame of something that happened; without `join_ref` the same for all of a topic."""
    return frame([join_ref, None, topic, name, payload])


def frame(message: list[Any]) -> bytes:
    """A whole WebSocket frame, as servers send it: unmasked. RFC 6455, section 5.2.

    Made here and not by the library, because a broadcast is one frame for a thousand sockets.
    """
    payload = orjson.dumps(message)
    size = len(payload)
    if size < 126:
        header = bytes((_TEXT_FRAME, size))
    elif size < 1 << 16:
        header = bytes((_TEXT_FRAME, 126)) + size.to_bytes(2, "big")
    else:
        header = bytes((_TEXT_FRAME, 127)) + size.to_bytes(8, "big")
    return header + payload


def _is_name(given: object) -> bool:
    return isinstance(given, str) and len(given) <= _LONGEST_NAME
