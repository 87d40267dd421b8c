"""What two nodes say to each other: JSON arrays, one a frame, that begin with what they are."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import orjson

from ..frames import encode


class Is(IntEnum):
    """The first item of every frame; the others follow it in the order given here."""

    PING = 0
    PONG = 1
    HELLO = 2
    """sender, whom it means, incarnation of the sender, how often it has dialled"""
    WELCOME = 3
    MESSAGE = 4
    """kind, body"""
    REQUEST = 5
    """number, kind, body"""
    ANSWER = 6
    """number, what failed or null, result"""


def dump(*items: Any) -> bytes:
    """Raises `TypeError` for what is not JSON."""
    return orjson.dumps(items)


def load(frame: bytes) -> Any:
    """What `dump` was given, as a list; None for what is not JSON."""
    try:
        return orjson.loads(frame)
    except orjson.JSONDecodeError:
        return None


PING = dump(Is.PING)
PONG = dump(Is.PONG)

PROBE = encode(PING)
"""Whoever sends these bytes to a node's port is answered, with or without a greeting."""
