"""What faults can do to nodes because they are containers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from harness.errors import BrokenError
from harness.runtime import needs as words
from harness.runtime.docker.clocks import ENVIRONMENT, Clocks
from harness.runtime.docker.disks import Disks
from harness.runtime.docker.helpers import Helpers
from harness.runtime.docker.packets import TRY, TRY_LOSS, Packets
from harness.runtime.docker.squeeze import Squeeze

if TYPE_CHECKING:
    from harness.container import Container
    from harness.runtime.docker.containers import Containers
    from harness.runtime.docker.engine import Engine
    from harness.runtime.docker.node import Node


class Means:
    """One for each cluster. Their methods wait for the engine: call them in a thread.

    `prepared` are the words of `harness.runtime.needs` that the cluster is started for.
    """

    def __init__(
        self,
        engine: Engine,
        cluster: str,
        run_id: str,
        own: Containers,
        containers: Mapping[str, Container],
        prepared: Collection[str],
        tell: Callable[[str], object],
    ) -> None:
        self.prepared = frozenset(prepared)
        self._engine = engine
        self._helpers = Helpers(engine, cluster, run_id, own, tell)
        self._lacks: dict[str, str | None] = {}
        self._lock = threading.Lock()
        self.packets = Packets(own, self._helpers)
        self.squeeze = Squeeze(engine, own, containers)
        self.disks = Disks(self._helpers)
        self.clocks = Clocks(engine, own, self._helpers)

    def lacks(self, need: str) -> str | None:
        """Why what `need` names is not to be had on this engine, or None. Found by trying, once."""
        with self._lock:
            if need not in self._lacks:
                self._lacks[need] = self._look(need)
            return self._lacks[need]

    # What the containers of nodes are made with

    @property
    def volume_options(self) -> Mapping[str, str] | None:
        """How the volumes of nodes are to be made, if not as usual."""
        return self.disks.volume_options if words.DISK in self.prepared else None

    @property
    def environment(self) -> Mapping[str, str]:
        """What every node's environment has to have."""
        return ENVIRONMENT if words.CLOCK in self.prepared else {}

    def volumes_made(self, node: str, volumes: list[str]) -> None:
        """A node's own volumes were made, and nothing is in them."""
        if words.DISK in self.prepared:
            self.disks.keep(node, volumes)

    def made(self, node: str) -> None:
        """A node's container was made, and has not been started."""
        if words.CLOCK in self.prepared:
            self.clocks.prepare(node)

    # And when they run

    def started(self, node: Node) -> None:
        """A node was started: what ended with its last life comes back."""
        self.packets.started(node.name)

    def first_started(self, node: Node) -> None:
        """A node, or Toxiproxy, was started for the first time: faults that are planned shall find
        the helper that they need, which takes a third of a second to make."""
        if self.prepared & {words.PACKETS, words.PACKET_LOSS, words.NAMES}:
            with contextlib.suppress(BrokenError):  # they say so themselves
                self._helpers.beside(node)

    def ready(self, node: str, pid: int | None) -> None:
        """A node answers. Raises `MissingPartError` if a fault that is to come cannot reach it."""
        if words.CLOCK in self.prepared and pid is not None:
            self.clocks.require_loaded(node, pid)

    def _look(self, need: str) -> str | None:
        if need in (words.PACKETS, words.NAMES):
            return self._tried(TRY, "packets cannot be dropped in a container's network")
        if need == words.PACKET_LOSS:
            return self._tried(
                TRY_LOSS, "the kernel cannot drop a share of the packets (xt_statistic)"
            )
        if need in (words.MEMORY, words.CPU):
            name, what = ("MemoryLimit", "memory")
            if need == words.CPU:
                name, what = "CpuCfsQuota", "processor time"
            if not self._engine.api.info().get(name):
                return f"the engine cannot limit {what}"
        if need == words.CLOCK and self._engine.facts.machine not in ("x86_64", "aarch64"):
            return f"there is no library that moves clocks on {self._engine.facts.machine}"
        return None

    def _tried(self, script: str, what: str) -> str | None:
        try:
            status, said = self._helpers.run_alone(script)
        except BrokenError as error:
            return f"{what}: {error}"
        return f"{what}: {said}" if status else None
