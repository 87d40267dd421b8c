"""The answers of the assistant as a client puts them together from their tokens."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

State: TypeAlias = Literal["running", "complete", "error", "lost", "short", "gap"]
"""`running`: more is to come. `complete`: its end has come, and the text is what that says it must
be. `error`: it ended with an error. `lost`: nothing is known of it, and more may come. `short`: its
end has come, and the text is not the whole. `gap`: a token is missing before one that came."""

_UNFINISHED = frozenset({"running", "lost"})


@dataclass
class Answer:
    """One answer: its tokens so far."""

    texts: list[str] = field(default_factory=list)
    state: State = "running"

    @property
    def text(self) -> str:
        """All that has come of it."""
        return "".join(self.texts)


class Streams:
    """The answers of one room by the id of their stream."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.settled = asyncio.Event()
        """Set while no more is to come of any."""
        self.settled.set()

    @property
    def states(self) -> list[list[str]]:
        """Stream and state of each, in order."""
        return [[stream, answer.state] for stream, answer in sorted(self.answers.items())]

    def event(self, event: str, payload: Mapping[str, Any]) -> None:
        """A broadcast: `stream_begin`, `token`, `stream_end` or `stream_error`; others are left
        alone."""
        if event == "stream_begin":
            self.answers.setdefault(payload["stream"], Answer())
        elif event == "token":
            self._token(self._of(payload), payload)
        elif event == "stream_end":
            _finish(self._of(payload), payload)
        elif event == "stream_error":
            answer = self._of(payload)
            if answer.state != "complete":
                answer.state = "error" if payload.get("final", True) else "lost"
        self._settle()

    def restore(self, known: Mapping[str, Any]) -> None:
        """What the server says of a stream when the room is joined again."""
        answer = self._of(known)
        answer.texts = [known["text"]] + [""] * (known["index"] - 1) if known["index"] else []
        if known["state"] == "ended":
            _finish(answer, known)
        elif known["state"] in ("running", "error", "lost"):
            answer.state = known["state"]
        self._settle()

    def _settle(self) -> None:
        if any(answer.state in _UNFINISHED for answer in self.answers.values()):
            self.settled.clear()
        else:
            self.settled.set()

    def _of(self, payload: Mapping[str, Any]) -> Answer:
        return self.answers.setdefault(payload["stream"], Answer())

    def _token(self, answer: Answer, payload: Mapping[str, Any]) -> None:
        have = len(answer.texts)
        if payload["index"] > have:
            answer.state = "gap"
        elif payload["index"] == have:
            answer.texts.append(payload["text"])
            if answer.state in ("lost", "error"):
                answer.state = "running"


def _finish(answer: Answer, end: Mapping[str, Any]) -> None:
    whole = hashlib.sha256(answer.text.encode()).hexdigest()
    sound = len(answer.texts) == end["count"] and whole == end["sha256"]
    answer.state = "complete" if sound else "short"
