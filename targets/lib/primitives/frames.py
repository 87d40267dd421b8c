"""Frames on a byte stream: a payload with its length, a version and checksums.

    magic 3, version 1, length 4, CRC-32 of these eight 4, CRC-32 of the payload 4, payload

Numbers are big-endian. The header has a checksum of its own because a wrong length does harm at
once: without it the decoder would wait for bytes that never come. CRC-32 finds every error burst of
up to 32 bits (Peterson and Brown, "Cyclic Codes for Error Detection", 1961), so every frame of
which one byte is wrong.
"""

from __future__ import annotations

import struct
import zlib
from typing import Literal, TypeAlias

MAGIC = b"\xf5PF"
VERSION = 1
MAX_FRAME = 1 << 20
"""Bytes of payload that a decoder takes unless told otherwise."""

_START = struct.Struct(">3sBI")
_SUMS = struct.Struct(">II")
HEADER = _START.size + _SUMS.size
"""Bytes before the payload."""

Kind: TypeAlias = Literal["magic", "version", "too-long", "checksum"]


class FrameError(Exception):
    """The stream is not one of frames, or was damaged; where the next frame begins is not known, so
    that the connection must be closed. `frames` were whole and came before."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.frames: list[bytes] = []


def encode(payload: bytes) -> bytes:
    """One frame. Raises `ValueError` if its length does not fit into four bytes."""
    if len(payload) > 0xFFFFFFFF:
        raise ValueError(f"a payload of {len(payload)} bytes does not fit into one frame: cut it")
    start = _START.pack(MAGIC, VERSION, len(payload))
    return b"".join((start, _SUMS.pack(zlib.crc32(start), zlib.crc32(payload)), payload))


class Decoder:
    """Takes a stream in pieces of any size and gives the payloads of its whole frames.

    Bytes are copied once into the buffer (not even that if a piece begins and ends with a frame)
    and once out of it, however small the pieces are.
    """

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max_frame = max_frame
        self._buffer = bytearray()
        self._wanted = HEADER  # bytes in the buffer before which nothing new can be said
        self._failed: tuple[Kind, str] | None = None

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not whole yet; not 0 at the end of a stream: it was cut."""
        return len(self._buffer)

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """The payloads that are whole now, in order. Raises `FrameError`, and from then on always:
        after a damaged frame nothing can be trusted."""
        if self._failed is not None:
            raise FrameError(*self._failed)
        frames: list[bytes] = []
        try:
            if not self._buffer:
                with memoryview(data) as view:
                    used = self._take(view, frames)
                    self._buffer += view[used:]
            else:
                self._buffer += data
                if len(self._buffer) >= self._wanted:
                    with memoryview(self._buffer) as view:
                        used = self._take(view, frames)
                    del self._buffer[:used]
        except FrameError as error:
            self._failed = (error.kind, str(error))
            self._buffer = bytearray()
            error.frames = frames
            raise
        return frames

    def _take(self, view: memoryview, frames: list[bytes]) -> int:
        """Appends the payloads of all whole frames. How many bytes they took."""
        at = 0
        while len(view) - at >= HEADER:
            length, checksum = self._header(bytes(view[at : at + HEADER]))
            end = at + HEADER + length
            if len(view) < end:
                self._wanted = HEADER + length
                return at
            payload = bytes(view[at + HEADER : end])
            if zlib.crc32(payload) != checksum:
                raise FrameError("checksum", f"a frame of {length} bytes was damaged on its way")
            frames.append(payload)
            at = end
        self._wanted = HEADER
        return at

    def _header(self, header: bytes) -> tuple[int, int]:
        magic, version, length = _START.unpack_from(header)
        of_header, of_payload = _SUMS.unpack_from(header, _START.size)
        if magic != MAGIC:
            raise FrameError("magic", f"no frame begins with {magic!r}")
        if zlib.crc32(header[: _START.size]) != of_header:
            raise FrameError("checksum", "the header of a frame was damaged on its way")
        if version != VERSION:
            raise FrameError("version", f"version {version} of frames is not {VERSION}")
        if length > self._max_frame:
            raise FrameError(
                "too-long", f"a frame of {length} bytes; at most {self._max_frame} are taken"
            )
        return int(length), int(of_payload)
