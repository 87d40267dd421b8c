"""Reading a room: every message once, in one order, from any cursor and in any pages."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from targets.chat.app.entries import Entry
from targets.chat.app.history import History
from targets.chat.app.store import Store

TOPIC = "room:x"

logs = st.lists(
    st.lists(
        st.tuples(
            st.integers(1, 5),  # how much the clock advances
            st.sampled_from([TOPIC, TOPIC, "room:y"]),
            st.integers(0, 12),  # which message: the same one may be pushed at several nodes
        ),
        max_size=12,
    ),
    min_size=1,
    max_size=3,
)


def entries_of(given) -> list[list[Entry]]:
    made = []
    for number, log in enumerate(given):
        clock, entries, used = 0, [], set()
        for step, topic, name in log:
            clock += step
            if (topic, name) in used:  # a node knows its own
                name = f"{number}-{len(entries)}"
            used.add((topic, name))
            entries.append(
                Entry(
                    f"{'abc'[number]}~1",
                    len(entries) + 1,
                    clock,
                    topic,
                    "msg",
                    f"m{name}",
                    "ada",
                    "",
                )
            )
        made.append(entries)
    return made


def stored(made: list[list[Entry]]) -> Store:
    store = Store(Path(":memory:"), "z", Random(1), fsync=False)
    for entries in made:
        if entries:
            store.add(entries)
    return store


@settings(max_examples=40)
@given(logs, st.integers(1, 5), st.randoms(use_true_random=False))
def test_pages_from_any_cursor_give_every_message_once_in_order(given, limit, random):
    made = entries_of(given)
    seen = {log[0].origin: random.randint(0, len(log)) for log in made if log}

    async def whole():
        store = stored(made)
        await store.flush()
        history = History(store)
        cursor, shown = dict(seen), []
        while True:
            page = history.after(TOPIC, cursor, limit)
            assert len(page.entries) <= limit
            shown += page.entries
            cursor = page.cursor
            if not page.more:
                break
        assert history.after(TOPIC, cursor).entries == []
        store.close()
        return shown

    shown = asyncio.run(whole())
    room = [entry for log in made for entry in log if entry.topic == TOPIC]
    known = {entry.id for entry in room if entry.covered(seen)}
    new = {entry.id for entry in room} - known
    assert sorted(entry.id for entry in shown) == sorted(new)
    assert shown == sorted(shown, key=lambda entry: entry.order)


@settings(max_examples=20)
@given(logs, st.randoms(use_true_random=False))
def test_the_order_is_the_same_however_the_logs_arrived(given, random):
    made = entries_of(given)

    async def room():
        random.shuffle(made)
        store = stored(made)
        await store.flush()
        history = History(store)
        shown = [list(history.all(TOPIC)), history.recent(TOPIC).entries]
        store.close()
        return shown

    first, second = asyncio.run(room()), asyncio.run(room())
    assert first == second
    assert first[0][-50:] == first[1]
