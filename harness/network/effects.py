"""Effects: what can be done to a link, in deterministic toxics only (D2).

Toxiproxy draws nothing: toxicity is always 1 and jitter 0. An effect acts on one or both
directions of a link's bytes: `to` the node, or `from` it (the answers).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from harness.errors import UsageError

Direction: TypeAlias = Literal["both", "to", "from"]

STREAMS: Mapping[Direction, tuple[str, ...]] = {
    "both": ("upstream", "downstream"),
    "to": ("upstream",),
    "from": ("downstream",),
}
"""What Toxiproxy calls the directions."""

MAX_RESET_MS = 1000


@dataclass(frozen=True, slots=True)
class ToxicState:
    """One toxic as Toxiproxy has it, or should have it."""

    type: str
    stream: str
    attributes: Mapping[str, Any]
    toxicity: float = 1.0


class Effect(ABC):
    """Something done to one link. Equal effects do the same."""

    __slots__ = ()

    @abstractmethod
    def toxics(self) -> tuple[ToxicState, ...]:
        """The toxics it is made of."""


@dataclass(frozen=True, slots=True)
class Drop(Effect):
    """Bytes vanish and connections stay; new ones are still accepted, up to the node.

    What was lost can never be sent again, so a stream must not go on after healing. When the drop
    is taken away, every connection of the link ends, those opened meanwhile as well, also if only
    one direction was dropped and if no byte came. Its source sees a reset (ECONNRESET) where the
    harness may reach into Toxiproxy's process, which is so on Linux for the same user, otherwise
    end of file, as the node always does. An end that closes its connection itself is heard by the
    other one in spite of the drop.
    """

    direction: Direction = "both"

    def __post_init__(self) -> None:
        _require_direction(self)

    def toxics(self) -> tuple[ToxicState, ...]:
        return _on_streams(self.direction, "timeout", {"timeout": 0})


@dataclass(frozen=True, slots=True)
class Reject(Effect):
    """Connections end and new ones are refused, as if nobody listened.

    The source of an existing connection sees a reset where that can be had (see `Drop`); otherwise,
    and for one that was opened in the last millisecond, end of file, as the node always does.
    Healed, the link accepts again at once.
    """

    def toxics(self) -> tuple[ToxicState, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Latency(Effect):
    """Every byte comes `ms` milliseconds later, in each of the directions."""

    ms: int
    direction: Direction = "both"

    def __post_init__(self) -> None:
        _require_direction(self)
        _require_whole(self, ms=(self.ms, 0))

    def toxics(self) -> tuple[ToxicState, ...]:
        return _on_streams(self.direction, "latency", {"latency": self.ms, "jitter": 0})


@dataclass(frozen=True, slots=True)
class Bandwidth(Effect):
    """Each connection carries at most so many kilobytes (1000 bytes) a second and direction."""

    kilobytes_per_s: int
    direction: Direction = "both"

    def __post_init__(self) -> None:
        _require_direction(self)
        _require_whole(self, kilobytes_per_s=(self.kilobytes_per_s, 1))

    def toxics(self) -> tuple[ToxicState, ...]:
        return _on_streams(self.direction, "bandwidth", {"rate": self.kilobytes_per_s})


@dataclass(frozen=True, slots=True)
class Reset(Effect):
    """Existing connections are reset at once; while it is held, new ones are reset `after_ms`
    milliseconds (at most 1000: Toxiproxy lets no toxic go while it waits) after their first bytes,
    which are lost.

    The source of an existing connection sees a reset where that can be had (see `Drop`), otherwise
    end of file, as the node always does; of new ones both see a reset.
    """

    after_ms: int = 0

    def __post_init__(self) -> None:
        _require_whole(self, after_ms=(self.after_ms, 0))
        if self.after_ms > MAX_RESET_MS:
            raise UsageError(
                f"Reset: after_ms is {self.after_ms}, more than {MAX_RESET_MS}.",
                do="Give a shorter time.",
            )

    def toxics(self) -> tuple[ToxicState, ...]:
        return _on_streams("both", "reset_peer", {"timeout": self.after_ms})


@dataclass(frozen=True, slots=True)
class SlowClose(Effect):
    """The end of a connection reaches the other side `delay_ms` milliseconds later."""

    delay_ms: int
    direction: Direction = "both"

    def __post_init__(self) -> None:
        _require_direction(self)
        _require_whole(self, delay_ms=(self.delay_ms, 0))

    def toxics(self) -> tuple[ToxicState, ...]:
        return _on_streams(self.direction, "slow_close", {"delay": self.delay_ms})


@dataclass(frozen=True, slots=True)
class Slicer(Effect):
    """Bytes come in pieces of about `average_bytes`, each `delay_us` microseconds after the other.

    The pieces are a function of what is sent: halves of halves, until they are small enough.
    """

    average_bytes: int
    delay_us: int = 0
    direction: Direction = "both"

    def __post_init__(self) -> None:
        _require_direction(self)
        _require_whole(self, average_bytes=(self.average_bytes, 1), delay_us=(self.delay_us, 0))

    def toxics(self) -> tuple[ToxicState, ...]:
        return _on_streams(
            self.direction,
            "slicer",
            {
                "average_size": self.average_bytes,
                # A variation would be drawn by Toxiproxy, from randomness that no seed controls.
                "size_variation": 0,
                "delay": self.delay_us,
            },
        )


@dataclass(frozen=True, slots=True)
class LimitData(Effect):
    """Each connection is closed after `bytes` bytes in a direction. Connections that exist
    already have all of them left."""

    bytes: int
    direction: Direction = field(default="both")

    def __post_init__(self) -> None:
        _require_direction(self)
        _require_whole(self, bytes=(self.bytes, 0))

    def toxics(self) -> tuple[ToxicState, ...]:
        return _on_streams(self.direction, "limit_data", {"bytes": self.bytes})


def _on_streams(
    direction: Direction, type: str, attributes: Mapping[str, Any]
) -> tuple[ToxicState, ...]:
    return tuple(ToxicState(type, stream, attributes) for stream in STREAMS[direction])


def _require_direction(effect: Any) -> None:
    if effect.direction not in STREAMS:
        raise UsageError(
            f"{type(effect).__name__}: there is no direction {effect.direction!r}.",
            do="Give to (the node), from (the node) or both.",
        )


def _require_whole(effect: Effect, **fields: tuple[Any, int]) -> None:
    # Toxiproxy takes whole numbers only, and reads negative ones in ways of its own.
    for name, (value, least) in fields.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UsageError(
                f"{type(effect).__name__}: {name} must be a whole number of at least {least}, "
                f"not {value!r}."
            )
