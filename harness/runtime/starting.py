"""How nodes are started, whatever they run in: until they are ready, together, in turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from harness.errors import BrokenError
from harness.runtime.child import LOG_LINES, describe, within
from harness.runtime.spec import NodeSpec

POLL_S = 0.01

_READY_CALL_TIMEOUT_S = 5.0  # a server that takes a connection and never answers is not ready


class Starter(Protocol):
    """What is needed of a runtime."""

    async def spawn(self, spec: NodeSpec) -> None: ...

    async def wait_ready(self, spec: NodeSpec) -> None: ...

    async def wait_exit(self, name: str) -> int | None: ...

    def log_tail(self, name: str, lines: int = LOG_LINES) -> str: ...

    def end_now(self, name: str) -> None: ...


async def start(runtime: Starter, spec: NodeSpec) -> None:
    """Spawn a node and wait until it is ready, or, if it is run once, until it has ended well. If
    either fails or is cancelled, nothing of the node is left running."""
    await runtime.spawn(spec)
    try:
        if spec.once:
            await _until_ended(runtime, spec)
        else:
            await runtime.wait_ready(spec)
    except BaseException:
        runtime.end_now(spec.name)
        raise


async def _until_ended(runtime: Starter, spec: NodeSpec) -> None:
    """Wait for the end of what is run once. Raises `BrokenError` unless it ends with 0 in time."""
    try:
        async with asyncio.timeout(spec.ready_timeout_s):
            status = await runtime.wait_exit(spec.name)
    except TimeoutError:
        raise BrokenError(
            f"{spec.name} has not ended within {spec.ready_timeout_s:g} s.",
            why=f"It is run once, and others wait for its end.\n{runtime.log_tail(spec.name)}",
            do="Correct it, or give it longer with ready_timeout_s.",
        ) from None
    if status != 0:
        raise BrokenError(
            f"{spec.name}, which is run once before others start, failed: {describe(status)}.",
            why=runtime.log_tail(spec.name),
        )


async def start_all(
    runtime: Starter,
    specs: Sequence[NodeSpec],
    until_listening: Callable[[NodeSpec], Awaitable[bool]] | None,
) -> None:
    """Start nodes at the same time; with `until_listening` each as soon as the one before it
    listens on its ports. If one fails, all of them are ended, and its error is raised."""
    tasks: list[asyncio.Task[None]] = []
    try:
        for spec in specs:
            task = asyncio.create_task(start(runtime, spec))
            tasks.append(task)
            while until_listening is not None and not await until_listening(spec):
                if task.done():
                    task.result()  # raises what its start failed with
                    break
                await asyncio.sleep(POLL_S)
        await _all_or_first_error(tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for spec in specs:
            runtime.end_now(spec.name)
        raise


async def until_ready(
    spec: NodeSpec,
    exited: asyncio.Event,
    ended: Callable[[], BrokenError],
    late: Callable[[str], BrokenError],
) -> None:
    """Ask until the node is ready. Raises `ended()` if it exits first, and `late(what was said
    last)` after `ready_timeout_s`."""
    deadline = time.monotonic() + spec.ready_timeout_s
    said = "it answered that it is not ready"
    while (rest_s := deadline - time.monotonic()) > 0:
        try:
            ready = await _answer(spec, exited, min(rest_s, _READY_CALL_TIMEOUT_S))
        except (OSError, EOFError) as error:
            ready, said = False, str(error) or type(error).__name__
        if exited.is_set():
            raise ended()
        if ready:
            return
        await within(exited, POLL_S)
    raise late(said)


async def _answer(spec: NodeSpec, exited: asyncio.Event, timeout_s: float) -> bool:
    """What the node says to `ready`; False as soon as it has ended. To reach a container that is
    gone takes seconds to fail. Raises `TimeoutError`."""
    asking, ending = asyncio.ensure_future(spec.ready()), asyncio.ensure_future(exited.wait())
    both = (asking, ending)
    try:
        await asyncio.wait(both, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if asking.done():
            return asking.result()
        if not ending.done():
            raise TimeoutError
        return False
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)


async def _all_or_first_error(tasks: Sequence[asyncio.Task[None]]) -> None:
    if not tasks:
        return
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if task in done:
            task.result()
