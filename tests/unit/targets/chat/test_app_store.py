"""The logs on disk: what is acknowledged stays, in one order, and nothing else is known of."""

from __future__ import annotations

import asyncio
import sqlite3
from random import Random

import pytest

from targets.chat.app.entries import Entry, read_cursor
from targets.chat.app.store import PAGE_BYTES, StorageError, Store

TOPIC = "room:x"


def opened(home, node="a", seed=1, **options) -> Store:
    return Store(home / "chat.db", node, Random(seed), fsync=False, **options)


def say(store, name):
    return store.append(TOPIC, "msg", name, "ada", f"body of {name}")


def foreign(seq, *, origin="b~1", clock=None, name=None) -> Entry:
    return Entry(origin, seq, clock or seq, TOPIC, "msg", name or f"b{seq}", "bob", "hi")


def test_what_was_written_is_there_again_with_its_places(tmp_path):
    async def first():
        store = opened(tmp_path)
        entries = [await say(store, f"m{n}") for n in range(3)]
        store.close()
        return entries

    async def second():
        store = opened(tmp_path, seed=2)
        following = await say(store, "m3")
        assert (await store.find(TOPIC, "m1")) == entries[1]
        assert store.after(TOPIC, {}, 10) == [*entries, following]
        return following

    entries = asyncio.run(first())
    following = asyncio.run(second())
    assert [entry.seq for entry in (*entries, following)] == [1, 2, 3, 4]
    assert len({entry.origin for entry in (*entries, following)}) == 1
    assert following.clock == 4


def test_who_lost_its_disk_writes_another_log(tmp_path):
    async def whole():
        one, other = tmp_path / "one", tmp_path / "other"
        one.mkdir()
        other.mkdir()
        assert opened(one).origin != opened(other, seed=2).origin

    asyncio.run(whole())


def test_what_is_written_in_one_turn_is_one_transaction_and_told_once(tmp_path):
    async def whole():
        store = opened(tmp_path)
        told, statements = [], []
        store.listen(told.append)
        store._db.set_trace_callback(statements.append)
        written = await asyncio.gather(*(say(store, f"m{n}") for n in range(10)))
        assert told == [list(written)]
        assert statements.count("COMMIT") == 1

    asyncio.run(whole())


def test_nobody_knows_of_what_is_not_written(tmp_path):
    async def whole():
        store = opened(tmp_path)
        writing = asyncio.create_task(say(store, "m1"))
        await asyncio.sleep(0)
        assert store.after(TOPIC, {}, 10) == [] and store.have == {}
        found = asyncio.create_task(store.find(TOPIC, "m1"))
        assert await writing == await found
        assert store.have == {store.origin: 1}

    asyncio.run(whole())


def test_a_disk_that_takes_nothing_gives_the_places_to_others(tmp_path):
    async def whole():
        store = opened(tmp_path)
        await say(store, "m1")
        store.add([foreign(1)])
        await store.flush()
        (pages,) = store._db.execute("PRAGMA page_count").fetchone()
        store._db.execute(f"PRAGMA max_page_count={pages}")
        told = []
        store.listen(told.append)
        with pytest.raises(StorageError, match="full"):
            await store.append(TOPIC, "msg", "large", "ada", "x" * 100_000)
        lost = store.add([foreign(2, name="x" * 100_000)])
        with pytest.raises(StorageError, match="full"):
            await lost
        assert told == [] and store.reached == store.have == {store.origin: 1, "b~1": 1}
        store._db.execute("PRAGMA max_page_count=100000")
        assert (await say(store, "m2")).seq == 2

    asyncio.run(whole())


def test_entries_are_only_ever_added(tmp_path):
    async def whole():
        store = opened(tmp_path)
        await say(store, "m1")
        for statement in ("DELETE FROM entries", "UPDATE entries SET body = ''"):
            with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
                store._db.execute(statement)

    asyncio.run(whole())


def test_clocks_are_greater_than_what_was_seen(tmp_path):
    async def whole():
        store = opened(tmp_path)
        store.add([foreign(1, clock=41)])
        assert (await say(store, "m1")).clock == 42

    asyncio.run(whole())


def test_parts_of_a_log_are_bounded(tmp_path):
    async def whole():
        store = opened(tmp_path)
        for n in range(5):
            await store.append(TOPIC, "msg", f"m{n}", "ada", "x" * (PAGE_BYTES // 2))
        parts = []
        while part := store.part(store.origin, sum(map(len, parts))):
            parts.append(part)
        assert [len(part) for part in parts] == [2, 2, 1]

    asyncio.run(whole())


def test_questions_without_an_end_are_found_after_a_restart(tmp_path):
    async def first():
        store = opened(tmp_path)
        asked = [await store.append(TOPIC, "ask", f"q{n}", "ada", "{}") for n in range(3)]
        store.answering(asked[1].stream, 5)
        await store.append(TOPIC, "end", asked[0].stream, "ada", "{}")
        store.close()
        return asked

    async def second():
        store = opened(tmp_path)
        assert store.unfinished() == [(asked[1], 5), (asked[2], 0)]
        assert store.open_questions() == asked[1:]

    asked = asyncio.run(first())
    asyncio.run(second())


@pytest.mark.parametrize("given", [[], {"a": "1"}, {"a": -1}, {"a": True}, {"a": 2**62}, 7])
def test_cursors_that_are_none_are_refused(given):
    with pytest.raises(ValueError, match="cursor"):
        read_cursor(given)


@pytest.mark.parametrize("given", [None, [], ["a"] * 8, ["a", 0, 1, "t", "msg", "i", "u", "b"]])
def test_entries_that_are_none_are_refused(given):
    with pytest.raises(ValueError, match="Not an entry"):
        Entry.unpacked(given)


def test_entries_travel_as_they_are():
    assert Entry.unpacked(foreign(3).packed()) == foreign(3)
