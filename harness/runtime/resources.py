"""What each node costs the machine, sampled while a run goes on (`resources.jsonl`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import psutil

INTERVAL_S = 1.0


@dataclass(frozen=True)
class Sample:
    """One node at one moment.

    `time` is in nanoseconds since the run's start. `cpu_s` is what all its processes have used,
    also those that have ended: it never falls. `cpu_percent` is its rise since the node's last
    sample (100 is one core). Processes that live for less than an interval may go unseen. Shared
    memory counts in `rss_bytes` once for each process. Of a container `open_files` is not known.
    """

    time: int
    node: str
    processes: int
    cpu_s: float
    cpu_percent: float
    rss_bytes: int
    open_files: int | None
    threads: int


class Sampler:
    """Adds up what the processes of each node use."""

    def __init__(self) -> None:
        self._handles: dict[int, psutil.Process] = {}
        self._cpu_s: dict[psutil.Process, float] = {}
        self._totals: dict[str, tuple[int, float]] = {}  # node → time and cpu_s of the last sample

    def sample(self, processes: Mapping[str, Sequence[int]], now: int) -> list[Sample]:
        """One sample for each node that has any process. `now` is nanoseconds since the run's
        start. Processes that vanish meanwhile are left out. O(processes)."""
        samples = []
        seen: dict[int, psutil.Process] = {}
        for node, pids in sorted(processes.items()):
            before, total_s = self._totals.get(node, (now, 0.0))
            count = rss = files = threads = 0
            rise_s = 0.0
            for pid in pids:
                try:
                    process = self._handle(pid)
                    with process.oneshot():
                        times = process.cpu_times()
                        memory = process.memory_info().rss
                        handles = process.num_fds()
                        thread_count = process.num_threads()
                except psutil.Error:
                    continue
                cpu_s = times.user + times.system
                rise_s += cpu_s - self._cpu_s.get(process, 0.0)
                self._cpu_s[process] = cpu_s
                seen[pid] = process
                count, rss = count + 1, rss + memory
                files, threads = files + handles, threads + thread_count
            if not count:
                continue
            self._totals[node] = now, total_s + rise_s
            percent = 100 * rise_s / ((now - before) / 1e9) if now > before else 0.0
            samples.append(
                Sample(
                    time=now,
                    node=node,
                    processes=count,
                    cpu_s=round(total_s + rise_s, 3),
                    cpu_percent=round(percent, 1),
                    rss_bytes=rss,
                    open_files=files,
                    threads=threads,
                )
            )
        self._handles = seen
        self._cpu_s = {process: self._cpu_s[process] for process in seen.values()}
        return samples

    def _handle(self, pid: int) -> psutil.Process:
        known = self._handles.get(pid)
        return known if known is not None and known.is_running() else psutil.Process(pid)


async def record(
    sample: Callable[[int], list[Sample]],
    path: Path,
    start_ns: int,
    interval_s: float = INTERVAL_S,
) -> None:
    """Append a line for each node to `path`, at once and then every interval, until cancelled.

    `sample` (of `Runtime.sampler`) is called in a thread, with the nanoseconds since `start_ns`,
    the run's start on the clock `time.monotonic_ns`.
    """
    loop = asyncio.get_running_loop()
    due = loop.time()
    with path.open("ab", buffering=0) as file:
        while True:
            samples = await asyncio.to_thread(lambda: sample(time.monotonic_ns() - start_ns))
            file.write(b"".join(orjson.dumps(asdict(s)) + b"\n" for s in samples))
            # A machine that is too busy skips samples rather than catching up on them.
            due = max(due + interval_s, loop.time())
            await asyncio.sleep(due - loop.time())
