"""What every PubSub adapter must do: the same tests for all of them, with the same calls.

On Redis they start a server of their own, and so are live tests.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import pytest
from primitives.mesh import Mesh
from primitives.pubsub import Gap, Message
from primitives.pubsub.mesh import MeshPubSub
from primitives.pubsub.redis import RedisPubSub
from primitives.telemetry import Metrics

from tests.support.pubsub_worlds import HASTY_S, WORLDS, World
from tests.support.wires import on_loop, until

Run: TypeAlias = Callable[..., None]

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None,
    reason="redis-server is not on PATH: apt-get install redis-server",
)


@pytest.fixture(params=["mesh", pytest.param("redis", marks=[pytest.mark.live, needs_redis])])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a test's work in a world of one adapter."""
    kind = WORLDS[request.param]

    def run(work: Callable[[World], Coroutine[Any, Any, None]], **options: Any) -> None:
        async def whole() -> None:
            async with kind(**options) as world:
                await work(world)

        on_loop(whole)

    return run


def test_all_subscribers_get_all_messages_of_a_publisher_in_its_order(run: Run) -> None:
    async def work(world: World) -> None:
        a, b, c = await world.start("a", "b", "c")
        for node in (a, b, c):
            node.listen("red", "blue")
        for number in range(300):
            await a.publish("red" if number % 3 else "blue", n=number)
            await b.publish("blue", n=number)
            if number % 20 == 0:
                await asyncio.sleep(0)
        await until(lambda: all(len(node.messages) >= 600 for node in (a, b, c)))
        for node in (a, b, c):
            assert node.numbers("a") == node.numbers("b") == list(range(300))
            assert node.gaps == []
        assert c.messages[0].publisher in ("a", "b")
        assert {one.topic for one in c.messages if one.publisher == "b"} == {"blue"}
        assert b.counted("publish", "ok") == 300
        assert c.counted("deliver", "ok") == 600

    run(work)


def test_only_the_topic_and_only_while_subscribed(run: Run) -> None:
    async def work(world: World) -> None:
        a, b = await world.start("a", "b")
        got: list[tuple[str, int]] = []

        def note(message: Message) -> None:
            got.append((message.topic, message.payload["n"]))

        first = b.pubsub.subscribe("t", note)
        second = b.pubsub.subscribe("t", note)
        await a.publish("t", n=1)
        await a.publish("other", n=2)
        await until(lambda: len(got) == 2)
        first()
        first()  # twice is once
        await a.publish("t", n=3)
        await until(lambda: len(got) == 3)
        second()
        await a.publish("t", n=4)
        b.listen("last")
        await a.publish("last", n=5)
        await until(lambda: b.messages)
        assert got == [("t", 1), ("t", 1), ("t", 3)]

    run(work)


def test_a_node_hears_itself_at_once_whatever_becomes_of_the_network(run: Run) -> None:
    async def work(world: World) -> None:
        a, _b = await world.start("a", "b")
        a.listen("t")
        await world.cut_off("a")
        for number in range(10):
            await a.publish("t", n=number)
            assert a.numbers("a") == list(range(number + 1))

    run(work, silent_s=HASTY_S)


def test_everybody_gets_what_json_makes_of_a_payload(run: Run) -> None:
    async def work(world: World) -> None:
        a, b = await world.start("a", "b")
        a.listen("t")
        b.listen("t")
        payload = {"pair": (1, 2), "text": "ä\n", "none": None, "deep": {"list": [1.5, True]}}
        await a.pubsub.publish("t", payload)
        payload["later"] = "changed"
        await until(lambda: b.messages)
        wanted = {"pair": [1, 2], "text": "ä\n", "none": None, "deep": {"list": [1.5, True]}}
        assert a.messages == b.messages == [Message("t", "a", wanted)]
        for wrong in ({"object": object()}, {1: "one"}, ["no object"]):
            with pytest.raises(TypeError):
                await a.pubsub.publish("t", wrong)  # type: ignore[arg-type]
        await a.publish("t", n=1)
        await until(lambda: len(b.messages) == 2)
        assert b.gaps == []  # what was refused has no number

    run(work)


def test_a_callback_that_fails_disturbs_nobody(run: Run) -> None:
    async def work(world: World) -> None:
        a, b = await world.start("a", "b")

        def fail(message: Message) -> None:
            raise ZeroDivisionError(message.topic)

        for node in (a, b):
            node.pubsub.subscribe("t", fail)
            node.listen("t")
        await a.publish("t", n=1)
        await a.publish("t", n=2)
        await until(lambda: len(b.messages) == 2)
        assert a.numbers("a") == b.numbers("a") == [1, 2]
        assert a.counted("deliver", "failed") == b.counted("deliver", "failed") == 2

    run(work)


def test_what_callbacks_publish_comes_after_what_they_were_called_with(run: Run) -> None:
    async def work(world: World) -> None:
        a, b = await world.start("a", "b")

        def answer(message: Message) -> None:
            if message.payload["n"] < 5:
                coroutine = a.pubsub.publish("t", {"n": message.payload["n"] + 1})
                with pytest.raises(StopIteration):
                    coroutine.send(None)  # `publish` does not wait

        a.pubsub.subscribe("t", answer)
        a.listen("t")
        b.listen("t")
        await a.publish("t", n=0)
        await until(lambda: len(b.messages) == 6)
        assert a.numbers("a") == b.numbers("a") == [0, 1, 2, 3, 4, 5]

    run(work)


