"""Numbered items on a network that loses, repeats and delays them: no hole goes unannounced."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from primitives.pubsub import Gap, Message
from primitives.pubsub.numbered import NumberedPubSub
from primitives.telemetry import Metrics

from tests.support.virtual_time import run_virtually


class Bare(NumberedPubSub):
    """Keeps what it should carry."""

    def __init__(self, name: str, incarnation: int = 1) -> None:
        super().__init__(name, adapter="bare", metrics=Metrics(), beat=None)
        self.started_as = incarnation
        self.said: list[Any] = []
        self.seen: list[Message | Gap] = []
        self.subscribe("t", self.seen.append)
        self.on_gap(self.seen.append)

    @property
    def _incarnation(self) -> int:
        return self.started_as

    def _relay(self, item: list[Any]) -> None:
        self.said.append(item)

    def _relay_beat(self, item: list[Any]) -> None:
        self.said.append(item)

    def beat(self) -> None:
        self._relay_beat(self._beat_item())

    def hear(self, item: Any) -> None:
        self._received(item)


# Each act is the publisher's, or what the network does with what it said last.
acts = st.lists(
    st.sampled_from(["publish", "publish", "beat", "restart", "deliver", "lose", "repeat", "late"]),
    max_size=60,
)


@settings(max_examples=60)
@given(acts)
def test_what_is_delivered_is_in_order_once_and_every_hole_is_announced(acts: list[str]) -> None:
    async def work() -> None:
        speaker, hearer = Bare("a"), Bare("b")
        published = 0
        way: list[Any] = []
        heard: list[Any] = []
        for act in acts:
            if act == "publish":
                published += 1
                await speaker.publish("t", {"n": published})
            elif act == "beat":
                speaker.beat()
            elif act == "restart":
                before = speaker
                speaker = Bare("a", speaker.started_as + 1)
                speaker.said = before.said
            way += speaker.said
            speaker.said.clear()
            if act == "deliver":
                for item in way:
                    hearer.hear(item)
                heard += way
                way = []
            elif act == "lose" and way:
                way.pop()
            elif act == "repeat" and heard:
                hearer.hear(heard[len(heard) // 2])
            elif act == "late" and len(way) > 1:
                way.append(way.pop(0))
        for item in way:
            hearer.hear(item)
        speaker.beat()
        hearer.hear(speaker.said[-1])
        assert_every_hole_is_announced(hearer.seen, published)

    run_virtually(work())


def assert_every_hole_is_announced(seen: list[Message | Gap], published: int) -> None:
    before, announced = 0, False
    for one in seen:
        if isinstance(one, Gap):
            announced = True
            continue
        number = one.payload["n"]
        assert number > before
        assert number == before + 1 or announced
        before, announced = number, False
    assert before == published or announced


def test_a_gap_comes_before_the_message_that_shows_it() -> None:
    async def work() -> None:
        hearer = Bare("b")
        hearer.hear(["a", 1, 1, "t", {"n": 1}])
        hearer.hear(["a", 1, 3, "t", {"n": 3}])
        hearer.hear(["a", 1, 2, "t", {"n": 2}])  # too late
        assert hearer.seen == [
            Gap("a", "joined"),
            Message("t", "a", {"n": 1}),
            Gap("a", "lost"),
            Message("t", "a", {"n": 3}),
        ]

    run_virtually(work())


def test_a_former_start_is_not_heard_any_more() -> None:
    async def work() -> None:
        hearer = Bare("b")
        hearer.hear(["a", 2, 1, "t", {"n": 2}])
        hearer.hear(["a", 1, 7, "t", {"n": 1}])
        hearer.hear(["a", 1, 8])
        assert hearer.seen == [Gap("a", "joined"), Message("t", "a", {"n": 2})]

    run_virtually(work())


def test_one_who_beats_no_more_is_silent_once_and_a_peer_again_when_it_does() -> None:
    async def work() -> None:
        hearer = Bare("b")
        await hearer.start()
        hearer.hear(["a", 1, 0])
        assert hearer.peers == {"a"}
        await asyncio.sleep(5)
        assert hearer.peers == frozenset()
        assert hearer.seen == [Gap("a", "joined"), Gap("a", "silent")]
        hearer.hear(["a", 1, 0])
        assert hearer.peers == {"a"}
        assert len(hearer.seen) == 2
        await hearer.close()

    run_virtually(work())


def test_what_is_no_item_is_counted_and_ignored() -> None:
    async def work() -> None:
        hearer = Bare("b")
        for item in (None, "text", [], ["a", "1", 1], ["a", 1, 1, "t", "no object"], {"a": 1}):
            hearer.hear(item)
        assert hearer.seen == []
        assert hearer.peers == frozenset()

    run_virtually(work())
