"""The workers that truly run on this node: asyncio tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

TICK_S = 0.05
"""How often a worker does its work, which is to count."""


@dataclass
class Worker:
    """One run of a worker. `instance` is never used again, on this node or another."""

    name: str
    instance: str
    ticks: int = 0
    task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self.task is not None and not self.task.done()


class Runner:
    """Starts and stops workers. What `running` says is read from the tasks themselves, so that it
    holds whatever the registry believes.

    `incarnation` tells this start of the node from others. A worker that fails by itself is told,
    and does not run any more: whoever looks next finds its claim void.
    """

    def __init__(self, node: str, incarnation: int, tell: Callable[..., None]) -> None:
        self._node = node
        self._incarnation = incarnation
        self._tell = tell
        self._workers: dict[str, Worker] = {}
        self._started = 0

    def __contains__(self, name: str) -> bool:
        worker = self._workers.get(name)
        return worker is not None and worker.running

    @property
    def running(self) -> Mapping[str, Worker]:
        """By name, those whose tasks go on."""
        return {name: worker for name, worker in self._workers.items() if worker.running}

    def start(self, name: str) -> str:
        """Start a worker, unless it runs; its instance."""
        if name in self:
            return self._workers[name].instance
        self._started += 1
        worker = Worker(name, f"{self._node}/{self._incarnation}/{self._started}")
        worker.task = asyncio.create_task(self._work(worker), name=f"worker {name}")
        worker.task.add_done_callback(lambda task: self._done(worker, task))
        self._workers[name] = worker
        self._tell("worker-started", worker=name, instance=worker.instance)
        return worker.instance

    async def stop(self, name: str) -> None:
        """End a worker; it does nothing any more when this returns."""
        worker = self._workers.pop(name, None)
        if worker is None or worker.task is None:
            return
        worker.task.cancel()
        await asyncio.wait({worker.task})
        self._tell("worker-stopped", worker=name, instance=worker.instance, ticks=worker.ticks)

    async def close(self) -> None:
        """End all workers."""
        for name in list(self._workers):
            await self.stop(name)

    async def _work(self, worker: Worker) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            worker.ticks += 1

    def _done(self, worker: Worker, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            return
        self._tell("worker-failed", worker=worker.name, error=repr(task.exception()))
        if self._workers.get(worker.name) is worker:
            del self._workers[worker.name]
