"""One container and its life: started, watched until it ends, started again."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.runtime.child import CLOSE_GRACE_S
from harness.runtime.docker.cgroups import Group

_LOG_BYTES = 64 * 1024  # as much of a log as is read to find its last lines
_LINE_BYTES = 64 * 1024  # of a line that does not end, as much as is waited for


@dataclass
class Life:
    """One time that a container ran. `up` says that the node became ready, `asked` that its end is
    the harness's own wish, `pid` is the container's first process as the engine sees it. `refused`
    is done when connections to the ended node are refused."""

    exited: asyncio.Event = field(default_factory=asyncio.Event)
    status: int | None = None
    pid: int = 0
    log_begin: int = 0
    up: bool = False
    asked: bool = False
    paused: bool = False
    group: Group | None = None
    refused: asyncio.Future[None] | None = None


@dataclass
class Node:
    """A node's container, `id`, and the life that it has or had last."""

    name: str
    id: str
    log: Path
    life: Life
    stop_timeout_s: float = CLOSE_GRACE_S
    starts: int = 0

    def log_tail(self, lines: int) -> str:
        """The last lines since the last start, or a sentence if there are none."""
        try:
            with self.log.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(self.life.log_begin, size - _LOG_BYTES))
                found = file.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            found = []
        return "\n".join(found[-lines:]) or "It wrote nothing."


class Output(Protocol):
    """What a container writes, as it comes: to its standard output, or to its standard error."""

    def __iter__(self) -> Iterator[tuple[bytes | None, bytes | None]]: ...

    def close(self) -> None: ...


class _Lines:
    """One of the streams of a container, in whole lines: two that go to one log must not cut each
    other's."""

    def __init__(self) -> None:
        self._rest = b""

    def whole(self, piece: bytes | None) -> bytes:
        """What can be written, now that there is another piece."""
        lines, newline, self._rest = (self._rest + (piece or b"")).rpartition(b"\n")
        if len(self._rest) > _LINE_BYTES:
            return lines + newline + self.rest()
        return lines + newline

    def rest(self) -> bytes:
        """What stands after the last line."""
        rest, self._rest = self._rest, b""
        return rest


def follow(log: Path, output: Output, ended: Callable[[], None]) -> threading.Thread:
    """Append what a container writes to `log`, line by line, in a thread, until it ends."""

    def copy() -> None:
        streams = (_Lines(), _Lines())
        try:
            with log.open("ab", buffering=0) as file:
                try:
                    for pieces in output:
                        for stream, piece in zip(streams, pieces, strict=True):
                            file.write(stream.whole(piece))
                finally:
                    for stream in streams:
                        file.write(stream.rest())
        except (OSError, ValueError):
            pass  # the engine went away, and whoever waits for the container hears of that
        finally:
            with contextlib.suppress(OSError, AttributeError):
                output.close()
            ended()

    thread = threading.Thread(target=copy, name=f"harness-log-{log.stem}", daemon=True)
    thread.start()
    return thread


def exit_status(code: int) -> int:
    """The engine's exit code as the harness writes it: negative if a signal ended the process.
    (A shell's way to say the same; a process that exits with 137 by itself looks alike.)"""
    return 128 - code if 128 < code <= 192 else code
