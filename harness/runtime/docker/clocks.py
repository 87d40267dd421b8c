"""Clocks that can be moved: libfaketime is loaded into every process of a node from the start, and
reads how far from a file again and again.

As it is, it also stands between programs and all that waits, and gets that wrong: a
`pthread_cond_timedwait` of Python's does not return, a `clock_nanosleep` until a moment fails. So
its names for all but the clocks are taken away before it is given to a node. The monotonic clock
and whatever waits by it are not touched.
"""

from __future__ import annotations

import io
import platform
import struct
import tarfile
import threading
from collections.abc import Mapping
from pathlib import Path

from harness.errors import BrokenError, MissingPartError
from harness.runtime.docker.base import FAKETIME
from harness.runtime.docker.containers import Containers
from harness.runtime.docker.engine import Engine
from harness.runtime.docker.helpers import Helpers

FOLDER = "/harness"
LIBRARY = f"{FOLDER}/clock.so"
FILE = f"{FOLDER}/clock"

ENVIRONMENT: Mapping[str, str] = {
    "LD_PRELOAD": LIBRARY,
    "FAKETIME_TIMESTAMP_FILE": FILE,
    "FAKETIME_NO_CACHE": "1",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "DONT_FAKE_MONOTONIC": "1",
    "NO_FAKE_STAT": "1",
}

HIDDEN = (
    *("alarm", "clock_nanosleep", "nanosleep", "sleep", "usleep"),
    *("epoll_pwait", "epoll_wait", "poll", "ppoll", "pselect", "select"),
    *("pthread_cond_destroy", "pthread_cond_init", "pthread_cond_timedwait", "sem_timedwait"),
    *("timer_gettime", "timer_settime", "timerfd_gettime", "timerfd_settime"),
    *("getentropy", "getpid", "getrandom"),
)
"""What libfaketime defines beside the clocks, and programs shall have from the C library."""

_DYNSYM = 11
_ELF64_LITTLE = b"\x7fELF\x02\x01"


class Clocks:
    """The clocks of a cluster's nodes, and by how much holders move them: what several want adds
    up. A clock stays moved when its node is killed and started again."""

    def __init__(self, engine: Engine, own: Containers, helpers: Helpers) -> None:
        self._api = engine.api
        self._local = engine.local
        self._own = own
        self._helpers = helpers
        self._held: dict[str, dict[str, float]] = {}
        self._library: bytes | None = None
        self._lock = threading.RLock()

    def prepare(self, node: str) -> None:
        """Put the library and its file into the node's container, which has not been started."""
        with self._lock:
            if self._library is None:
                self._library = clocks_only(self._helpers.file(str(self._real())))
        self._put(node, {LIBRARY: self._library, FILE: b"+0\n"})

    def move(self, holder: str, node: str, by_s: float) -> None:
        """Move the node's clock by so many seconds."""
        with self._lock:
            self._held.setdefault(node, {})[holder] = by_s
            self._write(node)

    def release(self, holder: str) -> None:
        """Take back what `holder` did. May be called again."""
        with self._lock:
            for node, held in self._held.items():
                if holder in held:
                    moved = held.pop(holder)
                    try:
                        self._write(node)
                    except BrokenError:
                        held[holder] = moved
                        raise

    def moved_s(self, node: str) -> float:
        """By how much the node's clock should be moved now, in seconds."""
        return sum(self._held.get(node, {}).values())

    def loaded(self, pid: int) -> bool:
        """Whether a process of this machine has the library in it. True if it is gone."""
        try:
            return LIBRARY in Path(f"/proc/{pid}/maps").read_text()
        except OSError:
            return True

    def require_loaded(self, node: str, pid: int) -> None:
        """Raise `MissingPartError` if a node's main process cannot have its clock moved."""
        if not self._local or self.loaded(pid):
            return
        raise MissingPartError(
            f"The clock of {node} cannot be moved.",
            why="Its main process did not load the library that moves clocks: it is linked "
            "statically (as programs in Go are), or its image has another C library.",
            do="Move the clocks of nodes that are linked with the C library of Debian 12 or newer.",
        )

    def _write(self, node: str) -> None:
        self._put(node, {FILE: f"{self.moved_s(node):+.3f}\n".encode()})

    def _put(self, node: str, files: Mapping[str, bytes]) -> None:
        from docker.errors import APIError

        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            folder = tarfile.TarInfo(FOLDER.lstrip("/"))
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
            for path, data in files.items():
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.size, entry.mode = len(data), 0o755
                archive.addfile(entry, io.BytesIO(data))
        try:
            self._api.put_archive(self._own.nodes[node].id, "/", buffer.getvalue())
        except APIError as error:
            why = str(error.explanation or error).strip()
            raise BrokenError(f"The clock of {node} cannot be set.", why=why) from None

    def _real(self) -> Path:
        machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
            platform.machine(), platform.machine()
        )
        return Path(f"/usr/lib/{machine}-linux-gnu/faketime") / Path(FAKETIME).name


def clocks_only(library: bytes) -> bytes:
    """libfaketime without its names for what is no clock, so that programs have those from the C
    library. Raises `BrokenError` for a file that is no such library."""
    if not library.startswith(_ELF64_LITTLE):
        raise BrokenError("The library that moves clocks is none for 64 bits, little-endian.")
    data = bytearray(library)
    (headers,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, headers + i * size) for i in range(count)]
    symbols = next((one for one in sections if one[1] == _DYNSYM), None)
    if symbols is None:
        raise BrokenError("The library that moves clocks has no table of its names.")
    strings = sections[symbols[6]][4]
    places = {}
    for entry in range(symbols[4], symbols[4] + symbols[5], 24):
        name, _info, _other, section = struct.unpack_from("<IBBH", data, entry)
        if section:
            start = strings + name
            places[bytes(data[start : data.index(0, start)]).decode()] = start
    for word in HIDDEN:
        if word in places:
            # Nobody looks for a name that begins so. One that ends in it ("nanosleep" is the end of
            # "clock_nanosleep") keeps its own beginning.
            data[places[word]] = ord("-")
    return bytes(data)
