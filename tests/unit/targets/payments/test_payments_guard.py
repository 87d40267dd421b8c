"""The guard of a dependency, in virtual time: what it sends, when, and what it says of it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from targets.payments.app.guard import FailedError, Guard, UnavailableError, UnknownError, policy_of
from targets.payments.app.logs import Log
from tests.support.virtual_time import run_virtually

PATIENCE_S = 60.0


class Bench:
    def __init__(self, mutant: str | None = None, dependency: str = "provider") -> None:
        self.clock = asyncio.get_running_loop().time
        self.lines: list[dict[str, Any]] = []
        log = Log("node-1", self.clock, lambda line: self.lines.append(json.loads(line)))
        policy = policy_of(dependency, mutant)
        self.guard = Guard(dependency, policy, self.clock, random.Random(1), log)
        self.sent = 0
        self.answers: list[str] = []  # once used up: it works

    async def call(self, within_s: float = PATIENCE_S) -> str:
        return await self.guard.call(self.send, deadline=self.clock() + within_s, key="k")

    async def send(self) -> str:
        self.sent += 1
        match self.answers.pop(0) if self.answers else "ok":
            case "hang":
                await asyncio.sleep(1000)
            case "fail":
                raise FailedError("500")
            case "cut":
                raise ConnectionResetError
        return "done"

    def attempts(self) -> list[tuple[int, float]]:
        lines = [line for line in self.lines if line["event"] == "attempt"]
        return [(line["attempt"], line["delay_s"]) for line in lines]

    def states(self) -> list[str]:
        return [line["state"] for line in self.lines if line["event"] == "breaker"]


def on_bench(
    work: Callable[[Bench], Awaitable[None]],
    mutant: str | None = None,
    dependency: str = "provider",
) -> None:
    async def whole() -> None:
        await work(Bench(mutant, dependency))

    run_virtually(whole())


def test_a_call_that_works_is_sent_once() -> None:
    async def work(bench: Bench) -> None:
        assert await bench.call() == "done"
        assert bench.attempts() == [(1, 0.0)]

    on_bench(work)


@pytest.mark.parametrize("trouble", ["hang", "fail", "cut"])
def test_it_is_repeated_until_it_works(trouble: str) -> None:
    async def work(bench: Bench) -> None:
        bench.answers = [trouble, trouble]
        assert await bench.call() == "done"
        assert [attempt for attempt, _ in bench.attempts()] == [1, 2, 3]

    on_bench(work)


def test_it_is_tried_three_times_and_then_nobody_knows() -> None:
    async def work(bench: Bench) -> None:
        bench.answers = ["hang"] * 9
        with pytest.raises(UnknownError):
            await bench.call()
        assert bench.sent == 3
        assert 0.9 <= bench.clock() <= 0.9 + 0.05 + 0.1

    on_bench(work)


def test_no_attempt_is_begun_that_the_deadline_would_cut_short() -> None:
    async def work(bench: Bench) -> None:
        bench.answers = ["hang"] * 9
        with pytest.raises(UnknownError):
            await bench.call(within_s=0.5)
        assert bench.sent == 1
        with pytest.raises(UnavailableError) as refused:
            await bench.call(within_s=0)
        assert refused.value.certain
        assert bench.sent == 1

    on_bench(work)


def test_a_call_with_less_than_the_usual_time_does_not_count_against_the_dependency() -> None:
    async def work(bench: Bench) -> None:
        bench.answers = ["hang"] * 20
        for _ in range(10):
            with pytest.raises(UnknownError):
                await bench.call(within_s=0.1)
        assert bench.states() == []

    on_bench(work)


def test_an_open_breaker_refuses_at_once_and_for_certain_and_closes_again() -> None:
    async def work(bench: Bench) -> None:
        bench.answers = ["fail"] * 5
        for _ in range(2):
            with pytest.raises(UnknownError):
                await bench.call()
        assert bench.states() == ["open"]
        sent, at = bench.sent, bench.clock()
        with pytest.raises(UnavailableError) as refused:
            await bench.call()
        assert refused.value.certain
        assert (bench.sent, bench.clock()) == (sent, at)
        assert bench.guard.refuses
        await asyncio.sleep(1.3)
        assert await bench.call() == await bench.call() == "done"
        assert bench.states() == ["open", "half-open", "closed"]

    on_bench(work)


def test_the_ninth_call_at_a_time_is_refused_at_once() -> None:
    async def work(bench: Bench) -> None:
        bench.answers = ["hang"] * 8
        calls = [asyncio.create_task(bench.call(0.3)) for _ in range(8)]
        await asyncio.sleep(0.01)
        with pytest.raises(UnavailableError, match="bulkhead full") as refused:
            await bench.call()
        assert refused.value.certain
        assert bench.clock() == pytest.approx(0.01)
        for call in calls:
            call.cancel()
        assert await asyncio.gather(*calls, return_exceptions=True)
        assert await bench.call() == "done"  # cancelled ones gave their places back

    on_bench(work)


def test_a_long_outage_costs_few_retries() -> None:
    async def work(bench: Bench) -> None:
        bench.answers = ["fail"] * 100_000
        for _ in range(300):
            with pytest.raises(UnavailableError):
                await bench.call()
            await asyncio.sleep(0.05)
        retries = sum(attempt > 1 for attempt, _ in bench.attempts())
        assert retries <= 0.2 * 300 + 10

    on_bench(work)


# The mutants


def test_without_a_limit_it_goes_on_and_on() -> None:
    async def work(bench: Bench) -> None:
        bench.answers = ["fail"] * 10_000
        with pytest.raises(UnknownError):
            await bench.call(within_s=0.5)
        assert bench.sent > 100
        assert bench.clock() > 9

    on_bench(work, "retries-without-limit")


def test_without_jitter_the_pauses_are_equal() -> None:
    async def work(bench: Bench) -> None:
        bench.answers = [*["ok"] * 4, *["fail", "fail", "ok"] * 2]
        for _ in range(6):
            await bench.call()
        delays = [delay_s for attempt, delay_s in bench.attempts() if attempt > 1]
        assert delays == [0.05, 0.1, 0.05, 0.1]

    on_bench(work, "retries-without-jitter")


def test_without_a_breaker_it_always_asks() -> None:
    async def work(bench: Bench) -> None:
        bench.answers = ["fail"] * 1000
        for _ in range(50):
            with pytest.raises(UnknownError):
                await bench.call()
        assert bench.sent >= 50

    on_bench(work, "no-breaker")


def test_a_breaker_that_never_closes_ends_all_calls() -> None:
    async def work(bench: Bench) -> None:
        bench.answers = ["fail"] * 5
        for _ in range(2):
            with pytest.raises(UnknownError):
                await bench.call()
        await asyncio.sleep(10_000)
        with pytest.raises(UnavailableError, match="breaker open"):
            await bench.call()

    on_bench(work, "breaker-never-closes")
