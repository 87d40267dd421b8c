"""Channels as the stock client uses them: join, rejoin, leave, replies and refusals."""

from __future__ import annotations

import asyncio
import json
from random import Random

import orjson
import pytest

from targets.chat.app import export
from targets.chat.app.entries import Entry
from targets.chat.app.protocol import Push
from tests.support.chat_world import ROOM, FakeSocket, World
from tests.support.virtual_mesh import run_pausably


class Raw:
    """A socket at one node, whose messages are looked at as they are."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.heard: list[list] = []
        self.socket = FakeSocket(self.heard.append)

    async def push(self, *message):
        """What is heard after it, and because of it."""
        self.heard.clear()
        service = self._world.services["a"]
        await self._world.net.nodes["a"].task(service.channels.handle(self.socket, Push(*message)))
        return list(self.heard)

    async def join(self, ref="1", topic=ROOM, **payload):
        return await self.push(ref, ref, topic, "phx_join", {"user": "ada", **payload})


def alone(tmp_path, work):
    async def whole():
        async with World(tmp_path, Random(1), ("a",)) as world:
            return await work(world, Raw(world))

    return run_pausably(whole())


def test_a_join_is_answered_and_followed_by_who_is_there(tmp_path):
    async def work(world, raw):
        reply, state = await raw.join()
        assert reply[:4] == ["1", "1", ROOM, "phx_reply"]
        assert reply[4]["status"] == "ok"
        assert reply[4]["response"] == {
            "messages": [],
            "cursor": {},
            "more": False,
            "streams": [],
            "node": "a",
        }
        assert state == ["1", None, ROOM, "presence_state", {}]

    alone(tmp_path, work)


def test_joining_again_closes_the_join_before(tmp_path):
    async def work(world, raw):
        await raw.join("1")
        closed, reply, _ = await raw.join("5")
        assert closed == ["1", None, ROOM, "phx_close", {}]
        assert reply[:2] == ["5", "5"]
        old = await raw.push("1", "6", ROOM, "new_msg", {"id": "m", "body": "hi"})
        assert old[0][4] == {"status": "error", "response": {"reason": "unmatched topic"}}
        assert [message[3] for message in await raw.push("1", "7", ROOM, "phx_leave", {})] == [
            "phx_reply"
        ]
        new = await raw.push("5", "8", ROOM, "new_msg", {"id": "m", "body": "hi"})
        assert [message[3] for message in new] == ["new_msg", "phx_reply"]

    alone(tmp_path, work)


def test_leaving_is_answered_and_closes(tmp_path):
    async def work(world, raw):
        await raw.join()
        left = await raw.push("1", "2", ROOM, "phx_leave", {})
        assert left == [
            ["1", "2", ROOM, "phx_reply", {"status": "ok", "response": {}}],
            ["1", None, ROOM, "phx_close", {}],
        ]
        assert raw.socket.channels == {}

    alone(tmp_path, work)


def test_heartbeats_are_answered(tmp_path):
    async def work(world, raw):
        (reply,) = await raw.push(None, "3", "phoenix", "heartbeat", {})
        assert reply == [None, "3", "phoenix", "phx_reply", {"status": "ok", "response": {}}]

    alone(tmp_path, work)


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("lobby", {"user": "ada"}, "topic"),
        ("room:", {"user": "ada"}, "topic"),
        ("room:a b", {"user": "ada"}, "topic"),
        (ROOM, {}, "user"),
        (ROOM, {"user": ""}, "user"),
        (ROOM, {"user": "x" * 65}, "user"),
        (ROOM, {"user": 7}, "user"),
        (ROOM, {"user": "ada", "cursor": []}, "cursor"),
        (ROOM, {"user": "ada", "cursor": {"a": "1"}}, "cursor"),
    ],
)
def test_joins_that_cannot_be_are_refused(tmp_path, topic, payload, reason):
    async def work(world, raw):
        (reply,) = await raw.push("1", "1", topic, "phx_join", payload)
        assert reply[4]["status"] == "error"
        assert reply[4]["response"]["reason"].startswith(reason)
        assert raw.socket.channels == {}

    alone(tmp_path, work)


@pytest.mark.parametrize(
    ("event", "payload", "reason"),
    [
        ("new_msg", {"body": "hi"}, "id: a text"),
        ("new_msg", {"id": "m", "body": "x" * 8193}, "body: a text"),
        ("ask", {"id": "q", "prompt": ""}, "prompt: a text"),
        ("ask", {"id": "q", "prompt": "?", "model": []}, "unknown model"),
        ("typing", {"typing": 1}, "typing"),
        ("stream", {"stream": "none"}, "no such stream"),
        ("history", {"cursor": 7}, "cursor"),
        ("dance", {}, "unmatched event"),
    ],
)
def test_pushes_that_cannot_be_are_refused(tmp_path, event, payload, reason):
    async def work(world, raw):
        await raw.join()
        (reply,) = await raw.push("1", "2", ROOM, event, payload)
        assert reply[4]["status"] == "error"
        assert reply[4]["response"]["reason"].startswith(reason)

    alone(tmp_path, work)


def test_a_channel_that_crashes_is_said_to_and_can_be_joined_again(tmp_path):
    async def work(world, raw):
        await raw.join()

        async def crash(channel, push):
            raise RuntimeError("a bug")

        world.services["a"].channels._events["typing"] = crash
        (error,) = await raw.push("1", "3", ROOM, "typing", {"typing": True})
        assert error == ["1", None, ROOM, "phx_error", {}]
        assert (await raw.join("4"))[0][4]["status"] == "ok"

        world.services["a"].history.recent = None  # type: ignore[assignment,method-assign]
        _, crashed = await raw.join("5")
        assert crashed[4] == {"status": "error", "response": {"reason": "join crashed"}}
        assert raw.socket.channels == {}

    alone(tmp_path, work)


def test_who_wants_no_presence_is_not_counted_and_not_told(tmp_path):
    async def work(world, raw):
        (reply,) = await raw.join(presence=False)
        assert reply[4]["status"] == "ok"
        other = Raw(world)
        await other.join()
        assert raw.socket.channels[ROOM].dot is None

    alone(tmp_path, work)


def test_a_draining_node_takes_nothing_more(tmp_path):
    async def work(world, raw):
        await raw.join()
        await world.services["a"].drain()
        for event, payload in (
            ("new_msg", {"id": "m", "body": "hi"}),
            ("ask", {"id": "q", "prompt": "?"}),
        ):
            (reply,) = await raw.push("1", "2", ROOM, event, payload)
            assert reply[4]["response"] == {"reason": "draining"}
        assert (await raw.join("3"))[1][4]["response"] == {"reason": "draining"}

    alone(tmp_path, work)


def test_what_was_taken_before_the_drain_is_answered_in_it(tmp_path):
    async def work(world, raw):
        await raw.join()
        service, mesh = world.services["a"], world.net.nodes["a"]
        said = Push("1", "2", ROOM, "new_msg", {"id": "m", "body": "hi"})
        handled = mesh.task(service.channels.handle(raw.socket, said))
        await asyncio.sleep(0)
        raw.heard.clear()
        await mesh.task(service.drain())
        assert handled.done()
        assert [message[3] for message in raw.heard] == ["new_msg", "phx_reply"]

    alone(tmp_path, work)


ROOM_LOG = [
    Entry("a~1", 1, 1, ROOM, "msg", "m1", "ada", "1 < 2 *really*\nyes"),
    Entry("a~1", 2, 2, ROOM, "ask", "q", "bob", '{"prompt":"why","model":"echo"}'),
    Entry(
        "a~1", 3, 3, ROOM, "end", "a~1.2", "bob", '{"id":"q","model":"echo","tokens":["be"," so"]}'
    ),
]


@pytest.mark.parametrize("name", ["json", "jsonl"])
def test_a_room_is_exported_as_data(name):
    written = b"".join(export.FORMATS[name][1](ROOM, ROOM_LOG))
    if name == "json":
        entries = orjson.loads(written)["entries"]
    else:
        entries = [json.loads(line) for line in written.splitlines()]
    assert [entry["kind"] for entry in entries] == ["message", "question", "answer"]
    assert [entry.get("body", entry.get("text")) for entry in entries] == [
        "1 < 2 *really*\nyes",
        "why",
        "be so",
    ]


def test_a_room_is_exported_as_markdown_that_shows_what_was_written():
    written = b"".join(export.as_markdown(ROOM, ROOM_LOG)).decode()
    assert written == (
        "# room:lobby\n\n"
        "- **ada**: 1 \\< 2 \\*really\\*\n  yes\n"
        "- **bob**: why\n"
        "- **echo, asked by bob**: be so\n"
    )
