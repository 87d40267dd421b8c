"""libfaketime without what is no clock: a library made by hand, with names that share letters."""

from __future__ import annotations

import struct

import pytest

from harness.errors import BrokenError
from harness.runtime.docker.clocks import HIDDEN, clocks_only

STRINGS = b"\0clock_gettime\0clock_nanosleep\0poll\0"
NAMES = {
    "clock_gettime": 1,
    "clock_nanosleep": 15,
    "nanosleep": 21,  # the end of the one before
    "sleep": 25,
    "poll": 31,
}


def library(undefined: frozenset[str] = frozenset()) -> bytes:
    """As much of a shared library as is looked at: a table of names, and their letters."""
    symbols = b"\0" * 24
    for name, at in NAMES.items():
        symbols += struct.pack("<IBBHQQ", at, 0x12, 0, 0 if name in undefined else 7, 0, 0)
    begin = 64
    sections = [
        struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        struct.pack("<IIQQQQIIQQ", 0, 11, 0, 0, begin, len(symbols), 2, 0, 8, 24),
        struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, begin + len(symbols), len(STRINGS), 0, 0, 1, 0),
    ]
    head = bytearray(b"\x7fELF\x02\x01" + b"\0" * 58)
    struct.pack_into("<Q", head, 40, begin + len(symbols) + len(STRINGS))
    struct.pack_into("<HH", head, 58, 64, len(sections))
    return bytes(head) + symbols + STRINGS + b"".join(sections)


def names_of(made: bytes) -> list[str]:
    start = made.index(b"clock_gettime") - 1
    letters = made[start : start + len(STRINGS)]
    return [letters[at : letters.index(0, at)].decode() for at in NAMES.values()]


def test_only_the_clocks_keep_their_names() -> None:
    made = clocks_only(library())
    assert len(made) == len(library())
    assert made != library()
    names = names_of(made)
    assert names[0] == "clock_gettime"
    assert not set(names[1:]) & set(HIDDEN)


def test_what_the_library_wants_from_others_keeps_its_name() -> None:
    assert "poll" in names_of(clocks_only(library(frozenset({"poll"}))))


def test_what_is_no_such_library_is_refused() -> None:
    with pytest.raises(BrokenError, match="64 bits"):
        clocks_only(b"#!/bin/sh\n")
