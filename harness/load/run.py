"""k6 in the course of a run: started, watched, stopped, and read."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, Self

from harness.check.verdict import Verdict
from harness.errors import AbortedError, HarnessError
from harness.load import entry, exits, summary
from harness.load.command import SAMPLES, command, environment
from harness.load.part import K6_PART
from harness.load.samples import compress, read_samples
from harness.load.script import K6
from harness.parts import find
from harness.timeline import LoadSample

TOOL = "k6"
"""What the runtime calls the process, and so the name of its log: `logs/k6.log`."""

STOP_TIMEOUT_S = 15.0
"""For k6 to end its requests, run the script's teardown, and write summary and dashboard (about
0.1 s without a teardown)."""

FIRST_ITERATION_TIMEOUT_S = 1.0
"""How long a start waits to see an iteration end, so that a script that throws is told at once."""

_POLL_S = 0.02
_SUMMARY = "summary.json"


class Tools(Protocol):
    """What is needed of a runtime."""

    async def start_tool(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        stop_timeout_s: float = ...,
    ) -> None: ...

    async def wait_exit(self, name: str) -> int | None: ...

    async def stop(self, name: str) -> str: ...

    def exit_status(self, name: str) -> int | None: ...

    def end_now(self, name: str) -> None: ...


class LoadRun:
    """One k6 process and what it measured. `samples`, `verdicts` and `ended` are empty until
    `stop`."""

    def __init__(self, load: K6, tools: Tools, folder: Path, log: Path, offset_ns: int) -> None:
        self.samples: list[LoadSample] = []
        self.verdicts: list[Verdict] = []
        self.ended = ""
        self._load = load
        self._tools = tools
        self._folder = folder
        self._log = log
        self._offset_ns = offset_ns
        self._ending: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        load: K6,
        tools: Tools,
        folder: Path,
        *,
        log: Path,
        nodes: Mapping[str, str],
        seed: int,
        bound_s: float,
        start_ns: int,
    ) -> Self:
        """Start k6, and return when its first iteration has ended (or has not within a second).

        `folder` takes all that k6 writes but its log, which the runtime writes to `log`. `nodes`
        are names and addresses of the links that clients use, in order. `bound_s` is how long the
        run may take at most; `start_ns` the run's start by `time.monotonic_ns`. Raises
        `MissingPartError` without k6, `UsageError` for a script that does not load, whose options
        are wrong, or whose every iteration throws; then nothing is left running.
        """
        program = (await asyncio.to_thread(find, K6_PART)).path
        variables = {
            **load.env,
            "HARNESS_SEED": str(seed),
            "HARNESS_NODES": ",".join(nodes.values()),
            "HARNESS_DURATION": f"{math.ceil(bound_s)}s",
        }
        options = await asyncio.to_thread(entry.inspect, program, load, variables)
        script = await asyncio.to_thread(entry.write_entry, load, options, folder, bound_s)
        # k6 tells the time of day; both clocks read at one moment map it to the run's.
        offset_ns = time.monotonic_ns() - time.time_ns() - start_ns
        run = cls(load, tools, folder, log, offset_ns)
        try:
            await tools.start_tool(
                TOOL,
                command(program, script, variables, folder),
                environment(folder),
                stop_timeout_s=STOP_TIMEOUT_S,
            )
            await run._first_iteration()
        except BaseException:
            tools.end_now(TOOL)
            raise
        return run

    async def watch(self) -> str:
        """Wait until k6 ends; a sentence if it did so by itself and that is no error.

        Raises what `exits.ending` says, a minute-old script error as well as a threshold with
        abortOnFail. To be cancelled, or awaited, around `stop`.
        """
        status = await self._tools.wait_exit(TOOL)
        if self._ending is not None:
            return ""
        log = await asyncio.to_thread(exits.read_log, self._log)
        if error := self._error(status, log):
            raise error
        return f"The load {self._load.script} ended before the run did: {exits.meaning(status)}."

    async def stop(self) -> None:
        """End k6 (requests under way are left uncounted), and read what it measured. May be called
        again, also after a cancellation, which does not keep it from being carried out. Raises
        `BrokenError` if k6 cannot be ended, `UnreadableError` if what it wrote is damaged."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        said = await self._tools.stop(TOOL)
        status = self._tools.exit_status(TOOL)
        self.ended = exits.meaning(status) if status is not None and status >= 0 else said
        await asyncio.to_thread(self._read, status)

    async def _first_iteration(self) -> None:
        exited = asyncio.create_task(self._tools.wait_exit(TOOL))
        deadline = time.monotonic() + FIRST_ITERATION_TIMEOUT_S
        try:
            while True:
                done, _ = await asyncio.wait({exited}, timeout=_POLL_S)
                # In this order, for k6 logs an exception before it counts the iteration.
                log = exits.read_log(self._log)
                iterations = iterations_in(self._folder / SAMPLES)
                late = time.monotonic() > deadline
                if (done or late) and log.thrown and log.thrown >= iterations:
                    raise exits.bad_script(self._load.script, log.end, "threw")
                if done and (error := self._error(exited.result(), log)):
                    raise error
                if done or late or (iterations and not log.thrown):
                    return
        finally:
            exited.cancel()

    def _error(self, status: int | None, log: exits.Log) -> HarnessError | None:
        if status == exits.STOPPED:
            return AbortedError("Somebody else than the harness ended k6 by a signal.")
        return exits.ending(self._load.script, status, log.end)

    def _read(self, status: int | None) -> None:
        log = exits.read_log(self._log)
        if status == exits.MARKED_AS_FAILED and log.mark is None:
            log = replace(log, mark="")
        self.verdicts = summary.read_verdicts(self._folder / _SUMMARY, log)
        samples = self._folder / SAMPLES
        if samples.exists():
            self.samples = read_samples(samples, self._offset_ns)
            compress(samples)


def iterations_in(samples: Path) -> int:
    """How many iterations k6 has told of so far."""
    try:
        return samples.read_bytes().count(b"\niterations,")
    except OSError:
        return 0
