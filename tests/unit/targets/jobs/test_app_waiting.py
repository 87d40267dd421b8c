"""Those who wait for a job are woken up when it has finished, or told in time that it has not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import cast

from targets.jobs.app.jobs import Jobs
from targets.jobs.app.listener import Listener
from targets.jobs.app.logs import Log
from targets.jobs.app.waiting import Waiting

LONG_S = 60.0


class FakeJobs:
    def __init__(self) -> None:
        self.done: set[str] = set()

    async def finished(self, keys: list[str]) -> list[str]:
        return [key for key in keys if key in self.done]


class FakeListener:
    def __init__(self) -> None:
        self.told: asyncio.Queue[str] = asyncio.Queue()

    async def notifications(self, channels: Sequence[str]) -> AsyncGenerator[tuple[str, str], None]:
        while True:
            yield channels[0], await self.told.get()


def make() -> tuple[Waiting, FakeJobs, FakeListener]:
    jobs, listener = FakeJobs(), FakeListener()
    log = Log("node-1", "blue", asyncio.get_running_loop().time, lambda line: None)
    return Waiting(cast(Jobs, jobs), cast(Listener, listener), log), jobs, listener


def test_a_notification_wakes_those_who_wait_for_that_job() -> None:
    async def work() -> None:
        waiting, _, listener = make()
        one = asyncio.create_task(waiting.until_finished("one", LONG_S))
        two = asyncio.create_task(waiting.until_finished("two", LONG_S))
        await asyncio.sleep(0)  # both wait now
        running = asyncio.create_task(waiting.run())
        await listener.told.put("one")
        await one
        assert not two.done()
        waiting.hurry()
        await two
        await waiting.until_finished("three", LONG_S)  # nobody waits any more
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(work())


def test_one_that_finished_before_anybody_waited_is_not_waited_for() -> None:
    async def work() -> None:
        waiting, jobs, _ = make()
        jobs.done.add("one")
        await waiting.until_finished("one", LONG_S)

    asyncio.run(work())


def test_the_time_is_a_bound() -> None:
    async def work() -> None:
        waiting, _, _ = make()
        await waiting.until_finished("one", 0.001)

    asyncio.run(work())
