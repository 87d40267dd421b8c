"""Three chat services under kills, netsplits and reconnects, on virtual time: what is promised."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.chat_world import Chatter, World
from tests.support.virtual_mesh import run_pausably

Played = tuple[list[Chatter], set[str], set[str]]


async def play(home: Path, seed: int, mutant: str | None = None) -> Played:
    """Seconds of chatter and trouble; the clients at the end, and the messages and questions that
    were acknowledged."""
    random = Random(seed)
    acknowledged: set[str] = set()
    asked: set[str] = set()
    async with World(home, random, mutant=mutant) as world:
        chatters = [Chatter(world, name, f"{name}{n}") for name in world.names for n in range(2)]

        async def chat(chatter: Chatter, random: Random) -> None:
            for n in range(20):
                await asyncio.sleep(random.uniform(0, 0.4))
                if random.random() < 0.1:
                    chatter.disconnect()
                if not chatter.live and not await chatter.connect():
                    continue
                name = f"{chatter.user}-{n}"
                # Clients repeat what they got no answer to, and now and then what they did.
                for _ in range(2 if random.random() < 0.2 else 1):
                    answer = await chatter.say(name)
                    if answer is not None and answer["status"] == "ok":
                        acknowledged.add(name)
                if random.random() < 0.1:
                    answer = await chatter.push("ask", {"id": f"{name}?", "prompt": "a node"})
                    if answer is not None and answer["status"] == "ok":
                        asked.add(answer["response"]["stream"])

        async def trouble() -> None:
            for _ in range(4):
                await asyncio.sleep(random.uniform(0.2, 1.0))
                victim = random.choice(world.names)
                if random.random() < 0.5:
                    world.net.split({victim}, set(world.names) - {victim})
                    await asyncio.sleep(random.uniform(0.2, 1.5))
                    world.net.heal()
                else:
                    world.kill(victim)
                    for chatter in chatters:
                        if chatter.node == victim:
                            chatter.disconnect()
                    await asyncio.sleep(random.uniform(0.1, 1.0))
                    await world.start(victim)

        await asyncio.gather(
            trouble(), *(chat(chatter, Random(f"{seed}{chatter.user}")) for chatter in chatters)
        )
        try:
            await asyncio.sleep(5)  # answers end
            await world.settled()
        except TimeoutError:
            assert mutant is not None
        for chatter in chatters:
            if not chatter.live:
                await chatter.connect()
    return chatters, acknowledged, asked


def faults(chatters: list[Chatter], acknowledged: set[str], asked: set[str]) -> set[str]:
    """What of the promises was broken."""
    found = set()
    for chatter in chatters:
        times = Counter(message["id"] for message in chatter.seen)
        if acknowledged - set(times):
            found.add("lost")
        if max(times.values(), default=0) > 1:
            found.add("duplicate")
        for origin in {message["origin"] for message in chatter.seen}:
            places = [message["seq"] for message in chatter.seen if message["origin"] == origin]
            if places != sorted(places):
                found.add("out of order")
        if not all(stream in chatter.answers for stream in asked):
            found.add("answer lost")
        if not all(answer.whole for answer in chatter.answers.values()):
            found.add("answer short")
    if len({tuple(sorted(shown(chatter))) for chatter in chatters}) > 1:
        found.add("differs")
    return found


def shown(chatter: Chatter) -> list[tuple[Any, ...]]:
    return [(one["clock"], one["origin"], one["seq"], one["id"]) for one in chatter.seen]


@pytest.mark.parametrize("seed", range(3))
def test_nothing_acknowledged_is_lost_doubled_or_disordered(tmp_path, seed):
    chatters, acknowledged, asked = run_pausably(play(tmp_path, seed))
    assert len(acknowledged) > 50 and len(asked) > 3
    assert faults(chatters, acknowledged, asked) == set()


@pytest.mark.parametrize(
    ("mutant", "broken"),
    [
        ("ack-before-write", "lost"),
        ("no-catch-up", "lost"),
        ("cursor-off-by-one", "duplicate"),
        ("duplicate-on-retry", "duplicate"),
        ("no-anti-entropy", "lost"),
        ("order-by-arrival", "out of order"),
        ("stream-silently-short", "answer short"),
    ],
)
def test_a_mutant_breaks_its_promise(tmp_path, mutant, broken):
    def found(seed):
        home = tmp_path / str(seed)
        home.mkdir()
        return faults(*run_pausably(play(home, seed, mutant)))

    assert any(broken in found(seed) for seed in range(5))
