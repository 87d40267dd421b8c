"""Rooms over several nodes, on virtual time: joining, catching up, retries, typing, presence."""

from __future__ import annotations

import asyncio
from random import Random

from tests.support.chat_world import ROOM, Chatter, World
from tests.support.virtual_mesh import run_pausably


def ids(messages):
    return [message["id"] for message in messages]


def test_a_message_reaches_all_nodes_and_its_writer_before_the_reply(tmp_path):
    async def whole():
        async with World(tmp_path, Random(1)) as world:
            ada, bob = Chatter(world, "a", "ada"), Chatter(world, "b", "bob")
            assert await ada.connect() and await bob.connect()
            reply = await ada.say("m1", "hello")
            assert ids(ada.seen) == ["m1"]
            (message,) = ada.seen
            told = {name: message[name] for name in ("id", "origin", "seq", "clock")}
            assert reply == {"status": "ok", "response": told}
            await world.settled()
            assert bob.seen == ada.seen
            assert message["user"] == "ada" and message["body"] == "hello"

    run_pausably(whole())


def test_a_repeated_push_is_one_message_and_the_same_answer(tmp_path):
    async def whole():
        async with World(tmp_path, Random(1)) as world:
            ada = Chatter(world, "a", "ada")
            await ada.connect()
            at_once = await asyncio.gather(*(ada.say("m1") for _ in range(3)))
            later = await ada.say("m1")
            assert [*at_once, later] == [later] * 4 and later["status"] == "ok"
            other = await ada.say("m1", "something else")
            assert other["response"] == {"reason": "id belongs to another message"}
            assert ids(ada.seen) == ["m1"]

    run_pausably(whole())


def test_a_push_repeated_at_a_node_that_was_cut_off_is_shown_once(tmp_path):
    async def whole():
        async with World(tmp_path, Random(1)) as world:
            readers = [Chatter(world, name, f"reader-{name}") for name in world.names]
            for reader in readers:
                await reader.connect()
            world.net.split({"a"}, {"b", "c"})
            await asyncio.sleep(0.1)
            for node in ("a", "b"):
                ada = Chatter(world, node, "ada")
                await ada.connect()
                assert (await ada.say("m1"))["status"] == "ok"
            away = readers.pop()
            away.disconnect()
            world.net.heal()
            await world.settled()
            await away.connect()
            for reader in (*readers, away):
                assert ids(reader.seen) == ["m1"]
            fresh = [Chatter(world, name, "new") for name in world.names]
            for reader in fresh:
                await reader.connect()
            assert len({str(reader.seen) for reader in fresh}) == 1
            assert ids(fresh[0].seen) == ["m1"]

    run_pausably(whole())


def test_whoever_comes_back_gets_the_rest_in_pages_and_nothing_in_between(tmp_path):
    async def whole():
        async with World(tmp_path, Random(1), ("a", "b")) as world:
            ada, bob = Chatter(world, "a", "ada"), Chatter(world, "b", "bob")
            await ada.connect()
            await bob.connect()
            await ada.say("m0")
            await world.settled()
            bob.disconnect()
            expected = ["m0"]
            for n in range(700):
                await world.services["a"].store.append(ROOM, "msg", f"m{n + 1}", "x", "body")
                expected.append(f"m{n + 1}")
            await world.settled()
            joining = asyncio.create_task(bob.connect())
            while bob.seen == [] or not joining.done():
                expected.append(f"m{len(expected)}")  # while bob reads on, more is said
                await ada.say(expected[-1])
            await world.settled()
            assert await joining
            assert ids(bob.seen) == expected

    run_pausably(whole())


def test_without_a_cursor_the_last_fifty_come(tmp_path):
    async def whole():
        async with World(tmp_path, Random(1), ("a",)) as world:
            for n in range(80):
                await world.services["a"].store.append(ROOM, "msg", f"m{n}", "x", "body")
            ada = Chatter(world, "a", "ada")
            ada.cursor = None
            await ada.connect()
            assert ids(ada.seen) == [f"m{n}" for n in range(30, 80)]
            await ada.say("next")
            assert ids(ada.seen)[-1] == "next"

    run_pausably(whole())


def test_who_has_seen_more_elsewhere_is_not_given_it_again(tmp_path):
    async def whole():
        async with World(tmp_path, Random(1), ("a", "b")) as world:
            ada = Chatter(world, "a", "ada")
            await ada.connect()
            await ada.say("m1")
            await world.settled()
            world.net.split({"a"}, {"b"})
            await asyncio.sleep(0.1)
            await ada.say("m2")
            moved = Chatter(world, "b", "ada")
            moved.cursor = ada.cursor
            await moved.connect()
            world.net.heal()
            await world.settled()
            await ada.say("m3")
            await world.settled()
            assert ids(moved.seen) == ["m3"]

    run_pausably(whole())


