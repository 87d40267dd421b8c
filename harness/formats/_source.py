"""A text file in pieces, that knows where it is: what is read, what is left, which line."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import BinaryIO

from harness.errors import UnreadableError

CHUNK = 1 << 20
LONGEST = 1 << 26
"""Characters of one op: a file that is damaged so that an op never ends is not read into memory
as a whole. A read of all of a set of a million elements has a tenth of this."""

AGAIN = (
    "Mend it, or get the file again from what wrote it; a part of a history is not judged "
    "(docs/histories.md has the formats)."
)


class Cut(Exception):  # noqa: N818 (it asks for more, and is an error only at the end of the file)
    """What stands here goes on after the end of the text that has been read so far."""


class Damage(Exception):  # noqa: N818 (becomes an UnreadableError where the file is known)
    """At `pos` of the text stands what cannot be."""

    def __init__(self, pos: int, why: str) -> None:
        super().__init__(why)
        self.pos = pos
        self.why = why


class Source:
    """`text[pos:]` is what was read of the file and not used yet; `ended`, if that is all there is.

    `at` is where the op begins that was handed out last.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.text = ""
        self.pos = 0
        self.at = 0
        self.ended = False
        self._file = file
        self._lines = 1  # the line that `text` begins in
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()

    def more(self, size: int = CHUNK) -> None:
        """Drop what was used and read on: as much again as is left, so that long ops cost O(n).

        Raises `UnreadableError` for what is no UTF-8, or too long to be an op.
        """
        left = len(self.text) - self.pos
        if left > LONGEST:
            raise self.damaged(f"what begins here has no end within {LONGEST} characters.")
        piece = self._file.read(max(size, left))
        self._lines += self.text.count("\n", 0, self.pos)
        self.text = self.text[self.pos :]
        self.pos = self.at = 0
        try:
            self.text += self._decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            # `error.object` is the piece and what the decoder had kept of the one before.
            self.text += error.object[: error.start].decode("utf-8", "replace")
            raise self.damaged(
                f"byte 0x{error.object[error.start]:02x} is no UTF-8: {error.reason}.",
                len(self.text),
            ) from None
        self.ended = not piece

    def damaged(self, why: str, pos: int | None = None) -> UnreadableError:
        """The error for what stands at `pos`, or where reading is. O(length of text)."""
        line = self._lines + self.text.count("\n", 0, self.pos if pos is None else pos)
        return UnreadableError(f"{self.path}:{line}: the file is damaged.", why=why, do=AGAIN)

    def damaged_here(self, why: str) -> UnreadableError:
        """The error for the op that was handed out last."""
        return self.damaged(why, self.at)
