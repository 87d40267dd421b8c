"""The assistant's answers, as every node knows them.

A question and the end of its answer are entries of a log, and reach everybody as messages do. The
words in between are told as they come, and may get lost. A node gives them to its clients in order
and without gaps all the same: it fetches what it missed from the node that answers, and what it
never got is in the end's entry. So whoever sees `stream_end` here has had every token before.

A node that hears nothing from the one that answers tells its clients so ("origin lost") after
`origin_lost_s`. That is not final: the answer goes on when it is heard again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import orjson
from primitives.mesh import Messenger, Unreachable
from primitives.telemetry import emit

from . import protocol
from .entries import Entry, node_of
from .hub import Hub

LOOK_S: Final = 0.25
QUIET_S: Final = 0.5
"""After so long without a token the node that answers is asked for news."""

NEWS_S: Final = 0.5
"""What it has for its reply."""

MOST_EARLY: Final = 256

State: TypeAlias = Literal["running", "lost", "ended", "error"]


@dataclass
class Answer:
    """One that has not ended. `tokens` were given to the clients of this node; `early` came before
    others that are missing."""

    question: Entry
    prompt: str
    model: str
    heard_at: float
    tokens: list[str] = field(default_factory=list)
    early: dict[int, str] = field(default_factory=dict)
    lost: bool = False

    @property
    def stream(self) -> str:
        return self.question.stream

    def state(self) -> dict[str, Any]:
        return {
            "stream": self.stream,
            "id": self.question.id,
            "user": self.question.user,
            "model": self.model,
            "text": "".join(self.tokens),
            "index": len(self.tokens),
            "state": "lost" if self.lost else "running",
            "origin": self.question.origin,
            "seq": self.question.seq,
        }


def ended_state(end: Entry) -> dict[str, Any]:
    """The state of an answer that has ended, from the entry that says so."""
    said = orjson.loads(end.body)
    state = {
        "stream": end.id,
        "id": said["id"],
        "user": end.user,
        "model": said["model"],
        "text": "".join(said["tokens"]),
        "index": len(said["tokens"]),
        "origin": end.origin,
        "seq": end.seq,
    }
    if said.get("reason") is not None:
        return {**state, "state": "error", "reason": said["reason"]}
    return {**state, "state": "ended", **_sum(said["tokens"])}


class Streams:
    """`missed` is called when an entry must have been missed."""

    def __init__(
        self,
        mesh: Messenger,
        hub: Hub,
        *,
        own: str,
        origin_lost_s: float,
        missed: Callable[[], object],
        mutant: str | None = None,
    ) -> None:
        self._mesh = mesh
        self._hub = hub
        self._own = own
        self._origin_lost_s = origin_lost_s
        self._missed = missed
        self._mutant = mutant
        self._open: dict[str, Answer] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None
        mesh.handle("answers.news", self._news)

    def __len__(self) -> int:
        return len(self._open)

    def start(self, questions: Sequence[Entry]) -> None:
        """`questions` are those whose end is not known here."""
        for question in questions:
            self.began(question)
        self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        tasks = [task for task in (self._task, *self._asking.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What the logs say.

    def began(self, question: Entry) -> bytes:
        """A question was asked; the frame for it."""
        asked = orjson.loads(question.body)
        now = asyncio.get_running_loop().time()
        answer = Answer(question, asked["prompt"], asked["model"], now)
        self._open[answer.stream] = answer
        return protocol.event(
            question.topic,
            "stream_begin",
            {
                "stream": answer.stream,
                "id": question.id,
                "user": question.user,
                "prompt": answer.prompt,
                "model": answer.model,
                "origin": question.origin,
                "seq": question.seq,
            },
        )

    def ended(self, end: Entry) -> bytes:
        """An answer has ended; the frames for it: what was never heard here of it, and the end."""
        said = orjson.loads(end.body)
        answer = self._open.pop(end.id, None)
        frames = []
        if answer is not None and self._mutant != "token-gaps":
            for index in range(len(answer.tokens), len(said["tokens"])):
                frames.append(_token(end.topic, end.id, index, said["tokens"][index]))
        place = {"origin": end.origin, "seq": end.seq}
        if said.get("reason") is None:
            payload = {"stream": end.id, **_sum(said["tokens"]), **place}
            frames.append(protocol.event(end.topic, "stream_end", payload))
        else:
            payload = {"stream": end.id, "reason": said["reason"], "final": True, **place}
            frames.append(protocol.event(end.topic, "stream_error", payload))
        return b"".join(frames)

    def abandoned(self, stream: str) -> None:
        """Of the mutant `stream-silently-short` alone."""
        self._open.pop(stream, None)

    # What is said meanwhile.

    def token(self, stream: str, index: int, text: str) -> None:
        """A token was made here, or told by the node that makes them."""
        answer = self._open.get(stream)
        if answer is None:
            return  # the question has not come yet, or the end has
        answer.heard_at = asyncio.get_running_loop().time()
        answer.lost = False
        if self._mutant == "token-gaps" and index >= len(answer.tokens):  # Mutant: never mind.
            answer.tokens.append(text)
            self._hub.passing_frame(answer.question.topic, _token_of(answer, index, text))
            return
        if index > len(answer.tokens):
            if len(answer.early) < MOST_EARLY:
                answer.early[index] = text
            self._ask(node_of(answer.question.origin))
            return
        if index == len(answer.tokens):
            self._give(answer, text)
            while (following := answer.early.pop(len(answer.tokens), None)) is not None:
                self._give(answer, following)

    def find(self, stream: str) -> Answer | None:
        return self._open.get(stream)

    def of_topic(self, topic: str) -> list[dict[str, Any]]:
        """The states of the topic's answers that have not ended."""
        return [one.state() for one in self._open.values() if one.question.topic == topic]

    def connected(self, peer: str) -> None:
        """A node can be asked again."""
        if any(node_of(answer.question.origin) == peer for answer in self._foreign()):
            self._ask(peer)

    def _give(self, answer: Answer, text: str) -> None:
        index = len(answer.tokens)
        answer.tokens.append(text)
        self._hub.passing_frame(answer.question.topic, _token_of(answer, index, text))

    # Asking for what was missed.

    def _news(self, _peer: str, body: Any) -> dict[str, Any]:
        """What another node asks: of each stream, what follows the number of tokens it has."""
        news: dict[str, Any] = {}
        for stream, after in body.items():
            answer = self._open.get(stream)
            news[stream] = None if answer is None else answer.tokens[after:]
        return news

    def _ask(self, node: str) -> None:
        """Have `node` asked about all its answers, if it is not being asked."""
        if node not in self._asking:
            task = asyncio.create_task(self._asked(node))
            self._asking[node] = task
            task.add_done_callback(lambda _: self._asking.pop(node, None))

    async def _asked(self, node: str) -> None:
        answers = {
            one.stream: one for one in self._foreign() if node_of(one.question.origin) == node
        }
        body = {stream: len(answer.tokens) for stream, answer in answers.items()}
        try:
            news = await self._mesh.request(node, "answers.news", body, NEWS_S)
        except Unreachable:
            return
        for stream, answer in answers.items():
            tokens = news.get(stream)
            if tokens is None:
                # It has ended there, and the entry which says so has not come.
                self._missed()
                continue
            answer.heard_at = asyncio.get_running_loop().time()
            answer.lost = False
            for index, text in enumerate(tokens, start=body[stream]):
                self.token(stream, index, text)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            now = asyncio.get_running_loop().time()
            for answer in self._foreign():
                silent_s = now - answer.heard_at
                if silent_s > QUIET_S:
                    self._ask(node_of(answer.question.origin))
                if silent_s > self._origin_lost_s and not answer.lost:
                    self._lose(answer)

    def _lose(self, answer: Answer) -> None:
        answer.lost = True
        if self._mutant == "stream-silently-short":  # Mutant: it just stops.
            self.abandoned(answer.stream)
            return
        emit("origin-lost", stream=answer.stream, said=len(answer.tokens))
        payload = {"stream": answer.stream, "reason": "origin lost", "final": False}
        self._hub.passing(answer.question.topic, "stream_error", payload)

    def _foreign(self) -> list[Answer]:
        return [one for one in self._open.values() if one.question.origin != self._own]


def _token_of(answer: Answer, index: int, text: str) -> bytes:
    return _token(answer.question.topic, answer.stream, index, text)


def _token(topic: str, stream: str, index: int, text: str) -> bytes:
    return protocol.event(topic, "token", {"stream": stream, "index": index, "text": text})


def _sum(tokens: Sequence[str]) -> Mapping[str, Any]:
    whole = "".join(tokens).encode()
    return {"count": len(tokens), "sha256": hashlib.sha256(whole).hexdigest()}
