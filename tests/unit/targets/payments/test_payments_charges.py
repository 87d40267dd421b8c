"""What a charge does when its dependencies fail: one effect per key, and honest answers."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from targets.payments.app.charges import Answer, Charges
from targets.payments.app.dependencies.database import open_database
from targets.payments.app.dependencies.keys import LEASE_S, Keys
from targets.payments.app.guard import UnavailableError, UnknownError
from targets.payments.app.settings import Settings


class Later:
    """Keeps what a charge leaves for after its answer."""

    def __init__(self, kept: list[Awaitable[None]]) -> None:
        self.begin = kept.append


class Bench:
    """A worker's charges on the real rules of the store, with a provider that obeys a script."""

    def __init__(self, mutant: str | None = None) -> None:
        self.later_s = 0.0
        self.keys = Keys(open_database(":memory:"), self.clock, 100.0)
        self.effects: dict[str, str] = {}  # charge id → key
        self.script: list[str] = []
        self.notified: list[str] = []
        self.background: list[Awaitable[None]] = []
        self.random = random.Random(1)
        self.first = self.worker(mutant)
        self.second = self.worker(mutant, "node-2")

    def clock(self) -> float:
        return time.monotonic() + self.later_s

    def worker(self, mutant: str | None, node: str = "node-1") -> Charges:
        settings = Settings(name=node, address="127.0.0.1", mutant=mutant)
        stand_in: Any = self
        background: Any = Later(self.background)
        return Charges(settings, stand_in, stand_in, stand_in, background, self.clock, self.random)

    # As services, with a provider and a store

    @property
    def provider(self) -> Any:
        return self

    @property
    def store(self) -> Any:
        return self

    async def ask(self, _path: str, body: dict[str, Any], **_named: Any) -> None:
        match self.script.pop(0) if self.script else "ok":
            case "refused":
                raise UnavailableError("provider: breaker open")
            case "lost on the way":
                raise UnknownError("provider: TimeoutError")
            case "answer lost":
                self.effects[body["id"]] = body["key"]
                raise UnknownError("provider: TimeoutError")
            case "killed":
                self.effects[body["id"]] = body["key"]
                raise asyncio.CancelledError
        self.effects[body["id"]] = body["key"]

    async def begin(self, key: str, print_: str, id: str, owner: str, _deadline: float) -> Any:
        self._reach("begin")
        return dataclasses.asdict(self.keys.begin(key, print_, id, owner))

    async def finish(self, key: str, print_: str, id: str, outcome: Any, _deadline: float) -> Any:
        self._reach("finish")
        return self.keys.finish(key, print_, id, outcome)

    async def find(self, key: str, _deadline: float) -> Any:
        self._reach("find")
        found = self.keys.find(key)
        return None if found is None else dataclasses.asdict(found)

    async def release(self, key: str, owner: str, _deadline: float) -> None:
        self.keys.release(key, owner)

    def _reach(self, what: str) -> None:
        if self.script and self.script[0] == f"no {what}":
            self.script.pop(0)
            raise UnavailableError("store: breaker open")

    # As outbox and analytics

    async def deliver(self, id: str, _key: str, _amount: int, _deadline: float) -> bool:
        self.notified.append(id)
        return True

    def offer(self, _event: object) -> bool:
        return False

    # What the tests do

    async def charge(self, *script: str, amount: int = 5, on: Charges | None = None) -> Answer:
        self.script = list(script)
        answer = await (on or self.first).charge("k", "a", amount)
        while self.background:
            await self.background.pop()
        return answer


def on_bench(work: Callable[[Bench], Awaitable[None]], mutant: str | None = None) -> None:
    async def whole() -> None:
        await work(Bench(mutant))

    asyncio.run(whole())


def test_a_charge_is_made_and_repeated_without_effect() -> None:
    async def work(bench: Bench) -> None:
        made = await bench.charge()
        assert made.status == 201
        assert (made.body["amount"], made.body["analytics"]) == (5, "dropped")
        again = await bench.charge(on=bench.second)
        assert (again.status, again.headers) == (200, {"Idempotent-Replayed": "true"})
        assert again.body["charge_id"] == made.body["charge_id"]
        assert len(bench.effects) == len(bench.notified) == 1
        assert (await bench.second.find("k")).body["amount"] == 5

    on_bench(work)


def test_another_payload_under_the_same_key_is_refused() -> None:
    async def work(bench: Bench) -> None:
        await bench.charge()
        assert (await bench.charge(amount=6)).status == 422
        assert len(bench.effects) == 1

    on_bench(work)


@pytest.mark.parametrize(
    ("script", "degraded", "charged", "effects"),
    [
        (["no begin"], "store", "no", 0),
        (["refused"], "provider", "no", 0),
        (["lost on the way"], "provider", "unknown", 0),
        (["answer lost"], "provider", "unknown", 1),
        (["ok", "no finish"], "store", "unknown", 1),
    ],
)
def test_whatever_fails_a_repeated_request_puts_right(
    script: list[str], degraded: str, charged: str, effects: int
) -> None:
    async def work(bench: Bench) -> None:
        failed = await bench.charge(*script)
        assert (failed.status, failed.headers) == (503, {"Retry-After": "1"})
        assert (failed.body["degraded"], failed.body["charged"]) == (degraded, charged)
        assert len(bench.effects) == effects
        assert (await bench.first.find("k")).status == 404
        bench.later_s += LEASE_S
        assert (await bench.charge(on=bench.second)).status == 201
        assert len(bench.effects) == 1

    on_bench(work)


def test_a_worker_killed_after_the_provider_was_called_leaves_it_to_the_next() -> None:
    async def work(bench: Bench) -> None:
        with pytest.raises(asyncio.CancelledError):
            await bench.charge("killed")
        busy = await bench.charge(on=bench.second)
        assert (busy.status, busy.body["charged"]) == (409, "no")
        bench.later_s += LEASE_S
        assert (await bench.charge(on=bench.second)).status == 201
        assert len(bench.effects) == 1

    on_bench(work)


def test_a_store_that_is_away_makes_a_status_unknown_and_not_absent() -> None:
    async def work(bench: Bench) -> None:
        bench.script = ["no find"]
        assert (await bench.first.find("k")).status == 503

    on_bench(work)


@pytest.mark.parametrize(
    ("mutant", "script"),
    [
        ("no-idempotency-key", []),
        ("effect-before-record", ["answer lost"]),
    ],
)
def test_mutants_charge_twice(mutant: str, script: list[str]) -> None:
    async def work(bench: Bench) -> None:
        await bench.charge(*script)
        await bench.charge()
        assert Counter(bench.effects.values()) == {"k": 2}

    on_bench(work, mutant)


def test_the_mutant_with_a_cache_denies_a_charge_that_was_made() -> None:
    async def work(bench: Bench) -> None:
        assert (await bench.first.find("k")).status == 404
        await bench.charge()
        assert (await bench.first.find("k")).status == 404
        assert (await bench.second.find("k")).status == 200

    on_bench(work, "stale-ledger-read")
