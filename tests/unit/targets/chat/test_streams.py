"""The check that streams end, on histories by hand, and how a client puts answers together."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from harness.history import History, Op
from harness.timeline import FaultSpan, Timeline
from targets.chat import streams
from targets.chat.streamed import Streams

S = 1_000_000_000


def ask(stream: str, at_s: float = 1.0) -> Op:
    start = round(at_s * S)
    known = (start, start + S // 100, start, 0, "node-1")
    return Op(0, "ask", "room:0", f"q-{stream}", "ok", stream, *known)


def heard(*states: list[str], user: str = "u1") -> Op:
    said = Op(1, "streams", "room:0", user, "ok", list(states), 9 * S, 10 * S, 9 * S, 0, "node-2")
    said.final = True
    return said


CUT = Timeline(faults=[FaultSpan("f1", "kill", "kill", ("node-1",), round(1.3 * S), 2 * S)])


@pytest.mark.parametrize(
    ("states", "anomaly"),
    [
        ([["s", "complete"]], None),
        ([["s", "complete"], ["t", "error"]], None),
        ([["s", "complete"], ["t", "short"]], "short"),
        ([["s", "complete"], ["t", "running"]], "short"),
        ([["s", "complete"], ["t", "lost"]], "short"),
        ([["s", "complete"], ["t", "gap"]], "short"),
        ([["t", "complete"]], "unheard"),
    ],
)
def test_every_stream_ends(states: list[list[str]], anomaly: str | None) -> None:
    verdict = streams()(History([ask("s"), heard(*states)], timeline=CUT))
    assert (verdict.anomaly, verdict.valid) == (anomaly, anomaly is None)


def test_one_member_that_was_not_told_is_enough() -> None:
    told, not_told = heard(["s", "complete"]), heard(["s", "running"], user="u2")
    assert streams()(History([ask("s"), told, not_told], timeline=CUT)).result == "invalid"


def test_what_was_not_cut_shows_nothing() -> None:
    ops = [ask("s"), heard(["s", "complete"])]
    assert streams()(History(ops)).result == "unknown"
    assert streams()(History([ask("s", 0.1), *ops[1:]], timeline=CUT)).result == "unknown"
    assert streams(cut=2)(History(ops, timeline=CUT)).result == "unknown"
    assert streams()(History([ask("s"), heard(["s", "error"])], timeline=CUT)).result == "unknown"
    assert streams(cut=0)(History([ask("s")])).result == "unknown"


# The client's side


def whole(*texts: str) -> dict[str, Any]:
    text = "".join(texts)
    return {"stream": "s", "count": len(texts), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def token(index: int, text: str) -> dict[str, Any]:
    return {"stream": "s", "index": index, "text": text}


def state(heard: Streams) -> str:
    ((_stream, said),) = heard.states
    return said


def test_an_answer_is_complete_if_its_text_is_the_one_that_was_meant() -> None:
    said = Streams()
    assert said.settled.is_set()
    said.event("stream_begin", {"stream": "s"})
    assert not said.settled.is_set()
    for index, text in enumerate(("a", "b")):
        said.event("token", token(index, text))
        said.event("token", token(index, text))  # again, after a resume
    said.event("stream_end", whole("a", "b"))
    assert state(said) == "complete"
    assert said.settled.is_set()


@pytest.mark.parametrize("texts", [["a"], ["a", "c"], ["a", "b", "c"]])
def test_any_other_text_is_short(texts: list[str]) -> None:
    said = Streams()
    for index, text in enumerate(texts):
        said.event("token", token(index, text))
    said.event("stream_end", whole("a", "b"))
    assert state(said) == "short"


def test_a_token_that_is_missing_is_noticed() -> None:
    said = Streams()
    said.event("token", token(1, "b"))
    assert state(said) == "gap"


def test_a_lost_answer_may_go_on_and_an_error_is_an_end() -> None:
    said = Streams()
    said.event("token", token(0, "a"))
    said.event("stream_error", {"stream": "s", "reason": "origin lost", "final": False})
    assert state(said) == "lost"
    assert not said.settled.is_set()
    said.event("token", token(1, "b"))
    assert state(said) == "running"
    said.event("stream_error", {"stream": "s", "reason": "the model failed", "final": True})
    assert state(said) == "error"
    assert said.settled.is_set()


def test_who_comes_back_is_told_how_far_it_is() -> None:
    said = Streams()
    said.event("token", token(0, "a"))
    said.restore({"stream": "s", "text": "ab", "index": 2, "state": "running"})
    said.event("token", token(2, "c"))
    said.restore({"stream": "s", "text": "abc", "index": 3, "state": "ended", **whole(*"abc")})
    assert state(said) == "complete"
