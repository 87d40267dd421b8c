"""The HTTP side of a worker, in this process: answers, drain, and labels that stay few."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from targets.payments.app import metrics
from targets.payments.app.api import Api
from targets.payments.app.charges import Answer
from targets.payments.app.feed import PAGE, Feed
from targets.payments.app.logs import Log
from targets.payments.app.settings import Settings


class Charges:
    """Answers whatever it is told to."""

    def __init__(self) -> None:
        self.going_on = asyncio.Event()
        self.going_on.set()
        self.inside = asyncio.Event()

    async def charge(self, key: str, account: str, amount: int) -> Answer:
        self.inside.set()
        await self.going_on.wait()
        if account == "bug":
            raise ZeroDivisionError
        return Answer(201, {"key": key, "amount": amount, "charged": "yes"})

    async def find(self, key: str) -> Answer:
        await self.going_on.wait()
        return Answer(404, {"state": "unknown", "key": key})


class Bench:
    def __init__(self, mutant: str | None) -> None:
        clock = asyncio.get_running_loop().time
        self.charges: Any = Charges()
        log = Log("node-1", clock, lambda _line: None)
        settings = Settings(name="node-1", address="127.0.0.1", mutant=mutant)
        self.api = Api(settings, self.charges, Feed(random.Random(7)), clock, log)
        self.http = TestClient(TestServer(self.api.application(), host="127.0.0.1"))

    async def charge(self, key: str = "k", body: Any = None) -> Any:
        data = {"account": "a", "amount": 1} if body is None else body
        return await self.http.post("/charges", json=data, headers={"Idempotency-Key": key})


def on_bench(work: Callable[[Bench], Awaitable[None]], mutant: str | None = None) -> None:
    async def whole() -> None:
        bench = Bench(mutant)
        async with asyncio.timeout(20), bench.http:
            await work(bench)

    asyncio.run(whole())


def label_sets() -> set[tuple[tuple[str, str], ...]]:
    return {
        tuple(sorted(sample.labels.items()))
        for metric in metrics._REGISTRY.collect()
        for sample in metric.samples
    }


@pytest.mark.parametrize(
    ("key", "body"),
    [
        ("", {"account": "a", "amount": 1}),
        ("x" * 129, {"account": "a", "amount": 1}),
        ("a/b", {"account": "a", "amount": 1}),
        ("..", {"account": "a", "amount": 1}),
        ("a?b", {"account": "a", "amount": 1}),
        ("k", []),
        ("k", {"account": "a"}),
        ("k", {"account": "", "amount": 1}),
        ("k", {"account": 5, "amount": 1}),
        ("k", {"account": "a", "amount": 0}),
        ("k", {"account": "a", "amount": 1.5}),
        ("k", {"account": "a", "amount": True}),
        ("k", {"account": "a", "amount": 10**12}),
    ],
)
def test_wrong_input_is_told_what_is_wrong_with_it(key: str, body: Any) -> None:
    async def work(bench: Bench) -> None:
        answer = await bench.charge(key, body)
        assert (answer.status, (await answer.json())["charged"]) == (400, "no")
        assert not bench.charges.inside.is_set()

    on_bench(work)


def test_a_bug_is_not_a_500_and_promises_nothing() -> None:
    async def work(bench: Bench) -> None:
        answer = await bench.charge(body={"account": "bug", "amount": 1})
        assert (answer.status, (await answer.json())["charged"]) == (503, "unknown")
        assert bench.api.idle.is_set()

    on_bench(work)


def test_a_draining_worker_finishes_and_says_that_it_is_not_ready() -> None:
    async def work(bench: Bench) -> None:
        assert (await bench.http.get("/ready")).status == 200
        bench.charges.going_on.clear()
        charging = asyncio.create_task(bench.charge())
        await bench.charges.inside.wait()
        bench.api.draining = True
        assert not bench.api.idle.is_set()
        answer = await bench.http.get("/ready")
        assert (answer.status, answer.headers["Connection"]) == (503, "close")
        assert (await bench.http.get("/health")).status == 200
        bench.charges.going_on.set()
        answer = await charging
        assert (answer.status, answer.headers["Connection"]) == (201, "close")
        await bench.api.idle.wait()

    on_bench(work)


def test_the_feed_is_paged_and_every_node_has_the_same() -> None:
    one, other = Feed(random.Random(7)), Feed(random.Random(7))
    pages = [one.page(n) for n in range(one.pages)]
    assert pages == [other.page(n) for n in range(other.pages)]
    assert all(len(page) == PAGE for page in pages)
    assert len({offer.id for page in pages for offer in page}) == PAGE * one.pages

    async def work(bench: Bench) -> None:
        answer = await bench.http.get("/feed?page=3")
        assert [offer["id"] for offer in (await answer.json())["offers"]] == [
            offer.id for offer in one.page(3)
        ]
        for wrong in ("-1", "100", "x", "²"):
            assert (await bench.http.get("/feed", params={"page": wrong})).status == 400

    on_bench(work)


def test_labels_do_not_grow_with_what_people_send() -> None:
    async def work(bench: Bench) -> None:
        async def send(number: int) -> None:
            await bench.charge(f"key-{number}")
            await bench.charge(f"key-{number}", {"account": f"a{number}"})
            await bench.http.get(f"/charges/key-{number}")
            await bench.http.get(f"/nowhere/{number}")
            await bench.http.request(f"METHOD{number}", "/feed")
            await bench.http.get(f"/feed?page={number}")

        await send(0)
        before = label_sets()
        for number in range(1, 30):
            await send(number)
        assert label_sets() == before
        assert any(("route", "/charges/{key}") in labels for labels in before)
        assert not any("key-" in value for labels in before for _, value in labels)

    on_bench(work)


def test_slow_charges_do_not_hold_up_the_feed_unless_all_share_one_pool() -> None:
    async def held_up(bench: Bench) -> bool:
        bench.charges.going_on.clear()
        slow = [asyncio.create_task(bench.charge(f"k{n}")) for n in range(4)]
        await bench.charges.inside.wait()
        feed = asyncio.create_task(bench.http.get("/feed"))
        ready = await bench.http.get("/ready")
        assert ready.status == 200
        done, _ = await asyncio.wait([feed], timeout=0.2)
        bench.charges.going_on.set()
        await asyncio.gather(*slow, feed)
        return not done

    async def sound(bench: Bench) -> None:
        assert not await held_up(bench)

    async def mutant(bench: Bench) -> None:
        assert await held_up(bench)

    on_bench(sound)
    on_bench(mutant, "no-bulkhead")
