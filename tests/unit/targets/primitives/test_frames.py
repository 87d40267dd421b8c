"""Frames: the same ones however the stream is cut, and never one that was not sent."""

from __future__ import annotations

import itertools
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primitives.frames import HEADER, MAGIC, VERSION, Decoder, FrameError, encode

payloads = st.lists(st.binary(max_size=200), max_size=8)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


def header(length: int, version: int = VERSION, magic: bytes = MAGIC) -> bytes:
    start = struct.pack(">3sBI", magic, version, length)
    return start + struct.pack(">I", zlib.crc32(start))


@given(payloads, st.lists(st.integers(0, 10_000), max_size=30))
def test_any_fragmentation_and_concatenation_gives_the_same_frames(
    sent: list[bytes], cuts: list[int]
) -> None:
    decoder = Decoder()
    stream = b"".join(map(encode, sent))
    got = [frame for piece in pieces(stream, cuts) for frame in decoder.feed(piece)]
    assert got == sent
    assert decoder.pending == 0


def test_bytes_one_at_a_time() -> None:
    decoder = Decoder()
    sent = [b"", b"a", b"bc" * 100]
    got = []
    for byte in b"".join(map(encode, sent)):
        got += decoder.feed(bytes([byte]))
    assert got == sent


@given(payloads.filter(bool), st.data())
def test_one_wrong_byte_is_an_error_in_the_frame_that_it_is_in(
    sent: list[bytes], data: st.DataObject
) -> None:
    stream = bytearray(b"".join(map(encode, sent)))
    at = data.draw(st.integers(0, len(stream) - 1))
    stream[at] ^= data.draw(st.integers(1, 255))
    cuts = data.draw(st.lists(st.integers(0, 10_000), max_size=10))
    whole = 0  # frames before the wrong byte
    end = 0
    while (end := end + HEADER + len(sent[whole])) <= at:
        whole += 1
    decoder = Decoder()
    got: list[bytes] = []
    with pytest.raises(FrameError) as failure:
        for piece in pieces(bytes(stream), cuts):
            got += decoder.feed(piece)
    assert got + failure.value.frames == sent[:whole]
    with pytest.raises(FrameError):
        decoder.feed(encode(b"good"))


@given(st.binary(max_size=500), st.lists(st.integers(0, 600), max_size=10))
def test_noise_gives_only_what_really_is_a_frame(noise: bytes, cuts: list[int]) -> None:
    """Which is nothing, unless Hypothesis has found a frame among this repository's constants."""
    decoder = Decoder()
    got: list[bytes] = []
    try:
        for piece in pieces(noise, cuts):
            got += decoder.feed(piece)
    except FrameError as error:
        got += error.frames
    else:
        assert decoder.pending == len(noise) - sum(HEADER + len(frame) for frame in got)
    assert noise.startswith(b"".join(map(encode, got)))


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (b"GET / HTTP/1.1\r\n", "magic"),
        (header(3, magic=b"\xf5PG") + b"1234", "magic"),
        (header(3, version=2) + b"1234", "version"),
        (header(101) + b"1234", "too-long"),
        (header(3)[:-1] + b"?" + b"1234", "checksum"),
        (header(3) + b"1234abc", "checksum"),
    ],
)
def test_errors_say_what_is_wrong(stream: bytes, kind: str) -> None:
    with pytest.raises(FrameError) as failure:
        Decoder(max_frame=100).feed(stream)
    assert failure.value.kind == kind


def test_frames_before_a_damaged_one_are_not_lost() -> None:
    with pytest.raises(FrameError) as failure:
        Decoder().feed(encode(b"one") + encode(b"two") + b"x" * HEADER)
    assert failure.value.frames == [b"one", b"two"]


def test_a_stream_that_was_cut_is_seen_by_what_is_pending() -> None:
    decoder = Decoder()
    frame = encode(b"payload")
    assert decoder.feed(frame + frame[:-1]) == [b"payload"]
    assert decoder.pending == len(frame) - 1


def test_the_longest_frame_is_taken() -> None:
    decoder = Decoder(max_frame=100)
    assert decoder.feed(encode(bytes(100))) == [bytes(100)]