def test_a_disk_that_is_full_refuses_and_forgets_nothing(tmp_path):
    async def whole():
        async with World(tmp_path, Random(1), ("a", "b")) as world:
            ada, bob = Chatter(world, "a", "ada"), Chatter(world, "b", "bob")
            await ada.connect()
            await bob.connect()
            await ada.say("m1")
            await world.settled()
            database = world.services["b"].store._db
            (pages,) = database.execute("PRAGMA page_count").fetchone()
            database.execute(f"PRAGMA max_page_count={pages}")
            for n in range(20):
                await ada.say(f"a{n}", "x" * 4000)
            refused = [await bob.say(f"b{n}", "x" * 4000) for n in range(3)]
            assert {str(answer["response"]) for answer in refused} == {"{'reason': 'storage'}"}
            database.execute("PRAGMA max_page_count=100000")
            assert (await bob.say("b9"))["response"]["seq"] == 1
            await world.settled()
            assert sorted(ids(bob.seen)) == sorted(["m1", "b9", *(f"a{n}" for n in range(20))])

    run_pausably(whole())


def test_typing_is_told_to_the_others_everywhere_and_limited(tmp_path):
    async def whole():
        async with World(tmp_path, Random(1), ("a", "b")) as world:
            places = (("a", "ada"), ("a", "bob"), ("b", "cyd"))
            ada, bob, cyd = (Chatter(world, *place) for place in places)
            for chatter in (ada, bob, cyd):
                await chatter.connect()
            assert (await ada.push("typing", {"typing": True}))["status"] == "ok"
            limited = await ada.push("typing", {"typing": False})
            assert limited["response"] == {"reason": "rate limited"}
            await asyncio.sleep(0.2)
            told = ("typing", {"user": "ada", "typing": True})
            assert [told in chatter.events for chatter in (ada, bob, cyd)] == [False, True, True]

    run_pausably(whole())


class Roster:
    """Who is there, as the stock client keeps it."""

    def __init__(self, chatter: Chatter) -> None:
        self._chatter = chatter

    @property
    def users(self) -> set[str]:
        refs: dict[str, str] = {}
        for event, payload in self._chatter.events:
            if event == "presence_state":
                refs = {
                    meta["phx_ref"]: user for user, one in payload.items() for meta in one["metas"]
                }
            elif event == "presence_diff":
                for user, one in payload["joins"].items():
                    refs |= {meta["phx_ref"]: user for meta in one["metas"]}
                for one in payload["leaves"].values():
                    for meta in one["metas"]:
                        assert refs.pop(meta["phx_ref"])
        return set(refs.values())


def test_presence_is_known_everywhere_and_forgets_who_left(tmp_path):
    async def whole():
        async with World(tmp_path, Random(1)) as world:
            chatters = [Chatter(world, name, f"user-{name}") for name in world.names]
            for chatter in chatters:
                await chatter.connect()
            await asyncio.sleep(0.5)
            rosters = [Roster(chatter) for chatter in chatters]
            everybody = {"user-a", "user-b", "user-c"}
            assert [roster.users for roster in rosters] == [everybody] * 3
            tab = Chatter(world, "b", "user-a")
            await tab.connect()
            await asyncio.sleep(0.5)
            chatters[0].disconnect()
            await asyncio.sleep(0.5)
            assert rosters[1].users == everybody  # the other tab is open
            tab.disconnect()
            await asyncio.sleep(0.5)
            assert rosters[1].users == everybody - {"user-a"}

    run_pausably(whole())


def test_nobody_vanishes_by_a_rumour(tmp_path):
    async def whole():
        async with World(tmp_path, Random(1)) as world:
            chatters = [Chatter(world, name, f"user-{name}") for name in world.names]
            for chatter in chatters:
                await chatter.connect()
            await asyncio.sleep(0.5)
            told = len(chatters[0].events)
            world.rumours = set(world.names)
            for service in world.services.values():
                service.members_changed()
            await asyncio.sleep(0.5)
            assert len(chatters[0].events) == told

    run_pausably(whole())


def gone_with_its_node(tmp_path, mutant=None):
    async def whole():
        async with World(tmp_path, Random(1), mutant=mutant) as world:
            chatters = [Chatter(world, name, f"user-{name}") for name in world.names]
            for chatter in chatters:
                await chatter.connect()
            roster = Roster(chatters[0])
            await asyncio.sleep(0.5)
            seen = []
            world.net.split({"a", "b"}, {"c"})
            await asyncio.sleep(0.5)
            seen.append(roster.users)
            world.net.heal()
            await asyncio.sleep(1)
            seen.append(roster.users)
            world.kill("c")
            await asyncio.sleep(0.5)
            seen.append(roster.users)
            await world.start("c")
            await asyncio.sleep(1)
            seen.append(roster.users)
            return seen

    return run_pausably(whole())


def test_users_of_a_node_that_is_gone_have_left_and_are_back_with_it(tmp_path):
    both, all_three = {"user-a", "user-b"}, {"user-a", "user-b", "user-c"}
    assert gone_with_its_node(tmp_path) == [both, all_three, both, both]


def test_the_mutant_that_never_removes_shows_them_for_ever(tmp_path):
    all_three = {"user-a", "user-b", "user-c"}
    assert gone_with_its_node(tmp_path, "presence-never-removed")[:3] == [all_three] * 3
