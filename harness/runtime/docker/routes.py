"""Links to nodes that are down end at once, as they do where nodes are processes.

The address of a container that is not running is nobody's: who connects waits three seconds for it
to be found. Toxiproxy's own routes therefore say at once that it cannot be reached: of all nodes
when its container starts, and of each until the node does.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from harness.errors import BrokenError
from harness.runtime.spec import TOXIPROXY_NODE

if TYPE_CHECKING:
    from harness.runtime.docker.containers import Containers


class Routes:
    """Which nodes Toxiproxy is to find. What is wanted while the engine is busy (60 ms for each
    change) is done in one go, in the order in which it was wanted."""

    def __init__(self, own: Containers) -> None:
        self._own = own
        self._wanted: dict[str, bool] = {}
        self._known: dict[str, bool] = {}
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="harness-docker-routes")

    def want(self, node: str, reachable: bool) -> Future[None]:
        """Have a node found, or not; done when it is so."""
        with self._lock:
            self._wanted[node] = reachable
        return self._thread.submit(self._apply)

    def begin_anew(self) -> Future[None]:
        """Toxiproxy was started: it finds nobody yet."""
        with self._lock:
            self._known = {}
        return self._thread.submit(self._apply)

    def close(self) -> None:
        """Nothing is wanted any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _apply(self) -> None:
        with self._lock:
            known = self._known
            changes = {n: want for n, want in self._wanted.items() if known.get(n, False) != want}
        toxiproxy = self._own.nodes.get(TOXIPROXY_NODE)
        if not changes or toxiproxy is None or toxiproxy.life.exited.is_set():
            return
        lines = [
            f"ip route {'del' if reachable else 'replace'} unreachable "
            f"{self._own.subnet.address(node)} 2>&1"
            for node, reachable in changes.items()
        ]
        try:
            status, said = self._own.run(toxiproxy.id, ["sh", "-ec", "\n".join(lines)], "root")
        except BrokenError:
            if toxiproxy.life.exited.is_set():
                return  # whoever starts it again begins anew
            raise
        if status:
            raise BrokenError("Toxiproxy's routes cannot be changed.", why=said)
        with self._lock:
            if self._known is known:
                known.update(changes)