def test_subscribing_and_unsubscribing_in_a_callback(run: Run) -> None:
    async def work(world: World) -> None:
        (a,) = await world.start("a")
        got: list[str] = []

        def once(_message: Message) -> None:
            got.append("once")
            stop_once()
            stop_other()
            a.pubsub.subscribe("t", lambda _: got.append("new"))

        stop_once = a.pubsub.subscribe("t", once)
        stop_other = a.pubsub.subscribe("t", lambda _: got.append("other"))
        await a.publish("t", n=1)
        assert got == ["once"]
        await a.publish("t", n=2)
        assert got == ["once", "new"]

    run(work)


def test_what_is_missed_is_announced_though_nothing_more_is_published(run: Run) -> None:
    async def work(world: World) -> None:
        a, b, c = await world.start("a", "b", "c")
        b.listen("t")
        c.listen("t")
        await a.publish("t", n=1)
        await until(lambda: b.messages and c.messages)
        await world.cut_off("b")
        await a.publish("t", n=2)
        await until(lambda: c.numbers("a") == [1, 2])
        before = len(b.gaps)
        await world.mend("b")
        await until(lambda: {"a", None} & {gap.publisher for gap in b.gaps[before:]})
        assert b.numbers("a") == [1]
        await a.publish("t", n=3)
        await until(lambda: b.numbers("a") == [1, 3])
        # The two that always heard each other missed nothing of each other.
        assert all(gap.publisher == "b" for gap in c.gaps)

    run(work, silent_s=HASTY_S)


def test_under_resets_order_holds_and_every_hole_is_announced_in_its_place(run: Run) -> None:
    async def work(world: World) -> None:
        a, b = await world.start("a", "b")
        b.listen("t")
        number = 0
        for _ in range(5):
            for _ in range(100):
                await a.publish("t", n=number)
                number += 1
                if number % 10 == 0:
                    await asyncio.sleep(0.001)
            world.reset("b" if number % 200 else "a")
        of_resets = number
        while not b.numbers("a") or b.numbers("a")[-1] < of_resets:
            await a.publish("t", n=number)
            number += 1
            await asyncio.sleep(0.01)
        assert holes_without_gap(b.seen) == []

    run(work)


def holes_without_gap(seen: list[Message | Gap]) -> list[tuple[int, int]]:
    """Neighbours whose numbers do not follow each other, with no gap announced in between."""
    found, before, announced = [], -1, False
    for one in seen:
        if isinstance(one, Gap):
            announced = True
            continue
        number = one.payload["n"]
        if number <= before or (number != before + 1 and not announced):
            found.append((before, number))
        before, announced = number, False
    return found


def test_who_publishes_more_than_the_queue_takes_has_it_dropped_and_announced(run: Run) -> None:
    async def work(world: World) -> None:
        a, b = await world.start("a", "b")
        b.listen("t")
        for number in range(100):
            await a.publish("t", n=number)  # the loop does not go round meanwhile
        await until(lambda: b.gaps)
        await a.publish("t", n=100)
        await until(lambda: b.numbers("a")[-1:] == [100])
        assert 0 < a.counted("relay", "dropped") < 100
        assert len(b.messages) == 101 - a.counted("relay", "dropped")
        assert b.gaps == [Gap("a", "lost")]
        assert holes_without_gap(b.seen) == []

    run(work, queue=20)


def test_a_publisher_that_starts_again_is_heard_and_its_end_is_a_gap(run: Run) -> None:
    async def work(world: World) -> None:
        a, b = await world.start("a", "b")
        b.listen("t")
        await a.publish("t", n=1)
        await until(lambda: b.numbers("a") == [1])
        await world.stop("a")
        (again,) = await world.start("a")
        await again.publish("t", n=2)
        await until(lambda: b.numbers("a") == [1, 2])
        assert Gap("a", "restarted") in b.seen[2:-1]  # between the two

    run(work)


def test_who_comes_late_is_told_that_it_missed_something(run: Run) -> None:
    async def work(world: World) -> None:
        (a,) = await world.start("a")
        await a.publish("t", n=1)
        (b,) = await world.start("b")
        assert b.seen == [Gap("a", "joined")]
        assert a.seen == [Gap("b", "joined")]  # which may have published, unheard, and ended

    run(work)


def test_who_falls_silent_is_a_peer_no_more_and_may_have_been_missed(run: Run) -> None:
    async def work(world: World) -> None:
        a, b, _c = await world.start("a", "b", "c")
        assert a.pubsub.peers == {"b", "c"}
        await world.stop("c")
        await until(lambda: a.pubsub.peers == {"b"} and b.pubsub.peers == {"a"})
        await until(lambda: Gap("c", "silent") in a.gaps)

    run(work, silent_s=HASTY_S)


def test_all_adapters_have_the_same_series() -> None:
    """So that dashboards and alerts outlive the change of an adapter."""

    def series(metrics: Metrics) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
        return {
            (sample.name, tuple(sorted({**sample.labels, "adapter": ""}.items())))
            for family in metrics.registry.collect()
            for sample in family.samples
            if sample.labels.get("component") == "pubsub" and not sample.name.endswith("_created")
        }

    of_mesh, of_redis = Metrics(), Metrics()
    mesh = Mesh("a", "127.0.0.1", 0, {}, random=random.Random(1), metrics=of_mesh, incarnation=1)
    MeshPubSub(mesh, metrics=of_mesh)
    RedisPubSub("a", "127.0.0.1", 1, random=random.Random(1), metrics=of_redis)
    assert series(of_mesh) == series(of_redis) != set()
