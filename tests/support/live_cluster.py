"""A real cluster of registers with a nemesis, inside one `asyncio.run`, taken down at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures.registers import PORT, Registers
from harness.cluster import Cluster
from harness.errors import MissingPartError
from harness.faults import Fault, Members
from harness.nemesis import Nemesis, Site
from harness.network import Link
from harness.record.journal import Event, Journal, read_journal
from harness.record.recorder import Recorder
from harness.runtime import proc
from harness.runtime.process import ProcessRuntime
from harness.runtimes import create_runtime
from harness.seeds import stream
from harness.target import Target

RUNTIME = os.environ.get("HARNESS_TEST_RUNTIME", "process")
"""Where the clusters of tests run that do not say it: the faults' tests hold for every runtime."""

ANSWER_S = 5.0
SILENCE_S = 0.2


@dataclass
class Live:
    """The cluster, its nemesis, and what they wrote."""

    cluster: Cluster
    nemesis: Nemesis
    journal: Path

    # What a fault did, by its own account

    def steps(self, id: str = "f1") -> list[str]:
        """The steps of a fault in the journal, in order."""
        return [event.data["step"] for event in self._of(id)]

    def told(self, id: str, step: str) -> dict[str, Any]:
        """What the journal says of the last such step of a fault."""
        return next(e.data for e in reversed(self._of(id)) if e.data["step"] == step)

    def proof(self, id: str = "f1", step: str = "proved") -> dict[str, Any]:
        return dict(self.told(id, step)["proof"])

    def _of(self, id: str) -> list[Event]:
        events = read_journal(self.journal)
        return [event for event in events if event.name == "fault" and event.data["id"] == id]

    # Doing

    def resolved(self, fault: Fault, lasting_s: float = 0.0, seed: int = 1) -> Fault:
        """As it would stand in a plan."""
        members = Members.of(self.cluster.target)
        return fault.resolve(stream(seed, "tests"), members, lasting_s)

    async def inject(self, fault: Fault, id: str = "f1", lasting_s: float = 0.0) -> Site:
        return await self.nemesis.inject(id, self.resolved(fault, lasting_s))

    # Looking from outside

    def link(self, source: str, node: str) -> Link:
        return self.cluster.network.links(source, node)[0]

    async def say(
        self, source: str, node: str, timeout_s: float = ANSWER_S, **request: Any
    ) -> dict[str, Any] | str:
        """What comes back through a link for one line of JSON, or `silent`, `refused`, `ended`.

        The source `""` asks the node itself, past all links.
        """
        upstream = (self.cluster.node(node).address, PORT)
        address = self.link(source, node).listen if source else upstream
        return await exchange(address, timeout_s, request or {"f": "ping"})

    async def answers(self, source: str, node: str) -> bool:
        """Whether the link answers, soon enough for a busy machine."""
        return isinstance(await self.say(source, node), dict)

    async def silent(self, source: str, node: str) -> bool:
        return await self.say(source, node, SILENCE_S) == "silent"

    async def took_s(self, source: str, node: str, **request: Any) -> float:
        """Seconds that an answer takes; fails if there is none."""
        start = time.monotonic()
        assert isinstance(await self.say(source, node, **request), dict)
        return time.monotonic() - start

    def kernel_states(self, node: str) -> str:
        """The kernel's letters for the processes of a node: `S` sleeping, `R` running, `T` stopped,
        nothing for one that is down."""
        found = [proc.status(pid) for pid in self.cluster.processes(node)]
        # One that ended since it was found (the `mount` before the server) is of no node any more.
        return "".join(sorted(now.state for now in found if now is not None and not now.gone))

    async def write_home(self, node: str, name: str, text: str) -> None:
        """Write a file into the home of a node, behind its back."""
        path, runtime = self.cluster.node(node).home / name, self.cluster.runtime
        if isinstance(runtime, ProcessRuntime):
            path.write_text(text)
            return
        command = ["sh", "-c", f"printf %s {shlex.quote(text)} > {path}"]
        assert await runtime.inside(node, command) == (0, "")  # type: ignore[attr-defined]

    def stands_still(self, node: str) -> bool:
        """Whether the kernel holds all processes of the node, and there are some. What a freezer
        holds looks otherwise than what SIGSTOP does."""
        if self.cluster.runtime.image(node) is not None:
            return self.cluster.state(node) == "paused" and self.kernel_states(node) != ""
        return set(self.kernel_states(node)) == {"T"}

    async def is_gone(self, node: str) -> bool:
        """Whether nobody answers for a node that is down: its port is closed, or, where it has a
        container, its address is nobody's. Links to it end at once in both."""
        direct = "refused" if self.cluster.runtime.image(node) is None else "silent"
        source = next(name for name in self.cluster.names if name != node)
        return await self.say("", node) == direct and await self.say(source, node) == "ended"

    async def assert_sound(self) -> None:
        """Nothing of any fault is left: no toxic, every node runs, every link answers."""
        assert self.nemesis.in_force == []
        assert await self.cluster.network.verify() == []
        assert await self.cluster.wait_serving(20) == []
        links = self.cluster.network.links()
        for link in links:
            assert not self.cluster.network.held(link)
        said = await asyncio.gather(*(self.answers(link.source, link.node) for link in links))
        assert all(said)
        for name in self.cluster.names:
            assert not self.cluster.held_down(name)
            assert not self.cluster.held_paused(name)
            assert self.kernel_states(name).strip("SRD") == ""


async def exchange(
    address: tuple[str, int], timeout_s: float, request: dict[str, Any]
) -> dict[str, Any] | str:
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(json.dumps(request).encode() + b"\n")
            line = await reader.readline()
            return dict(json.loads(line)) if line else "ended"
    except TimeoutError:
        return "silent"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "ended"
    finally:
        if writer is not None:
            await abort(writer)


async def abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def started(
    folder: Path, target: Target, runtime: str = RUNTIME, needs: Sequence[str] = ()
) -> AsyncIterator[Live]:
    """A cluster that serves. Everything is healed and ended afterwards, whatever happens."""
    start_ns = time.monotonic_ns()
    journal = Journal(folder / "journal.jsonl", start_ns)
    recorder = Recorder(folder / "history.jsonl", start_ns)
    where = await create_runtime(
        runtime, target, logs=folder / "logs", run_id=folder.name, needs=needs
    )
    try:
        cluster = await Cluster.start(target, where)
        try:
            yield Live(cluster, Nemesis(cluster, journal, recorder), folder / "journal.jsonl")
        finally:
            await cluster.close()
    finally:
        await where.close()
        journal.close()
        recorder.close()
    if isinstance(where, ProcessRuntime):
        assert where.all_processes() == {}


def on_cluster(
    folder: Path,
    work: Callable[[Live], Awaitable[None]],
    nodes: int = 3,
    target: Target | None = None,
    runtime: str = RUNTIME,
) -> None:
    """Carry out `work` on a started cluster (of registers, if no other target is given); it must
    end within a minute."""
    chosen = target or Registers(nodes=nodes)

    async def whole() -> None:
        async with asyncio.timeout(60), started(folder, chosen, runtime) as live:
            await work(live)

    try:
        asyncio.run(whole())
    except MissingPartError as error:
        pytest.skip(str(error))


async def until(condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """The first true answer of `condition`, awaited if need be; fails after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s"
        await asyncio.sleep(0.01)


LANDED: Sequence[str] = ("asked", "undo", "injected", "proved")
HEALED: Sequence[str] = (*LANDED, "healing", "healed")
