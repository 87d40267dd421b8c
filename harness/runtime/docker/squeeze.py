"""Memory and processor time taken away from nodes that run, by the limits of their containers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from harness.container import Container
from harness.errors import BrokenError
from harness.runtime import proc
from harness.runtime.docker.cgroups import Group
from harness.runtime.docker.containers import PERIOD_US, Containers
from harness.runtime.docker.engine import Engine

_REFUSED_S = 3.0
"""How long a limit is tried again that the kernel refuses because more is in use."""

_MEMORY = (("memory", "memory.limit_in_bytes"), ("", "memory.max"))
_CPU = (("cpu", "cpu.cfs_quota_us"), ("", "cpu.max"))
_CPU_STAT = (("cpu", "cpu.stat"), ("", "cpu.stat"))
_CPU_USED = (("cpuacct", "cpuacct.usage"), ("", "cpu.stat"))
_HELD = (("memory", "memory.usage_in_bytes"), ("", "memory.current"))


class Squeeze:
    """What holders leave the nodes of a cluster; the least counts. A limit belongs to the container
    and outlives the node's processes. Methods wait for the engine and raise `BrokenError`."""

    def __init__(
        self, engine: Engine, own: Containers, containers: Mapping[str, Container]
    ) -> None:
        self._api = engine.api
        self._local = engine.local
        self._own = own
        self._containers = containers
        self._memory: dict[str, dict[str, int]] = {}
        self._cpu: dict[str, dict[str, float]] = {}
        self._lock = threading.RLock()

    def memory_of(self, node: str) -> int:
        """What the node may use now, in bytes: its own limit, or the least that is held."""
        own = self._containers[node].limits.memory_bytes
        return min([own, *self._memory.get(node, {}).values()])

    def cores_of(self, node: str) -> float | None:
        """The cores that the node may use now; None for all."""
        own = self._containers[node].limits.cpus
        wanted = [*self._cpu.get(node, {}).values(), *(() if own is None else (own,))]
        return min(wanted, default=None)

    def hold_memory(self, holder: str, node: str, share_or_bytes: float) -> None:
        """Leave the node so many bytes (an int), or a share (a float) of what it has by itself."""
        own = self._containers[node].limits.memory_bytes
        wanted = share_or_bytes
        limit = wanted if isinstance(wanted, int) else int(wanted * own)
        with self._lock:
            self._memory.setdefault(node, {})[holder] = limit
            self._set_memory(node)

    def hold_cpu(self, holder: str, node: str, cores: float) -> None:
        """Leave the node so many cores."""
        with self._lock:
            self._cpu.setdefault(node, {})[holder] = cores
            self._set_cpu(node)

    def release(self, holder: str) -> None:
        """Give back what `holder` took. May be called again."""
        with self._lock:
            for node in [node for node, held in self._memory.items() if holder in held]:
                taken = self._memory[node].pop(holder)
                try:
                    self._set_memory(node)
                except BrokenError:
                    self._memory[node][holder] = taken
                    raise
            for node in [node for node, held in self._cpu.items() if holder in held]:
                cores = self._cpu[node].pop(holder)
                try:
                    self._set_cpu(node)
                except BrokenError:
                    self._cpu[node][holder] = cores
                    raise

    # What the kernel says; None if the node is down

    def memory_limit(self, node: str) -> int | None:
        """The limit in force, in bytes."""
        said = self._read(node, _MEMORY)
        return None if said is None or said == "max" else int(said)

    def memory_used(self, node: str) -> int | None:
        """What counts against the limit, in bytes."""
        said = self._read(node, _HELD)
        return None if said is None else int(said)

    def cpu_limit(self, node: str) -> float | None:
        """The cores in force; below zero for all."""
        said = self._read(node, _CPU)
        if said is None:
            return None
        quota, *period = said.split()
        if quota in ("max", "-1"):
            return -1.0
        return int(quota) / (int(period[0]) if period else PERIOD_US)

    def throttled(self, node: str) -> int | None:
        """How often the node had to wait because it had used up its processor time."""
        said = self._read(node, _CPU_STAT)
        if said is None:
            return None
        words = dict(line.split() for line in said.splitlines())
        return int(words["nr_throttled"])

    def cpu_used_s(self, node: str) -> float | None:
        """The processor time that the node's processes have had, in seconds."""
        said = self._read(node, _CPU_USED)
        if said is None:
            return None
        if said.isdigit():
            return int(said) / 1e9
        return int(dict(line.split() for line in said.splitlines())["usage_usec"]) / 1e6

    def was_out_of_memory(self, node: str) -> bool:
        """Whether the kernel ended a process of the node's last life for want of memory."""
        found = self._own.nodes.get(node)
        if found is None:
            return False
        return bool(self._api.inspect_container(found.id)["State"]["OOMKilled"])

    # How it is done

    def _set_memory(self, node: str) -> None:
        limit = self.memory_of(node)
        deadline = time.monotonic() + _REFUSED_S

        def patient(problem: str) -> bool:
            # Version 1 of the control groups takes back what it can, and refuses the rest.
            return "busy" in problem and time.monotonic() < deadline

        self._update(node, patient, mem_limit=limit, memswap_limit=limit)

    def _set_cpu(self, node: str) -> None:
        cores = self.cores_of(node)
        quota = -1 if cores is None else int(cores * PERIOD_US)
        self._update(node, lambda _: False, cpu_period=PERIOD_US, cpu_quota=quota)

    def _update(self, node: str, again: Callable[[str], bool], **limits: Any) -> None:
        from docker.errors import APIError

        found = self._own.nodes.get(node)
        if found is None:
            raise BrokenError(f"{node} was never started.")
        while True:
            try:
                self._api.update_container(found.id, **limits)
                return
            except APIError as error:
                problem = str(error.explanation or error).strip()
                if again(problem):
                    time.sleep(0.1)
                    continue
                used = self.memory_used(node) if "busy" in problem else None
                why = f"It uses {used} bytes.\n{problem}" if used else problem
                do = "Leave it more than it uses already." if used else None
                raise BrokenError(
                    f"{node} cannot be limited so ({_said(limits)}).", why=why, do=do
                ) from None

    def _read(self, node: str, files: tuple[tuple[str, str], ...]) -> str | None:
        """A file of the node's control group, in whichever version it is there."""
        found = self._own.nodes.get(node)
        if found is None or found.life.exited.is_set():
            return None
        if not self._local:
            paths = " ".join(f"/sys/fs/cgroup/{name}/{file}" for name, file in files)
            script = f"for f in {paths}; do if [ -e $f ]; then cat $f; exit; fi; done; exit 1"
            status, said = self._own.run(found.id, ["sh", "-c", script], "root")
            if status:
                raise BrokenError(f"The limits of {node} cannot be read.", why=said)
            return said.strip()
        try:
            group = Group(found.life.pid)
            for controller, file in files:
                if (path := group.folder(controller) / file).exists():
                    return path.read_text().strip()
        except OSError as error:
            now = proc.status(found.life.pid)
            if now is not None and not now.gone:
                raise BrokenError(f"The limits of {node} cannot be read.", why=str(error)) from None
        return None


def _said(limits: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={value}" for name, value in limits.items())
