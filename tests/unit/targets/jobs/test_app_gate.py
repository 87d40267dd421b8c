"""The gate asks one colour, then the other, and never says that nothing happened if it may have."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from targets.jobs.app.colours import NoReplyError, Reply
from targets.jobs.app.gate import GateNode
from targets.jobs.app.settings import Settings

SETTINGS = Settings(name="gate", role="gate", address="127.0.0.1", deployment="gate")

NEVER_SENT = NoReplyError("refused", certain=True)
NO_ANSWER = NoReplyError("cut", certain=False)


def reply(status: int, effect: str = "") -> Reply:
    return Reply(
        status, {"Content-Type": "application/json"}, json.dumps({"effect": effect}).encode()
    )


class Colours:
    """Answers what it was told to, in turn, and remembers who was asked."""

    def __init__(self, *answers: Reply | NoReplyError, bad: frozenset[str] = frozenset()) -> None:
        self._answers = list(answers)
        self._bad = bad
        self.asked: list[str] = []
        self.ids: set[str] = set()

    def good(self, colour: str) -> bool:
        return colour not in self._bad

    async def send(
        self,
        colour: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        wait_s: float,
    ) -> Reply:
        self.asked.append(colour)
        self.ids.add(headers["X-Request-Id"])
        said = self._answers.pop(0)
        if isinstance(said, NoReplyError):
            raise said
        return said


def ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colours: Colours
) -> tuple[int, Mapping[str, Any], str]:
    """Status, body and colour of the gate's answer."""
    monkeypatch.chdir(tmp_path)

    async def work() -> tuple[int, Mapping[str, Any], str]:
        node = GateNode(SETTINGS, {"blue": "127.0.0.1", "green": "127.0.0.1"}, random.Random(1))
        real, node._colours = node._colours, colours  # type: ignore[assignment]
        forward: Callable[[Any], Awaitable[Any]] = node._forward
        application = node._server.application()
        application.router.add_route("*", "/{path:.*}", forward)
        try:
            async with TestClient[Any, Any](TestServer(application)) as client:
                response = await client.post("/jobs", json={"key": "k"})
                return response.status, await response.json(), response.headers["X-Colour"]
        finally:
            await real.close()

    return asyncio.run(work())


def test_the_active_colour_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colours = Colours(reply(201))
    assert ask(tmp_path, monkeypatch, colours)[::2] == (201, "blue")
    assert colours.asked == ["blue"]


def test_an_answer_below_500_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colours = Colours(reply(409, "no"))
    assert ask(tmp_path, monkeypatch, colours)[0] == 409


@pytest.mark.parametrize("first", [NEVER_SENT, NO_ANSWER, reply(500, "unknown"), reply(503, "no")])
def test_what_fails_is_tried_at_the_other_with_the_same_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: Reply | NoReplyError
) -> None:
    colours = Colours(first, reply(200))
    assert ask(tmp_path, monkeypatch, colours)[::2] == (200, "green")
    assert colours.asked == ["blue", "green"]
    assert len(colours.ids) == 1


def test_one_that_is_not_healthy_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colours = Colours(reply(200), bad=frozenset({"blue"}))
    ask(tmp_path, monkeypatch, colours)
    assert colours.asked == ["green"]
    colours = Colours(NEVER_SENT, reply(200), bad=frozenset({"green"}))
    ask(tmp_path, monkeypatch, colours)
    assert colours.asked == ["blue", "blue"]


@pytest.mark.parametrize(
    ("first", "second", "status", "effect"),
    [
        (NEVER_SENT, NEVER_SENT, 502, "no"),
        (NEVER_SENT, NO_ANSWER, 502, "unknown"),
        (NO_ANSWER, NEVER_SENT, 502, "unknown"),
        (reply(503, "no"), reply(503, "no"), 503, "no"),
        (reply(503, "unknown"), reply(503, "no"), 503, "unknown"),
        (NO_ANSWER, reply(503, "no"), 503, "unknown"),
        (reply(503, "no"), NO_ANSWER, 502, "unknown"),
        (reply(500), reply(500), 500, "unknown"),
    ],
)
def test_of_two_failures_the_doubt_is_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: Reply | NoReplyError,
    second: Reply | NoReplyError,
    status: int,
    effect: str,
) -> None:
    said, body, _ = ask(tmp_path, monkeypatch, Colours(first, second))
    assert (said, body["effect"]) == (status, effect)
