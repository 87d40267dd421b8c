"""Ends connections of a Toxiproxy process from outside, where Toxiproxy itself would hang."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

from harness.network import sockets
from harness.network.links import Link
from harness.runtime.spec import Address

_POLL_S = 0.01
_STALL_LOOK_S = 0.05  # a receiver that is only busy takes something within that time
_STALL_END_S = 0.5  # how long Toxiproxy may take to notice that a connection was reset

_DIAL_S = 0.1  # on one machine a node is reached in less than a millisecond


class Resetter:
    """Reaches into the process `pid`; does nothing where that is None."""

    def __init__(self, pid: int | None) -> None:
        self.pid = pid

    @classmethod
    def of_process(cls, pid: int | None) -> Resetter:
        """For the process `pid`, if its sockets can be borrowed."""
        return cls(pid if pid is not None and sockets.borrowable(pid) else None)

    @classmethod
    def of_listener(cls, address: Address) -> Resetter:
        """For the process that listens on `address`, if its sockets can be borrowed."""
        return cls.of_process(sockets.listening_process(address))

    def reset(self, links: Sequence[Link]) -> None:
        """Reset every connection on `links`, as their sources see it."""
        if self.pid is None or not links:
            return
        addresses = {link.listen for link in links}
        found = {c.inode for c in sockets.connections(self.pid) if c.local in addresses}
        sockets.reset(self.pid, found)

    def end_stalled(self, links: Sequence[Link]) -> None:
        """Reset connections whose receiver does not read: Toxiproxy would wait for it for ever."""
        if self.pid is None:
            return
        suspects = self._stalled(links)
        if not suspects:
            return
        time.sleep(_STALL_LOOK_S)
        later = self._stalled(links)
        inodes = {inode for inode, queued in suspects.items() if later.get(inode) == queued}
        sockets.reset(self.pid, inodes)
        ends = time.monotonic() + _STALL_END_S
        while sockets.owned(self.pid, inodes) and time.monotonic() < ends:
            time.sleep(_POLL_S)

    @contextlib.contextmanager
    def ending_dials(self, links: Iterable[Link]) -> Iterator[None]:
        """End attempts of Toxiproxy to reach the nodes behind `links`, should it be stuck in one.

        It stops listening only after the node's machine took its connection, and that of a paused
        node takes none any more once enough of them wait.
        """
        pid = self.pid
        if pid is None or not links:
            yield
            return
        nodes = {link.upstream for link in links}
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_DIAL_S):
                stuck = {one.inode for one in sockets.dials(pid) if one.remote in nodes}
                sockets.reset(pid, stuck)

        watcher = threading.Thread(target=watch, name="harness-network-dials", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _stalled(self, links: Sequence[Link]) -> dict[int, int]:
        near = {link.listen for link in links}
        far = {link.upstream for link in links}
        return {
            c.inode: c.queued_bytes
            for c in sockets.connections(self.pid)
            if c.stalled and c.queued_bytes and (c.local in near or c.remote in far)
        }
