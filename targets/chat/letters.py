"""What people write, told by the ids of their messages: `m3-17` is message 17 of user `u3`.

A message id is all that the history holds of a publish, so that whoever replays it needs no more.
"""

from __future__ import annotations

from random import Random

WORDS = ("the", "of", "and", "to", "in", "that", "was", "his", "he", "with", "is", "not", "you")

AGAIN = "x2"
"""The end of the ids that are pushed twice, as whoever lost patience does."""


def user_of(client: int) -> str:
    """The name of a client's user."""
    return f"u{client}"


def letter(client: int, number: int, *, again: bool = False) -> str:
    """The id of a message."""
    return f"m{client}-{number}{AGAIN if again else ''}"


def question(client: int, number: int) -> str:
    """The id of a question to the assistant."""
    return f"q{client}-{number}"


def author(id: str) -> str:
    """Who wrote the message or question of this id."""
    return f"u{id[1:].partition('-')[0]}"


def times(id: str) -> int:
    """How often the message is pushed."""
    return 2 if id.endswith(AGAIN) else 1


def body(id: str, length: int) -> str:
    """What it says: always the same words, `length` characters of them."""
    random = Random(id)
    words: list[str] = []
    left = length
    while left > 0:
        words.append(random.choice(WORDS))
        left -= len(words[-1]) + 1
    return " ".join(words)[:length]
