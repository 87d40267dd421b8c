"""Frames and messages of the wire protocol."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from targets.chat.app import protocol
from targets.chat.app.protocol import ProtocolError, Push

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def understood(data: bytes) -> list[str]:
    """What the client side of a WebSocket library makes of it."""
    client = ClientProtocol(parse_uri("ws://node"), state=State.OPEN, max_size=None)
    client.receive_data(data)
    frames = client.events_received()
    assert client.parser_exc is None
    assert all(frame.opcode is Opcode.TEXT and frame.fin for frame in frames)
    return [bytes(frame.data).decode() for frame in frames]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.text(max_size=20), values), max_size=4))
def test_a_library_understands_the_frames_one_by_one_or_together(said):
    frames = [protocol.event("room:x", name, payload) for name, payload in said]
    read = [json.loads(text) for text in understood(b"".join(frames))]
    assert read == [[None, None, "room:x", name, payload] for name, payload in said]


@pytest.mark.parametrize("size", [0, 125 - 30, 126, 65_000, 65_536, 70_000])
def test_all_lengths(size):
    (text,) = understood(protocol.event("room:x", "e", "x" * size))
    assert len(json.loads(text)[4]) == size


def test_a_reply_carries_the_refs_of_its_push():
    push = Push("1", "7", "room:x", "new_msg", {})
    (text,) = understood(protocol.reply(push, "ok", {"id": "m"}))
    assert json.loads(text) == [
        "1",
        "7",
        "room:x",
        "phx_reply",
        {"status": "ok", "response": {"id": "m"}},
    ]


def test_a_push_is_read():
    text = '["1","2","room:x","new_msg",{"body":"hi"}]'
    assert protocol.read(text) == Push("1", "2", "room:x", "new_msg", {"body": "hi"})
    heartbeat = protocol.read('[null,"3","phoenix","heartbeat",{}]')
    assert heartbeat.join_ref is None


@settings(max_examples=50)
@given(values)
def test_whatever_else_is_refused(value):
    fits = (
        isinstance(value, list)
        and len(value) == 5
        and isinstance(value[4], dict)
        and isinstance(value[2], str)
        and isinstance(value[3], str)
        and all(isinstance(ref, str | None) for ref in value[:2])
    )
    if not fits:
        with pytest.raises(ProtocolError):
            protocol.read(json.dumps(value))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '["1","2","room:x","e"]',
        '[1,"2","room:x","e",{}]',
        '["1","2",null,"e",{}]',
        '["1","2","room:x","e",[]]',
        json.dumps(["1", "2", "x" * 300, "e", {}]),
    ],
)
def test_malformed_messages_are_refused(text):
    with pytest.raises(ProtocolError) as refused:
        protocol.read(text)
    assert refused.value.code == 1007
