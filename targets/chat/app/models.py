"""Who the assistant asks: anything that makes a stream of words from a prompt.

The two that ship are local and deterministic. A model behind a network is one more class here (and
one more word in `MODELS`); that it cannot go on where it stopped is said by `resumable`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from random import Random
from typing import Final, Protocol


class Model(Protocol):
    """`resumable`: the same prompt and the same state of `random` give the same words again, so
    that an answer which was cut off can be gone on with."""

    @property
    def resumable(self) -> bool: ...

    def stream(self, prompt: str, random: Random) -> AsyncGenerator[str, None]:
        """The words of an answer, each with the space before it."""


class Echo:
    """Says the prompt again, word by word."""

    resumable = True

    async def stream(self, prompt: str, random: Random) -> AsyncGenerator[str, None]:
        for word in re.findall(r"\s*\S+", prompt) or ["…"]:
            yield word


class Markov:
    """A chain of words: each follows the one before it as often as it does in `text`. The answer
    begins with a word of the prompt, if the text knows one."""

    resumable = True

    def __init__(self, text: str, *, shortest: int = 20, longest: int = 80) -> None:
        self._shortest = shortest
        self._longest = longest
        self._following: defaultdict[str, list[str]] = defaultdict(list)
        words = text.split()
        for word, following in zip(words, [*words[1:], words[0]], strict=True):
            self._following[word].append(following)
        self._words = sorted(self._following)

    async def stream(self, prompt: str, random: Random) -> AsyncGenerator[str, None]:
        known = [word for word in prompt.split() if word in self._following]
        word = random.choice(known or self._words)
        yield word
        for _ in range(random.randint(self._shortest, self._longest) - 1):
            word = random.choice(self._following[word])
            yield f" {word}"


_TEXT: Final = """
a node that is cut off does not know that it is cut off and a node that is slow looks like a node
that is gone until it is back so nobody may be believed who says that somebody else is dead but
everybody must act as if it were true and be ready to have been wrong what was written down is
true and what was only said may be lost on the way so write it down before you say that you have
heard it and say it again until somebody says that it was heard and do not mind to hear it twice
because the one who says it again does not know either what is counted twice is worse than what is
late and what is late is worse than what is refused at once a queue without an end is a promise
that nobody keeps and a retry without an end is a queue of another kind
"""

MODELS: Final[Mapping[str, Model]] = {"markov": Markov(_TEXT), "echo": Echo()}
DEFAULT: Final = "markov"
