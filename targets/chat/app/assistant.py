"""Who answers: has a model make the words, tells them, and writes down the end.

The question is in this node's log before anything is said, and beside it how many tokens were said.
A node that comes back makes those again without waiting, and goes on from there; answers of a model
that cannot do that end with an error. What the clients have already they ignore by its index.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final

import orjson
from primitives.telemetry import emit

from .entries import Entry
from .models import Model
from .store import StorageError, Store
from .streams import Streams

MOST_RUNNING: Final = 500
MOST_TOKENS: Final = 2000
MOST_TOKEN: Final = 4 * 1024
MOST_TEXT: Final = 32 * 1024
TOKEN_S: Final = 10.0
"""A model that says nothing for so long has failed."""

AGAIN_S: Final = 0.5


class Assistant:
    """`tell` is called with what the other nodes are to know of a token. `pace_s` is the time
    between two tokens, for models that are faster."""

    def __init__(
        self,
        store: Store,
        streams: Streams,
        models: Mapping[str, Model],
        *,
        tell: Callable[[dict[str, Any]], None],
        pace_s: float,
        mutant: str | None = None,
    ) -> None:
        self._store = store
        self._streams = streams
        self._models = models
        self._tell = tell
        self._pace_s = pace_s
        self._mutant = mutant
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether another question would be too many."""
        return len(self._tasks) >= MOST_RUNNING

    def knows(self, model: str) -> bool:
        return model in self._models

    def resume(self, unfinished: Sequence[tuple[Entry, int]]) -> None:
        """Go on with the answers that were cut off when this node ended."""
        for question, said in unfinished:
            if self._mutant == "stream-silently-short":  # Mutant: they were long ago.
                self._streams.abandoned(question.stream)
                continue
            emit("stream-resumed", stream=question.stream, said=said)
            self._begin(question, said, resumed=True)

    def asked(self, question: Entry) -> None:
        """A question of this node was written."""
        emit("stream-begun", stream=question.stream)
        self._begin(question, 0, resumed=False)

    async def close(self) -> None:
        """Stop; what has not ended is resumed at the next start."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, question: Entry, said: int, *, resumed: bool) -> None:
        task = asyncio.create_task(self._answer(question, said, resumed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, question: Entry, said: int, resumed: bool) -> None:
        asked = orjson.loads(question.body)
        model = self._models.get(asked["model"])
        tokens: list[str] = []
        reason: str | None = None
        if model is None:
            reason = "unknown model"
        elif resumed and said and not model.resumable:
            reason = "interrupted"
        else:
            try:
                reason = await self._speak(model, asked["prompt"], question.stream, said, tokens)
            except TimeoutError:
                reason = "the model says nothing"
            except Exception as error:  # a model may raise anything, and must not end the node
                emit("model-failed", stream=question.stream, error=repr(error))
                reason = "the model failed"
        await self._end(question, asked, tokens, reason)

    async def _speak(
        self, model: Model, prompt: str, stream: str, said: int, tokens: list[str]
    ) -> str | None:
        """Tell the words as they come, and put them into `tokens`; why not all of them, if so."""
        loop = asyncio.get_running_loop()
        # By the name of the stream: the same words again after a restart.
        words = model.stream(prompt, Random(stream))
        size, due = 0, loop.time()
        async with contextlib.aclosing(words):
            while True:
                async with asyncio.timeout(TOKEN_S):
                    text = await anext(words, None)
                if text is None:
                    return None
                size += len(text)
                if len(text) > MOST_TOKEN or size > MOST_TEXT or len(tokens) == MOST_TOKENS:
                    return "too long"
                index = len(tokens)
                if index >= said:
                    await asyncio.sleep(due - loop.time())
                    due = max(due + self._pace_s, loop.time())
                    self._store.answering(stream, index + 1)
                    self._tell({"what": "token", "stream": stream, "index": index, "text": text})
                tokens.append(text)
                self._streams.token(stream, index, text)

    async def _end(
        self, question: Entry, asked: Mapping[str, str], tokens: list[str], reason: str | None
    ) -> None:
        body = {"id": question.id, "model": asked["model"], "tokens": tokens, "reason": reason}
        written = orjson.dumps(body).decode()
        while True:
            try:
                await self._store.append(
                    question.topic, "end", question.stream, question.user, written
                )
            except StorageError as error:
                emit("cannot-write", error=str(error))
                await asyncio.sleep(AGAIN_S)
            else:
                break
        emit("stream-ended", stream=question.stream, tokens=len(tokens), reason=reason)
