"""One suite for every limiter: the same call sites, whichever adapter stands behind them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from random import Random
from types import SimpleNamespace

import pytest
from primitives.coordination import Election
from primitives.limiter import ApproximateLimiter, Limiter, LocalLimiter, StrictLimiter
from primitives.telemetry import Metrics

from tests.support.virtual_mesh import VirtualNet, run_pausably

LIMIT, PER_S = 6, 2.0
NAMES = ("a", "b", "c")

Build = Callable[[], Awaitable[SimpleNamespace]]


async def local() -> SimpleNamespace:
    metrics = Metrics()
    limiter = LocalLimiter(LIMIT, PER_S, metrics=metrics)
    return SimpleNamespace(limiter=limiter, metrics=metrics, ready_s=0.0, guaranteed=LIMIT)


async def strict(asked: str) -> SimpleNamespace:
    """Three nodes; the one that is asked leads, or follows."""
    net = VirtualNet(Random(7))
    elections, limiters, metrics = {}, {}, {}
    for name in NAMES:
        mesh, metrics[name] = net.start(name), Metrics()
        elections[name] = Election(
            mesh, NAMES, random=net.random, metrics=metrics[name], lease_s=0.5
        )
        limiters[name] = StrictLimiter(mesh, elections[name], LIMIT, PER_S, metrics=metrics[name])
        await elections[name].start()
        await limiters[name].start()
    while not any(election.is_leader() for election in elections.values()):
        await asyncio.sleep(0.01)
    name = next(n for n in NAMES if elections[n].is_leader() == (asked == "leader"))
    await limiters[name].close()
    return SimpleNamespace(
        limiter=limiters[name], metrics=metrics[name], ready_s=1.1 * PER_S, guaranteed=LIMIT
    )


async def approximate(burst: float) -> SimpleNamespace:
    net = VirtualNet(Random(7))
    limiters, metrics = {}, {}
    for name in NAMES:
        mesh, metrics[name] = net.start(name), Metrics()
        limiters[name] = ApproximateLimiter(
            mesh,
            NAMES,
            LIMIT,
            PER_S,
            sync_s=0.1,
            burst=burst,
            random=net.random,
            metrics=metrics[name],
        )
    await limiters["b"].start()
    await limiters["c"].start()
    return SimpleNamespace(
        limiter=limiters["a"], metrics=metrics["a"], ready_s=PER_S, guaranteed=LIMIT // len(NAMES)
    )


ADAPTERS: dict[str, Build] = {
    "local": local,
    "strict-leader": lambda: strict("leader"),
    "strict-follower": lambda: strict("follower"),
    "approximate": lambda: approximate(1.5),
    "approximate-no-lending": lambda: approximate(1.0),
}


@pytest.fixture(params=ADAPTERS)
def build(request) -> Build:
    return ADAPTERS[request.param]


async def started(build: Build) -> SimpleNamespace:
    made = await build()
    await made.limiter.start()
    await asyncio.sleep(made.ready_s)
    return made


async def admitted(limiter: Limiter, key: str, requests: int) -> int:
    return sum([(await limiter.acquire(key)).admitted for _ in range(requests)])


def test_a_burst_gets_what_is_guaranteed_and_never_more_than_the_limit_and_error(build):
    async def work() -> None:
        made = await started(build)
        got = await admitted(made.limiter, "k", 4 * LIMIT)
        assert made.guaranteed <= got <= LIMIT * (1 + made.limiter.error)

    run_pausably(work())


def test_no_window_of_a_long_run_holds_more_than_the_limit_and_error(build):
    async def work() -> None:
        made = await started(build)
        loop = asyncio.get_running_loop()
        times = []
        while loop.time() < 12 * PER_S:
            began = loop.time()
            if (await made.limiter.acquire("k")).admitted:
                times.append((began, loop.time()))
            await asyncio.sleep(0.04)
        most = round(LIMIT * (1 + made.limiter.error) + 1e-9)
        # It is certain that a window was too full only if its ops lie in it from end to end.
        for early, late in zip(times, times[most:], strict=False):
            assert late[1] - early[0] >= PER_S
        assert len(times) >= made.guaranteed * 5

    run_pausably(work())


def test_refusals_say_when_one_more_fits(build):
    async def work() -> None:
        made = await started(build)
        while (decision := await made.limiter.acquire("k")).admitted:
            assert (decision.reason, decision.retry_after_s) == ("ok", 0.0)
        assert decision.reason == "limit"
        assert 0 < decision.retry_after_s <= PER_S
        await asyncio.sleep(decision.retry_after_s + 1e-6)
        assert (await made.limiter.acquire("k")).admitted

    run_pausably(work())


def test_keys_have_budgets_of_their_own(build):
    async def work() -> None:
        made = await started(build)
        await admitted(made.limiter, "k", 2 * LIMIT)
        assert await admitted(made.limiter, "other", 2 * LIMIT) >= made.guaranteed

    run_pausably(work())


def test_concurrent_requests_get_no_more_than_one_after_another(build):
    async def work() -> None:
        made = await started(build)
        decisions = await asyncio.gather(*(made.limiter.acquire("k") for _ in range(4 * LIMIT)))
        got = sum(decision.admitted for decision in decisions)
        assert made.guaranteed <= got <= LIMIT * (1 + made.limiter.error)

    run_pausably(work())


def test_a_request_that_was_given_up_leaves_the_limiter_in_order(build):
    async def work() -> None:
        made = await started(build)
        asking = asyncio.create_task(made.limiter.acquire("k"))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert (await made.limiter.acquire("k")).admitted

    run_pausably(work())


def test_before_start_and_after_close_it_is_unavailable(build):
    async def work() -> None:
        made = await build()
        assert (await made.limiter.acquire("k")).reason == "unavailable"
        await made.limiter.start()
        await asyncio.sleep(made.ready_s)
        assert (await made.limiter.acquire("k")).reason == "ok"
        await made.limiter.close()
        decision = await made.limiter.acquire("k")
        assert (decision.admitted, decision.reason) == (False, "unavailable")
        assert decision.retry_after_s > 0

    run_pausably(work())


def test_adapters_offer_the_same_metrics(build):
    def series(metrics: Metrics) -> set[tuple[str, ...]]:
        return {
            (sample.name, *(f"{k}={v}" for k, v in sample.labels.items() if k != "adapter"))
            for family in metrics.registry.collect()
            for sample in family.samples
            if sample.labels["component"] == "limiter"
        }

    async def work() -> None:
        reference = await started(local)
        made = await started(build)
        for one in (reference, made):
            await admitted(one.limiter, "k", 2 * LIMIT)
        assert series(made.metrics) == series(reference.metrics)
        assert len(series(made.metrics)) > 5
        text = made.metrics.text().decode()
        for reason in ("ok", "limit"):
            assert re.search(rf'operation="acquire",outcome="{reason}"\}} [1-9]', text)

    run_pausably(work())


@pytest.mark.parametrize(("limit", "per_s"), [(0, 1.0), (1, 0.0), (-1, 1.0)])
def test_limits_that_admit_nothing_are_refused(limit, per_s):
    with pytest.raises(ValueError, match="admits nothing"):
        LocalLimiter(limit, per_s, metrics=Metrics())
