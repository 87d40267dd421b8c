"""The map's laws, its meaning, and that deltas do what full states do."""

from __future__ import annotations

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primitives.crdt import AWMap, Delta, View, parse_replica, replica_id

quick = settings(deadline=None, max_examples=40)

NAMES = ("a#1", "b#1", "c#1")
KEYS = ("k1", "k2", ("room", "ada"))

moves = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(["put", "add", "remove", "discard", "pull", "drop"]),
        st.sampled_from(KEYS),
        st.sampled_from(NAMES),
    ),
    max_size=25,
)


def carried(delta: Delta) -> Delta:
    """As it arrives at a peer."""
    return Delta.from_json(json.loads(json.dumps(delta.to_json())))


def played(script) -> tuple[dict[str, AWMap], list[Delta]]:
    """Three replicas after a script of mutations and full merges, and all deltas made."""
    maps = {name: AWMap(name) for name in NAMES}
    deltas = []
    for step, (name, act, key, other) in enumerate(script):
        crdt = maps[name]
        if act == "put":
            deltas.append(crdt.put(key, step))
        elif act == "add":
            deltas.append(crdt.add(key, step))
        elif act == "remove":
            deltas.append(crdt.remove(key))
        elif act == "discard":
            deltas.append(crdt.discard(key, list(crdt.get(key))[:1]))
        elif act == "drop":
            deltas.append(crdt.drop_replica(other))
        else:
            crdt.merge(carried(maps[other].state()))
    return maps, deltas


def shown(crdt: AWMap):
    return ({key: crdt.get(key) for key in crdt}, crdt.context, crdt.fingerprint)


def merged(*parts: Delta) -> AWMap:
    crdt = AWMap("reader#1")
    for part in parts:
        crdt.merge(carried(part))
    return crdt


@quick
@given(moves)
def test_merging_is_commutative_associative_and_idempotent(script):
    a, b, c = (crdt.state() for crdt in played(script)[0].values())
    assert shown(merged(a, b)) == shown(merged(b, a))
    bc = merged(b, c).state()
    assert shown(merged(a, b, c)) == shown(merged(a, bc))
    assert shown(merged(a, b, a, a)) == shown(merged(a, b))


