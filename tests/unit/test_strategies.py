"""Strategies draw what a cluster can be given, and shrink to what is simple."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from fixtures.registers import Registers
from harness import faults, seconds, strategies
from harness.errors import UsageError
from harness.faults import Members
from harness.plan import PlannedFault

FIVE = Registers(nodes=5)
NAMES = FIVE.node_names
MIXED = [faults.kill(), faults.pause(who="leader"), faults.reset(), faults.netsplit("bridge")]

quickly = settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def simplest(strategy: st.SearchStrategy[Any], condition: Any = lambda _: True) -> Any:
    return find(strategy, condition, settings=quickly)


@quickly
@given(strategies.schedules(FIVE, MIXED, duration=seconds(10), at_most=6))
def test_schedules_are_what_plans_hold(schedule: tuple[PlannedFault, ...]) -> None:
    assert [one.id for one in schedule] == [f"f{n}" for n in range(1, len(schedule) + 1)]
    assert [one.at_s for one in schedule] == sorted(one.at_s for one in schedule)
    for one in schedule:
        assert one.at_s >= 0
        assert one.at_s + one.lasting_s <= 10.0 + 1e-9
        assert (one.lasting_s > 0) == one.fault.lasts
        # Nothing random is left: carrying it out twice is the same.
        assert getattr(one.fault, "who", None) in {*NAMES, "leader", "random"}
        if one.fault.kind in ("kill", "reset"):
            assert one.fault.who in NAMES  # type: ignore[attr-defined]
        assert PlannedFault.to_json(one)["kind"] == one.fault.kind


def test_schedules_shrink_to_few_early_short_and_simple_faults() -> None:
    strategy = strategies.schedules(FIVE, MIXED, duration=seconds(10))
    assert simplest(strategy) == ()
    (one,) = simplest(strategy, lambda schedule: len(schedule) > 0)
    assert (one.at_s, one.lasting_s, one.fault.kind, one.fault.who) == (0.0, 0.05, "kill", "node-1")
    later = simplest(
        strategy, lambda schedule: any(one.fault.kind == "netsplit" for one in schedule)
    )
    assert len(later) == 1


@quickly
@given(strategies.netsplit_groups(FIVE))
def test_groups_are_sides_of_a_netsplit(groups: tuple[tuple[str, ...], ...]) -> None:
    assert sorted(name for group in groups for name in group) == sorted(NAMES)
    assert len(groups) >= 2
    assert all(groups)
    faults.netsplit("groups", groups=groups)


def test_groups_shrink_to_one_node_against_the_rest() -> None:
    assert simplest(strategies.netsplit_groups(FIVE)) == (("node-1",), NAMES[1:])
    three = simplest(strategies.netsplit_groups(FIVE), lambda groups: len(groups) == 3)
    assert sorted(len(group) for group in three) == [1, 1, 3]
    two = strategies.netsplit_groups(Members(["a", "b"], dependencies=["store"]), at_most=2)
    assert simplest(two) == (("a",), ("b", "store"))


@quickly
@given(strategies.some_nodes(FIVE))
def test_some_nodes_are_not_all(several: tuple[str, ...]) -> None:
    assert 1 <= len(set(several)) == len(several) <= 4
    assert list(several) == sorted(several)


def test_single_things_shrink_to_the_first() -> None:
    assert simplest(strategies.nodes(FIVE)) == "node-1"
    assert simplest(strategies.some_nodes(FIVE)) == ("node-1",)
    assert simplest(strategies.keys(3)) == "r1"
    assert simplest(strategies.values()) == 0
    assert simplest(strategies.seeds()) == 0
    assert simplest(strategies.values(), lambda value: isinstance(value, str)) == "0"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: strategies.keys(0),
        lambda: strategies.some_nodes(FIVE, at_most=6),
        lambda: strategies.netsplit_groups(FIVE, at_most=1),
        lambda: strategies.netsplit_groups(Registers(nodes=1)),
        lambda: strategies.planned_faults(FIVE, [], duration=seconds(1)),
        lambda: strategies.planned_faults(FIVE, duration=seconds(0.01)),
        lambda: strategies.planned_faults(FIVE, ["kill"], duration=seconds(1)),  # type: ignore[list-item]
        lambda: strategies.schedules(FIVE, duration=seconds(1), at_least=3, at_most=2),
    ],
)
def test_what_cannot_be_drawn_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(UsageError):
        wrong()
