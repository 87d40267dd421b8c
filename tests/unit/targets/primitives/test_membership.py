"""Gossip membership on virtual time: who is found, suspected, dead, and who comes back."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primitives.membership import Member, Membership
from primitives.telemetry import Metrics

from tests.support.virtual_mesh import VirtualNet, run_pausably

PROBE_S = 0.2
SUSPECT_S = 0.8
SEEDS = {"a": ("a", 7946), "b": ("b", 7946)}


class World:
    """Nodes that know `a` and `b` at first, and what they believe."""

    def __init__(self, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.net = VirtualNet(self.random)
        self.nodes: dict[str, Membership] = {}
        self.changes: dict[str, list[Member]] = {}

    async def start(self, *names: str) -> None:
        for name in names:
            mesh = self.net.start(name)
            mesh.add_peer = lambda *_: None  # type: ignore[method-assign]
            membership = self.nodes[name] = Membership(
                mesh,
                seeds=SEEDS,
                random=random.Random(self.random.random()),
                metrics=Metrics(),
                probe_s=PROBE_S,
                suspect_s=SUSPECT_S,
                forget_s=20.0,
            )
            self.changes[name] = []
            membership.on_change(self.changes[name].append)
            await mesh.task(membership.start())

    def kill(self, name: str) -> None:
        del self.nodes[name]
        self.net.stop(name)

    async def until(self, condition: Callable[[], Any], within_s: float) -> float:
        """How long it took."""
        begun = asyncio.get_running_loop().time()
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.01)
        return asyncio.get_running_loop().time() - begun

    def all_see(self, names: Iterable[str], of: Iterable[str] | None = None) -> bool:
        wanted = frozenset(names)
        return all(
            self.nodes[name].alive == wanted
            and all(self.nodes[name].members[one].status == "alive" for one in wanted)
            for name in (of or self.nodes)
        )


def virtually(work: Callable[[World], Coroutine[Any, Any, None]], seed: int = 1) -> None:
    async def whole() -> None:
        world = World(seed)
        await work(world)
        for name in tuple(world.nodes):
            await world.nodes[name].close()
            world.kill(name)

    run_pausably(whole())


def test_all_find_all_from_one_seed() -> None:
    async def work(world: World) -> None:
        await world.start("c", "d", "e")
        await asyncio.sleep(2)
        await world.start("a")
        took_s = await world.until(lambda: world.all_see("acde"), 5)
        assert took_s < 1
        assert {one.name for one in world.changes["c"]} == set("acde")

    virtually(work)


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_node_is_dead_for_all_after_the_suspicion(seed: int) -> None:
    async def work(world: World) -> None:
        await world.start(*"abcde")
        await world.until(lambda: world.all_see("abcde"), 5)
        world.kill("e")
        took_s = await world.until(lambda: world.all_see("abcd"), 5)
        assert SUSPECT_S <= took_s < SUSPECT_S + 3 * PROBE_S
        for name in "abcd":
            told = [one.status for one in world.changes[name] if one.name == "e"]
            assert told[-2:] == ["suspect", "dead"]

    virtually(work, seed)


def test_one_that_is_started_again_is_a_newer_one() -> None:
    async def work(world: World) -> None:
        await world.start(*"abc")
        await world.until(lambda: world.all_see("abc"), 5)
        first = world.nodes["a"].members["c"].incarnation
        world.kill("c")
        await world.start("c")
        await world.until(lambda: world.all_see("abc"), 5)
        for name in "abc":
            assert world.nodes[name].members["c"].incarnation > first
        # While it was away for less than a suspicion, it was never dead.
        assert all(one.status != "dead" for one in world.changes["a"])

    virtually(work)


def test_the_sides_of_a_netsplit_bury_each_other_and_meet_again_as_the_same() -> None:
    async def work(world: World) -> None:
        await world.start(*"abcde")
        await world.until(lambda: world.all_see("abcde"), 5)
        before = {name: one.incarnation for name, one in world.nodes["a"].members.items()}
        world.net.split("ab", "cde")
        await world.until(lambda: world.all_see("ab", "ab") and world.all_see("cde", "cde"), 6)
        world.net.heal()
        took_s = await world.until(lambda: world.all_see("abcde"), 5)
        assert took_s < 1
        for membership in world.nodes.values():
            after = {name: one.incarnation for name, one in membership.members.items()}
            assert after == before
            assert all(one.refutations > 0 for one in membership.members.values())

    virtually(work)


@pytest.mark.parametrize("seed", range(5))
def test_who_was_cut_off_alone_does_not_make_the_others_bury_each_other(seed: int) -> None:
    """It comes back with rumours that all others are dead."""

    async def work(world: World) -> None:
        await world.start(*"abcd")
        await world.until(lambda: world.all_see("abcd"), 5)
        world.net.split("a", "bcd")
        await world.until(lambda: world.all_see("bcd", "bcd") and world.all_see("a", "a"), 8)
        world.net.heal()
        await world.until(lambda: world.all_see("abcd"), 5)
        for name in "bcd":
            buried = {one.name for one in world.changes[name] if one.status == "dead"}
            assert buried == {"a"}

    virtually(work, seed)


@pytest.mark.parametrize("ways", [[("a", "b")], [("a", "b"), ("b", "a")]])
def test_two_that_only_others_reach_stay_members(ways: list[tuple[str, str]]) -> None:
    async def work(world: World) -> None:
        await world.start(*"abcd")
        await world.until(lambda: world.all_see("abcd"), 5)
        world.net.cut(ways)
        for _ in range(100):
            await asyncio.sleep(0.1)
            assert all(node.alive == set("abcd") for node in world.nodes.values())

    virtually(work)


def test_a_paused_node_is_buried_and_refutes_when_it_goes_on() -> None:
    async def work(world: World) -> None:
        await world.start(*"abcd")
        await world.until(lambda: world.all_see("abcd"), 5)
        world.net.pause("d")
        await world.until(lambda: world.all_see("abc", "abc"), 8)
        world.net.resume("d")
        await world.until(lambda: world.all_see("abcd"), 5)
        assert world.nodes["a"].members["d"].refutations > 0

    virtually(work)


def test_a_short_pause_is_only_a_suspicion() -> None:
    async def work(world: World) -> None:
        await world.start(*"abcd")
        await world.until(lambda: world.all_see("abcd"), 5)
        world.net.pause("d")
        await world.until(lambda: world.nodes["a"].members["d"].status == "suspect", 8)
        assert "d" in world.nodes["a"].alive
        world.net.resume("d")
        await world.until(lambda: world.all_see("abcd"), 5)
        assert all(one.status != "dead" for name in "abc" for one in world.changes[name])

    virtually(work)


def test_who_leaves_is_dead_at_once_and_forgotten_later() -> None:
    async def work(world: World) -> None:
        await world.start(*"abc")
        await world.until(lambda: world.all_see("abc"), 5)
        begun = asyncio.get_running_loop().time()
        await world.net.nodes["c"].task(world.nodes["c"].leave())
        await world.nodes["c"].close()
        world.kill("c")
        assert asyncio.get_running_loop().time() - begun < 0.1
        assert world.all_see("ab")
        assert world.nodes["a"].members["c"].status == "dead"
        await world.until(lambda: all("c" not in n.members for n in world.nodes.values()), 25)
        await asyncio.sleep(30)
        assert all("c" not in node.members for node in world.nodes.values())

    virtually(work)


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.data())
def test_after_any_disturbance_all_agree_again(seed: int, data: st.DataObject) -> None:
    names = "abcde"
    acts = data.draw(
        st.lists(
            st.tuples(st.sampled_from(["split", "kill", "pause", "cut"]), st.sampled_from(names)),
            max_size=5,
        )
    )

    async def work(world: World) -> None:
        await world.start(*names)
        for act, name in acts:
            if act == "split":
                world.net.split(name, set(names) - {name})
            elif act == "cut":
                world.net.cut([(name, names[(names.index(name) + 1) % 5])])
            elif act == "pause" and name in world.nodes:
                world.net.pause(name)
            elif act == "kill" and name in world.nodes:
                world.kill(name)
            await asyncio.sleep(world.random.uniform(0.1, 3))
            if act == "pause" and name in world.nodes:
                world.net.resume(name)
        world.net.heal()
        await world.start(*(set(names) - set(world.nodes)))
        await world.until(lambda: world.all_see(names), 10)

    virtually(work, seed)


def test_a_start_that_looks_older_than_what_is_remembered_is_believed_in_the_end() -> None:
    """As after the clock of starts went back: the node takes a greater number."""

    async def work(world: World) -> None:
        await world.start("a", "b", "c")
        await world.until(lambda: world.all_see("abc"), 5)
        membership = world.nodes["a"]
        old = Member("b", "alive", 10**6, 3, "b", 0)
        membership._learn("z", [old.to_json()])

        def seen() -> set[int]:
            return {node.members["b"].incarnation for node in world.nodes.values()}

        await world.until(lambda: seen() == {10**6 + 1}, 5)
        assert world.all_see("abc")

    virtually(work)


def test_two_that_think_each_other_dead_though_their_link_is_up_tell_each_other() -> None:
    """As when what they told each other when it came up was lost."""

    async def work(world: World) -> None:
        await world.start("a", "b")
        await world.until(lambda: world.all_see("ab"), 5)
        for one, other in ("ab", "ba"):
            membership = world.nodes[one]
            dead = dataclasses.replace(membership.members[other], status="dead")
            membership._set(dead)
        assert world.all_see("a", "a")
        assert world.all_see("b", "b")
        await world.until(lambda: world.all_see("ab"), 2)

    virtually(work)


def test_news_of_dead_strangers_is_not_passed_on() -> None:
    """Or nodes that forget the dead at different times would remind each other for ever."""

    async def work(world: World) -> None:
        await world.start("a")
        world.net.nodes["a"].call("membership-ping", "z", [["x", "dead", 1, 0, "x", 1]])
        assert set(world.nodes["a"].members) == {"a"}

    virtually(work)


@pytest.mark.parametrize(
    "news", [None, [1], [["x", "gone", 1, 0, "x", 1]], [["x", "alive", "1", 0, "x", 1]]]
)
def test_news_that_no_member_sends_is_refused(news: Any) -> None:
    async def work(world: World) -> None:
        await world.start("a")
        with pytest.raises(ValueError, match="is not"):
            world.net.nodes["a"].call("membership-ping", "z", news)
        assert set(world.nodes["a"].members) == {"a"}

    virtually(work)
