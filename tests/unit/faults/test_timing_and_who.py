"""Whom a fault hits and when: what is drawn, what stays, what is refused."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import faults, milliseconds, seconds, share
from harness.errors import UsageError
from harness.faults import Members, from_json
from harness.faults._base import resolve_who, tick_times

NODES = ("node-1", "node-2", "node-3", "node-4", "node-5")
MEMBERS = Members(NODES, ("leader", "replica"))


def who(value: Any, seed: int = 1, members: Members = MEMBERS) -> Any:
    return resolve_who(value, random.Random(seed), members, "kill")


# Whom


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("node-3", "node-3"),
        ("leader", "leader"),
        ("all", NODES),
        (["node-2", "node-1"], ("node-2", "node-1")),
    ],
)
def test_what_is_not_random_stays(value: Any, resolved: Any) -> None:
    assert who(value, 1) == who(value, 2) == resolved


def test_random_draws_every_node_and_nothing_else() -> None:
    assert {who("random", seed) for seed in range(200)} == set(NODES)


@pytest.mark.parametrize(("count", "size"), [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (7, 3)])
def test_a_minority_leaves_a_majority_and_is_never_nobody(count: int, size: int) -> None:
    members = Members([f"node-{number}" for number in range(1, count + 1)])
    for seed in range(20):
        chosen = who("minority", seed, members)
        assert len(set(chosen)) == len(chosen) == size
        assert set(chosen) <= set(members.nodes)
        assert list(chosen) == sorted(chosen)


@pytest.mark.parametrize("value", ["node-6", "follower", "", [], ["node-1", "leader"], ["node-9"]])
def test_who_is_not_there_is_refused_with_those_who_are(value: Any) -> None:
    with pytest.raises(UsageError, match="no node and no role") as caught:
        who(value)
    assert "node-5" in str(caught.value) and "replica" in str(caught.value)


def test_a_target_without_roles_says_so() -> None:
    with pytest.raises(UsageError, match="roles of this target: none"):
        who("leader", members=Members(NODES))


WITH_DATABASE = Members(("node-1", "node-2", "node-3"), dependencies=("database", "mail"))


def test_dependencies_are_meant_by_their_names_alone() -> None:
    assert who("database", members=WITH_DATABASE) == "database"
    assert who(["database", "node-1"], members=WITH_DATABASE) == ("database", "node-1")
    assert who("all", members=WITH_DATABASE) == ("node-1", "node-2", "node-3")
    drawn = {who("random", seed, WITH_DATABASE) for seed in range(100)}
    assert drawn == {"node-1", "node-2", "node-3"}
    with pytest.raises(UsageError, match="dependencies: database, mail"):
        who("cache", members=WITH_DATABASE)


def test_a_netsplit_goes_through_the_dependencies_as_well() -> None:
    split = faults.netsplit("isolate", who="node-1", at=1, lasting=1)
    cuts = split.resolve(random.Random(1), WITH_DATABASE, 1).cuts
    assert cuts is not None
    assert {cut[1] for cut in cuts if cut[0] == "node-1"} == {
        "node-2",
        "node-3",
        "database",
        "mail",
    }
    alone = faults.netsplit("isolate", who="database", at=1, lasting=1)
    found = alone.resolve(random.Random(1), WITH_DATABASE, 1).cuts
    assert found is not None and ("node-2", "database") in found and ("database", "mail") in found


# When


def times(fault: Any, duration_s: float = 20, scale: float = 1, seed: int = 1) -> list[float]:
    return tick_times(fault, random.Random(seed), duration_s, scale)


def test_fixed_times_come_in_order_and_scale() -> None:
    fault = faults.kill(at=[seconds(5), milliseconds(500), 0])
    assert times(fault) == [0.0, 0.5, 5.0]
    assert times(fault, scale=2) == [0.0, 1.0, 10.0]


def test_one_fixed_time_needs_no_list() -> None:
    assert times(faults.kill(at=3)) == [3.0]


def test_nothing_repeats_within_less_than_one_interval() -> None:
    assert times(faults.kill(every=seconds(5)), duration_s=4.99) == []
    assert len(times(faults.kill(every=seconds(5)), duration_s=5)) == 1


@given(st.integers(0, 2**32), st.floats(0, 0.49), st.floats(0.5, 10), st.floats(1, 60))
def test_jitter_keeps_the_order_and_stays_within_its_share(
    seed: int, jitter: float, every_s: float, duration_s: float
) -> None:
    fault = faults.kill(every=every_s, jitter=jitter)
    every_s = round(every_s, 3)
    found = times(fault, duration_s, seed=seed)
    assert found == sorted(found)
    for number, time_s in enumerate(found, start=1):
        assert abs(time_s - number * every_s) <= jitter * every_s + 0.001


def test_what_cannot_be_healed_in_time_is_left_out() -> None:
    fault = faults.pause(who="node-1", every=seconds(4), lasting=seconds(3), jitter=0)
    found = fault.occurrences(random.Random(1), MEMBERS, 10, 1)
    assert [(one.at_s, one.lasting_s) for one in found] == [(4, 3)]


# Mixed and staggered


def test_each_occurrence_of_a_mix_keeps_its_own_length() -> None:
    mix = faults.mixed(
        faults.kill(restart_after=seconds(1)),
        faults.pause(lasting=seconds(2)),
        faults.reset(),
        every=seconds(1),
    )
    found = mix.occurrences(random.Random(3), MEMBERS, 60, 1)
    lengths = {(one.fault.kind, one.lasting_s) for one in found}
    assert lengths == {("kill", 1), ("pause", 2), ("reset", 0)}
    assert all(one.at_s + one.lasting_s <= 60 for one in found)


def test_a_mix_at_fixed_times_is_scaled_once() -> None:
    mix = faults.mixed(faults.kill(), at=[seconds(2), seconds(4)])
    found = mix.occurrences(random.Random(1), MEMBERS, 60, 3)
    assert [one.at_s for one in found] == [6, 12]


def test_a_mix_leaves_out_what_does_not_fit() -> None:
    mix = faults.mixed(faults.kill(restart_after=seconds(1)), at=[seconds(2), seconds(9.5)])
    assert [one.at_s for one in mix.occurrences(random.Random(1), MEMBERS, 10, 1)] == [2]


def test_a_mix_of_faults_without_a_length_is_refused() -> None:
    with pytest.raises(UsageError, match="for how long"):
        faults.mixed(faults.pause(), at=1).occurrences(random.Random(1), MEMBERS, 10, 1)


@given(st.integers(0, 2**32))
def test_staggered_nodes_are_held_together_and_no_longer_than_the_run(seed: int) -> None:
    stagger = faults.staggered(
        faults.kill(restart_after=seconds(1)), step=seconds(0.5), every=seconds(8)
    )
    found = stagger.occurrences(random.Random(seed), MEMBERS, 10, 1)
    assert all(one.at_s + one.lasting_s <= 10 for one in found)
    assert len({one.fault.who for one in found}) == len(found)  # type: ignore[attr-defined]
    if found:
        last_in = max(one.at_s for one in found)
        # Those that would have ended too late are left out, the others keep their lengths.
        assert all(one.at_s + one.lasting_s >= last_in + 1 - 0.001 for one in found)


def test_a_staggered_fault_needs_a_length() -> None:
    with pytest.raises(UsageError, match="for how long"):
        faults.staggered(faults.pause(), at=1).occurrences(random.Random(1), MEMBERS, 10, 1)


# Latency, as it stands in a plan


def test_varied_latency_draws_a_step_for_every_quarter_of_a_second() -> None:
    fault = faults.latency(milliseconds(100), latency_jitter=milliseconds(100), who="node-1")
    resolved = fault.resolve(random.Random(1), MEMBERS, 2.0)
    assert len(resolved.steps_ms) == 9
    assert all(0 <= step <= 200 for step in resolved.steps_ms)
    assert len(set(resolved.steps_ms)) > 1
    assert resolved.first_ms == resolved.steps_ms[0]
    assert from_json("latency", resolved.to_json()) == resolved


def test_constant_latency_draws_nothing() -> None:
    rng = random.Random(1)
    fault = faults.latency(milliseconds(100), who="node-1").resolve(rng, MEMBERS, 2.0)
    assert (fault.steps_ms, fault.first_ms) == ((), 100)
    assert rng.random() == random.Random(1).random()


def test_shares_grow_with_the_phase() -> None:
    fault = faults.pause(at=share(0.25), lasting=share(0.5))
    for duration_s in (8.0, 120.0):
        # The duration is scaled already: a share needs no scale of its own.
        (one,) = fault.occurrences(random.Random(1), MEMBERS, duration_s, scale=0.1)
        assert (one.at_s, one.lasting_s) == (duration_s / 4, duration_s / 2)
    often = faults.pause(every=share(0.1), lasting=seconds(0.1), jitter=0)
    assert len(often.occurrences(random.Random(1), MEMBERS, 60.0, scale=1)) == 9


@pytest.mark.parametrize("value", [-0.1, 1.1, True, "half"])
def test_a_share_is_a_part(value: Any) -> None:
    with pytest.raises(UsageError, match="no part of anything"):
        share(value)
