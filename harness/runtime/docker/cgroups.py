"""What the kernel counts for a container: its control groups, of either version.

The engine counts the same, but takes a second to say it. Only where containers are processes of
this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.runtime.resources import Sample

_ROOT = Path("/sys/fs/cgroup")


class Group:
    """The control groups of the process `pid`: a folder for each controller, or one for all."""

    def __init__(self, pid: int, root: Path = _ROOT) -> None:
        self._folders: dict[str, Path] = {}
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _number, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                self._folders[controller] = root / (controller or "") / path.lstrip("/")

    def processes(self) -> list[int]:
        """The processes in it, ended ones that nobody has waited for included."""
        text = (self.folder("memory") / "cgroup.procs").read_text()
        return [int(word) for word in text.split()]

    def cpu_s(self) -> float:
        """The processor time of all that ever was in it, in seconds."""
        if "cpuacct" in self._folders:
            return int((self._folders["cpuacct"] / "cpuacct.usage").read_text()) / 1e9
        return _words(self.folder("cpu") / "cpu.stat")["usage_usec"] / 1e6

    def resident_bytes(self) -> int:
        """What its processes hold, without the file cache."""
        found = _words(self.folder("memory") / "memory.stat")
        return found.get("total_rss", found.get("anon", 0))

    def threads(self) -> int:
        """How many tasks there are in it."""
        return int((self.folder("pids") / "pids.current").read_text())

    def folder(self, controller: str) -> Path:
        """Where a controller keeps its files of this group."""
        return self._folders.get(controller) or self._folders[""]


class CgroupSampler:
    """Adds up what containers use over all their starts."""

    def __init__(self) -> None:
        self._totals: dict[str, tuple[int, float, float]] = {}

    def sample(self, groups: Mapping[str, Group], now: int) -> list[Sample]:
        """One sample for each of `groups` (node → group). `now` is nanoseconds since the run's
        start. Some 0.1 ms each."""
        samples = []
        for node, group in sorted(groups.items()):
            try:
                samples.append(self._of(node, group, now))
            except (OSError, ValueError, KeyError):
                continue  # it ended meanwhile
        return samples

    def _of(self, node: str, group: Group, now: int) -> Sample:
        used_s, count = group.cpu_s(), len(group.processes())
        resident, threads = group.resident_bytes(), group.threads()
        before, total_s, last_s = self._totals.get(node, (now, 0.0, 0.0))
        # The count begins anew with each start of the container; the total never falls.
        rise_s = used_s - last_s if used_s >= last_s else used_s
        total_s += rise_s
        self._totals[node] = now, total_s, used_s
        return Sample(
            time=now,
            node=node,
            processes=count,
            cpu_s=round(total_s, 3),
            cpu_percent=round(100 * rise_s / ((now - before) / 1e9), 1) if now > before else 0.0,
            rss_bytes=resident,
            open_files=None,
            threads=threads,
        )


def _words(path: Path) -> dict[str, int]:
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) == 2}
