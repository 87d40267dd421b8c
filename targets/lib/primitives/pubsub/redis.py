"""PubSub through Redis: each node publishes to one channel, and is subscribed to it.

Redis drops what is published while a subscriber is away, and does not say so; numbers and beats do.
A node hears its own beats through Redis as well. If it does not for a while, one of its two
connections is dead, whatever TCP believes (bytes may vanish one way only), and both are made anew.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Coroutine
from typing import Any, NoReturn

import orjson
import redis.asyncio
from redis.asyncio.client import PubSub as Subscription
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ..names import address_of
from ..telemetry import Metrics, emit
from .numbered import Beat, NumberedPubSub

TIMEOUT_S = 1.0
"""For connecting, subscribing and each batch that is published."""

BACKOFF_S = 0.05
BACKOFF_MOST_S = 0.5
_BATCH = 100


class RedisPubSub(NumberedPubSub):
    """`host` is looked up whenever it connects. `queue` messages may wait to be published; what
    comes while there is no connection, or while they wait, is dropped. `incarnation` is, unless
    given, the loop's time in microseconds."""

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        *,
        random: random.Random,
        metrics: Metrics,
        channel: str = "pubsub",
        queue: int = 1000,
        beat: Beat | None = None,
        incarnation: int | None = None,
    ) -> None:
        super().__init__(name, adapter="redis", metrics=metrics, beat=beat)
        self._host = host
        self._port = port
        self._random = random
        self._channel = channel
        self._limit = queue
        self._started_as = incarnation
        self._queue: deque[bytes] = deque()
        self._next_beat: bytes | None = None
        self._filled = asyncio.Event()
        self._connected = False
        self._heard_self_at = 0.0
        self._times_connected = 0

    @property
    def _incarnation(self) -> int:
        if self._started_as is None:
            self._started_as = int(asyncio.get_running_loop().time() * 1e6)
        return self._started_as

    async def start(self) -> None:
        self._tasks.run(self._keep_connected())
        await super().start()

    def _relay(self, item: list[Any]) -> None:
        taken = self._connected and len(self._queue) < self._limit
        if taken:
            self._queue.append(orjson.dumps(item))
            self._filled.set()
        self._meter.count("relay", "ok" if taken else "dropped")

    def _relay_beat(self, item: list[Any]) -> None:
        # The latest is enough, and right wherever it comes after the messages that it counts.
        self._next_beat = orjson.dumps(item)
        self._filled.set()

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        in_vain = 0
        while True:
            begun = loop.time()
            try:
                await self._connect_and_serve()
            except (RedisError, OSError, TimeoutError) as error:
                if in_vain == 0:
                    emit("redis-lost", error=repr(error))
                self._meter.count("connect", "failed")
            in_vain = 0 if loop.time() - begun > 2 * self._beat.silent_s else min(in_vain + 1, 20)
            most_s = min(BACKOFF_MOST_S, BACKOFF_S * 2**in_vain)
            await asyncio.sleep(self._random.uniform(0, most_s))

    async def _connect_and_serve(self) -> None:
        client = redis.asyncio.Redis(
            host=address_of(self._host),
            port=self._port,
            socket_connect_timeout=TIMEOUT_S,
            socket_timeout=None,  # a subscriber waits as long as nothing is said; beats watch it
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            driver_info=None,
        )
        subscription = client.pubsub()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await subscription.subscribe(self._channel)
                # The answer: from here on nothing is missed.
                await subscription.get_message(timeout=None)
            self._begin()
            # Not a TaskGroup: that of Python 3.11 forgets a cancellation which arrives while it
            # gathers what has failed.
            await _first_failure(self._read(subscription), self._write(client), self._watch())
        finally:
            if self._connected:
                self._end()
            await subscription.aclose()  # type: ignore[no-untyped-call]
            await client.aclose()

    def _begin(self) -> None:
        self._connected = True
        self._heard_self_at = asyncio.get_running_loop().time()
        self._times_connected += 1
        self._meter.count("connect")
        emit("redis-connected", times=self._times_connected)
        if self._times_connected > 1:
            self._tell_gap(None, "reconnected")
        self._relay_beat(self._beat_item())

    def _end(self) -> None:
        self._connected = False
        # Whether they would still arrive in order and once is not known: they are lost.
        self._meter.count("relay", "dropped", len(self._queue))
        self._queue.clear()
        self._meter.gauge("queued", 0)
        self._hear_nobody()

    async def _read(self, subscription: Subscription) -> NoReturn:
        while True:
            received = await subscription.get_message(timeout=None)
            if received is None or received["type"] != "message":
                continue
            try:
                item = orjson.loads(received["data"])
            except orjson.JSONDecodeError:
                item = None
            if isinstance(item, list) and item[:2] == [self._name, self._incarnation]:
                self._heard_self_at = asyncio.get_running_loop().time()
            else:
                self._received(item)

    async def _write(self, client: redis.asyncio.Redis) -> NoReturn:
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._queue or self._next_beat:
                self._meter.gauge("queued", len(self._queue))
                pipeline = client.pipeline(transaction=False)
                for _ in range(min(_BATCH, len(self._queue))):
                    pipeline.publish(self._channel, self._queue.popleft())
                if self._next_beat and not self._queue:
                    pipeline.publish(self._channel, self._next_beat)
                    self._next_beat = None
                async with asyncio.timeout(TIMEOUT_S):
                    await pipeline.execute()
            self._meter.gauge("queued", 0)

    async def _watch(self) -> NoReturn:
        loop = asyncio.get_running_loop()
        silent_s = self._beat.silent_s
        while True:
            due = loop.time() + self._beat.every_s
            await asyncio.sleep(self._beat.every_s)
            # A node that stood still itself has sent no beats either.
            if loop.time() > due + silent_s / 2:
                self._heard_self_at = loop.time()
            elif loop.time() - self._heard_self_at > silent_s:
                raise ConnectionError(f"own beats have not come back for {silent_s:g} s")


async def _first_failure(*works: Coroutine[Any, Any, NoReturn]) -> None:
    """Do all of them until one fails; raises what it raised, after the others have ended too."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
