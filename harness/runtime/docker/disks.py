"""Volumes of a bounded size, and how they are filled.

Each is a tmpfs that a helper keeps mounted, so that data outlives the node's processes. It counts
as memory of whoever wrote it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.errors import BrokenError
from harness.runtime.docker.helpers import Helpers

SIZE_BYTES = 256 * 1024**2
"""How large each volume of a node is in a cluster that is prepared for full disks."""

PAGE = 4096

FILLER = ".harness-filler"
"""The file that fills a volume."""

_FILL = """
import errno, os, sys
leave, folders, name = int(sys.argv[1]), sys.argv[3:], sys.argv[2]
for folder in folders:
    file = os.open(f"{folder}/{name}", os.O_CREAT | os.O_RDWR, 0o600)
    for _ in range(100):
        found = os.statvfs(folder)
        free = found.f_bavail * found.f_frsize
        if free <= leave:
            break
        try:
            os.posix_fallocate(file, os.fstat(file).st_size, free - leave)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    os.close(file)
"""

_EMPTY = "rm -f /v/*/{name}"

_PROBE = """
import errno, json, os, sys
size, filler, folders, said = int(sys.argv[1]), sys.argv[2], sys.argv[3:], []
for folder in folders:
    path, problem = f"{folder}/.harness-probe", None
    try:
        with open(path, "wb", buffering=0) as file:
            os.posix_fallocate(file.fileno(), 0, size)
            file.write(b"x" * 4096)
    except OSError as error:
        problem = errno.errorcode[error.errno]
    finally:
        if os.path.exists(path):
            os.unlink(path)
    found = os.statvfs(folder)
    whole = os.path.exists(f"{folder}/{filler}")
    said.append([problem, found.f_bavail * found.f_frsize, whole])
print(json.dumps(said))
"""


@dataclass
class _Disk:
    keeper: str
    folders: list[str]
    held: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """How an attempt to write to a volume went: the problem (`ENOSPC`), or none; how many bytes are
    free; and whether the file that fills it is there."""

    problem: str | None
    free: int
    filler: bool


class Disks:
    """The bounded volumes of one cluster, by node, and who wants them full."""

    def __init__(self, helpers: Helpers, size_bytes: int = SIZE_BYTES) -> None:
        self.size_bytes = size_bytes
        self._helpers = helpers
        self._disks: dict[str, _Disk] = {}
        self._lock = threading.RLock()

    @property
    def volume_options(self) -> Mapping[str, str]:
        """How the engine is to make such a volume."""
        return {"type": "tmpfs", "device": "tmpfs", "o": f"size={self.size_bytes}"}

    def keep(self, node: str, volumes: list[str]) -> None:
        """Keep the node's volumes, which were just made, until the cluster ends."""
        folders = [f"/v/{number}" for number in range(len(volumes))]
        disk = _Disk(self._helpers.keeping(node, volumes), folders)
        with self._lock:
            self._disks[node] = disk

    def fill(self, holder: str, node: str, leave: int) -> None:
        """Fill the node's volumes but for `leave` bytes."""
        with self._lock:
            disk = self._disk(node)
            disk.held[holder] = leave
            self._fill(disk)

    def refill(self, node: str) -> None:
        """Take what the node has given up since."""
        with self._lock:
            self._fill(self._disk(node))

    def release(self, holder: str) -> None:
        """Give back what `holder` took; what others leave, they go on to leave."""
        with self._lock:
            for disk in self._disks.values():
                if holder in disk.held:
                    self._helpers.shell(disk.keeper, _EMPTY.format(name=FILLER))
                    del disk.held[holder]
                    if disk.held:
                        self._fill(disk)

    def held(self, node: str) -> bool:
        """Whether anybody wants it full."""
        return bool(self._disk(node).held)

    def write(self, node: str, leave: int = 0) -> list[Written]:
        """Try to write a page more than `leave` bytes to each volume of the node. What is written
        is removed again."""
        disk = self._disk(node)
        size = str(leave // PAGE * PAGE + PAGE)
        said = self._helpers.python(disk.keeper, _PROBE, size, FILLER, *disk.folders)
        return [Written(*one) for one in json.loads(said)]

    def empty(self, node: str) -> None:
        """Remove what fills the volumes, whoever wants it."""
        self._helpers.shell(self._disk(node).keeper, _EMPTY.format(name=FILLER))

    def _fill(self, disk: _Disk) -> None:
        leave = str(min(disk.held.values()))
        self._helpers.python(disk.keeper, _FILL, leave, FILLER, *disk.folders)

    def _disk(self, node: str) -> _Disk:
        try:
            return self._disks[node]
        except KeyError:
            raise BrokenError(f"{node} has no volume of a bounded size.") from None
