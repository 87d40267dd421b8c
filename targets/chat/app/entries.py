"""What the logs are made of.

Every node writes one log of its own, of which it is the *origin*; all others keep copies. An entry
is named by its origin and its place there (`seq`: 1, 2, 3 …), and carries a clock after Lamport,
"Time, clocks, and the ordering of events in a distributed system" (1978): greater than that of
everything its node had seen. (clock, origin, seq) is the order in which people see a room, and it
is the same everywhere, as soon as the same entries are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, TypeAlias

Kind: TypeAlias = Literal["msg", "ask", "end"]
"""A message; a question to the assistant (its answer begins); the end of an answer."""

KINDS: Final[tuple[Kind, ...]] = ("msg", "ask", "end")

Cursor: TypeAlias = Mapping[str, int]
"""Origin → the last seq of it that is known: a version vector. What is not named is at 0."""

SEPARATOR: Final = "."


@dataclass(frozen=True, slots=True)
class Entry:
    """`id` is the writer's name for it, unique in its topic; `body` a text, or JSON for kinds that
    have several things to say."""

    origin: str
    seq: int
    clock: int
    topic: str
    kind: Kind
    id: str
    user: str
    body: str

    @property
    def order(self) -> tuple[int, str, int]:
        """Where people see it."""
        return (self.clock, self.origin, self.seq)

    @property
    def stream(self) -> str:
        """Of a question: what its answer is called, everywhere."""
        return f"{self.origin}{SEPARATOR}{self.seq}"

    def covered(self, cursor: Cursor) -> bool:
        return self.seq <= cursor.get(self.origin, 0)

    def message(self) -> dict[str, Any]:
        """As clients know a message."""
        return {
            "id": self.id,
            "user": self.user,
            "body": self.body,
            "origin": self.origin,
            "seq": self.seq,
            "clock": self.clock,
        }

    def packed(self) -> list[Any]:
        """As nodes tell one another."""
        return [
            self.origin,
            self.seq,
            self.clock,
            self.topic,
            self.kind,
            self.id,
            self.user,
            self.body,
        ]

    @classmethod
    def unpacked(cls, packed: Any) -> Self:
        """Raises `ValueError` if it is not what `packed` gave."""
        if not isinstance(packed, list) or len(packed) != 8:
            raise ValueError(f"Not an entry: {packed!r}.")
        origin, seq, clock, topic, kind, name, user, body = packed
        texts = all(isinstance(text, str) for text in (origin, topic, name, user, body))
        numbers = all(type(number) is int and number > 0 for number in (seq, clock))
        if not (texts and numbers and kind in KINDS):
            raise ValueError(f"Not an entry: {packed!r}.")
        return cls(origin, seq, clock, topic, kind, name, user, body)


def node_of(origin: str) -> str:
    """The node whose log it is."""
    return origin.partition("~")[0]


def read_cursor(given: object) -> dict[str, int]:
    """A cursor as a client sent it. Raises `ValueError`."""
    if not isinstance(given, dict) or len(given) > 1000:
        raise ValueError("cursor: an object of origin → seq, or null")
    for origin, seq in given.items():
        # SQLite's integers end there, and no log is as long.
        if not isinstance(origin, str) or type(seq) is not int or not 0 <= seq < 2**62:
            raise ValueError("cursor: an object of origin → seq, or null")
    return given