@quick
@given(moves, st.integers(0, 2**32))
def test_deltas_in_any_order_and_number_do_what_full_states_do(script, seed):
    maps, deltas = played(script)
    random = Random(seed)
    shuffled = [*deltas, *random.choices(deltas, k=len(deltas) // 2)] if deltas else []
    random.shuffle(shuffled)
    assert shown(merged(*shuffled)) == shown(merged(*(crdt.state() for crdt in maps.values())))


@quick
@given(moves, st.integers(0, 2**32))
def test_deltas_can_be_joined_before_they_are_sent(script, seed):
    _, deltas = played(script)
    Random(seed).shuffle(deltas)
    joined = Delta()
    for delta in deltas:
        joined.merge(delta)
    assert shown(merged(joined)) == shown(merged(*deltas))


@quick
@given(moves)
def test_parts_and_removals_make_up_the_state(script):
    for crdt in played(script)[0].values():
        parts = [crdt.part([dot]) for dot in crdt.living()]
        assert shown(merged(crdt.removed(), *parts)) == shown(merged(crdt.state()))


@quick
@given(moves)
def test_what_a_merge_reports_is_what_changed(script):
    maps, _ = played(script)
    a, b = AWMap("reader#1"), maps["b#1"]
    a.merge(maps["a#1"].state())
    before = {key: a.get(key) for key in KEYS}
    assert a.merge(b.state()) == {key for key in KEYS if a.get(key) != before[key]}


@quick
@given(moves)
def test_the_fingerprint_and_the_indices_follow_the_entries(script):
    for crdt in played(script)[0].values():
        fresh = merged(crdt.state())
        assert fresh.fingerprint == crdt.fingerprint
        held = {dot: key for key in crdt for dot in crdt.get(key)}
        assert set(crdt.living()) == set(held)
        for replica in NAMES:
            mine = {key for dot, key in held.items() if dot[0] == replica}
            assert crdt.keys_of(replica) == mine


def test_adding_wins_over_a_concurrent_removal():
    a, b = AWMap("a#1"), AWMap("b#1")
    b.merge(a.put("k", 1))
    removal, put = a.remove("k"), b.put("k", 2)
    a.merge(put)
    b.merge(removal)
    assert list(a.get("k").values()) == list(b.get("k").values()) == [2]


def test_concurrent_puts_are_both_kept_until_one_has_seen_the_other():
    a, b = AWMap("a#1"), AWMap("b#1")
    mine, theirs = a.put("k", "a"), b.put("k", "b")
    a.merge(theirs)
    b.merge(mine)
    assert sorted(a.get("k").values()) == ["a", "b"]
    b.merge(a.put("k", "both seen"))
    assert list(b.get("k").values()) == ["both seen"]


def test_a_removal_reaches_one_who_never_saw_the_value_and_stays():
    a, b = AWMap("a#1"), AWMap("b#1")
    added = a.add("k", 1)
    b.merge(a.remove("k"))
    b.merge(added)
    assert "k" not in b


def test_mutations_say_which_keys_they_changed():
    a = AWMap("a#1")
    assert a.put("k", 1).keys == {"k"}
    assert a.remove("k").keys == {"k"}
    assert not a.remove("k")
    a.add("x", 1)
    assert a.drop_replica("a#1").keys == {"x"}


def test_a_value_too_large_for_a_message_is_refused_before_it_changes_anything():
    a = AWMap("a#1")
    with pytest.raises(ValueError, match="keep it elsewhere"):
        a.put("k", "x" * 70_000)
    assert not a.state()


@pytest.mark.parametrize(
    "body",
    [
        {"entries": [["k", [["a#1", 2, None]]]], "context": {"a#1": [1, 1]}},
        {"entries": [[7, [["a#1", 1, None]]]], "context": {"a#1": [1, 1]}},
        {"entries": [], "context": {"a#1": [3, 1]}},
    ],
)
def test_deltas_that_make_no_sense_are_refused(body):
    with pytest.raises(ValueError):
        Delta.from_json(body)


def test_a_view_hides_the_dead_and_shows_them_again():
    a, b = AWMap(replica_id("a", 1)), AWMap(replica_id("b", 1))
    a.add("k", "mine")
    a.merge(b.add("k", "theirs"))
    view = View(a)
    assert view.update({"a": 1, "b": 1}) == {"k"}
    assert sorted(view.get("k").values()) == ["mine", "theirs"]
    assert view.update({"a": 1}) == {"k"}
    assert list(view.get("k").values()) == ["mine"]
    assert view.update({"a": 1}) == frozenset()
    assert view.update({"a": 1, "b": 1}) == {"k"}


def test_a_view_replaces_an_older_start_by_the_newer_one():
    a = AWMap(replica_id("a", 1))
    a.merge(AWMap(replica_id("b", 1)).add("old", 1))
    a.merge(AWMap(replica_id("b", 2)).add("new", 1))
    view = View(a)
    view.update({"b": 1})
    assert view.keys() == {"old", "new"}, "the entry outran the news of the restart"
    assert view.update({"b": 2}) == {"old"}
    assert view.keys() == {"new"}


def test_replica_names():
    assert parse_replica(replica_id("node#1", 7)) == ("node#1", 7)
    with pytest.raises(ValueError, match="name#incarnation"):
        parse_replica("node")


@quick
@given(moves)
def test_maps_converge_when_each_has_merged_each(script):
    maps, _ = played(script)
    states = [crdt.state() for crdt in maps.values()]
    for crdt in maps.values():
        for state in states:
            crdt.merge(carried(state))
    first, *others = (shown(crdt) for crdt in maps.values())
    assert all(other == first for other in others)
