"""Plans: resolved from the seed alone, written, read back, and refused where they cannot work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Client, Target, experiment, faults, registers, seconds
from harness.declare import Experiment, experiment_of
from harness.errors import UnreadableError, UsageError
from harness.plan import make_plan, read_plan


class Store(Target):
    name = "store"
    ports: ClassVar = {"client": 1234}
    roles: ClassVar = ("leader",)


class StoreClient(Client):
    async def read(self, key: str) -> None: ...

    async def write(self, key: str, value: int) -> None: ...

    async def cas(self, key: str, expected: int, new: int) -> None: ...


def declared(*schedule: Any, duration: float = 20, nodes: int = 5) -> Experiment:
    return Experiment(
        target=Store(nodes=nodes),
        workload=registers(StoreClient),
        faults=schedule,
        duration=seconds(duration),
    )


EVERY_KIND = (
    faults.kill(every=seconds(3)),
    faults.stop(who="minority", every=seconds(4)),
    faults.restart(who="all", at=[seconds(1), seconds(9)]),
    faults.crash_loop(every=seconds(6), lasting=seconds(2)),
    faults.pause(who="leader", every=seconds(5), lasting=seconds(1)),
    faults.netsplit("isolate", who="leader", every=seconds(5), lasting=seconds(2)),
    faults.netsplit("halves", at=seconds(2), lasting=seconds(2)),
    faults.netsplit("random-halves", every=seconds(5), lasting=seconds(2), how="reject"),
    faults.netsplit("majorities-ring", every=seconds(5), lasting=seconds(2)),
    faults.netsplit("bridge", every=seconds(5), lasting=seconds(2)),
    faults.netsplit("minority-third", every=seconds(5), lasting=seconds(2)),
    faults.netsplit("one-way", who="random", every=seconds(5), lasting=seconds(2)),
    faults.netsplit(
        "groups", groups=[["node-1"], ["node-2", "node-3"]], at=seconds(3), lasting=seconds(1)
    ),
    faults.netsplit("links", links=[("node-1", "node-2")], at=seconds(3), lasting=seconds(1)),
    faults.latency(
        seconds(0.1), latency_jitter=seconds(0.05), every=seconds(5), lasting=seconds(2)
    ),
    faults.bandwidth(64, every=seconds(5), lasting=seconds(2)),
    faults.slow_close(seconds(1), every=seconds(5), lasting=seconds(2)),
    faults.reset(every=seconds(5)),
    faults.mixed(faults.kill(), faults.pause(lasting=seconds(1)), every=seconds(3)),
    faults.staggered(faults.pause(lasting=seconds(1)), step=seconds(0.2), every=seconds(6)),
)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**53 - 1))
def test_the_same_seed_gives_the_same_plan_byte_for_byte(seed: int) -> None:
    plans = [
        json.dumps(make_plan(declared(*EVERY_KIND), "test_x", seed).to_json()) for _ in range(2)
    ]
    assert plans[0] == plans[1]


def test_other_seeds_give_other_plans() -> None:
    plans = {json.dumps(make_plan(declared(*EVERY_KIND), "x", s).to_json()) for s in range(10)}
    assert len(plans) == 10


def test_a_plan_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    plan = make_plan(declared(*EVERY_KIND), "test_x", 42)
    plan.write(tmp_path / "plan.json")
    again = read_plan(tmp_path / "plan.json")
    again.write(tmp_path / "again.json")
    assert (tmp_path / "plan.json").read_bytes() == (tmp_path / "again.json").read_bytes()
    assert {fault.fault.kind for fault in plan.faults} >= {"kill", "netsplit", "latency", "reset"}


def test_a_new_fault_does_not_shift_the_choices_of_those_before_it() -> None:
    kill = faults.kill(every=seconds(3))
    alone = make_plan(declared(kill), "x", 5)
    both = make_plan(declared(kill, faults.pause(every=seconds(5), lasting=seconds(1))), "x", 5)
    kills = [(f.at_s, f.fault) for f in both.faults if f.fault.kind == "kill"]
    assert kills == [(f.at_s, f.fault) for f in alone.faults]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.floats(0.5, 3))
def test_every_fault_is_healed_within_the_duration(seed: int, scale: float) -> None:
    plan = make_plan(declared(*EVERY_KIND), "x", seed, scale)
    assert plan.faults
    for fault in plan.faults:
        assert 0 <= fault.at_s <= fault.at_s + fault.lasting_s <= plan.duration_s


def test_nothing_random_is_left_in_a_plan() -> None:
    for planned in make_plan(declared(*EVERY_KIND), "x", 3).faults:
        fields = planned.fault.to_json()
        assert fields.get("who") not in ("minority", "all")
        if planned.fault.kind == "netsplit" and fields["cuts"] is None:
            assert fields["who"] == "leader"


def test_jitter_moves_a_repeated_fault_and_zero_does_not() -> None:
    exact = make_plan(declared(faults.kill(every=seconds(3), jitter=0)), "x", 1)
    assert [fault.at_s for fault in exact.faults] == [3, 6, 9, 12, 15, 18]
    moved = make_plan(declared(faults.kill(every=seconds(3), jitter=0.2)), "x", 1)
    assert all(abs(a.at_s - b.at_s) <= 0.6 for a, b in zip(exact.faults, moved.faults, strict=True))
    assert [fault.at_s for fault in moved.faults] != [fault.at_s for fault in exact.faults]


def test_scale_stretches_the_run_and_the_fixed_times() -> None:
    plan = make_plan(declared(faults.kill(at=seconds(5))), "x", 1, scale=2)
    assert plan.duration_s == 40
    assert plan.faults[0].at_s == 10


def test_staggered_faults_overlap_and_heal_in_another_order() -> None:
    schedule = faults.staggered(faults.pause(lasting=seconds(1)), step=seconds(0.5), at=seconds(1))
    plans = [make_plan(declared(schedule), "x", seed).faults for seed in range(20)]
    largest = max(plans, key=len)
    starts = [fault.at_s for fault in largest]
    ends = [fault.at_s + fault.lasting_s for fault in largest]
    assert len(largest) >= 3
    assert len({fault.fault.who for fault in largest}) == len(largest)  # type: ignore[attr-defined]
    assert max(starts) < min(ends)
    assert ends != sorted(ends)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: faults.kill(every=seconds(-1)), "every must be more than zero"),
        (lambda: faults.kill(every=seconds(1), at=seconds(1)), "both at= and every="),
        (lambda: faults.pause(every=seconds(1), lasting=seconds(-2)), "lasting must be more"),
        (lambda: faults.kill(every=seconds(1), jitter=0.7), "jitter"),
        (lambda: faults.netsplit("circle"), "no shape 'circle'"),
        (lambda: faults.netsplit("groups"), "groups=None"),
        (lambda: faults.netsplit("halves", groups=[["node-1"]]), "do not go together"),
        (lambda: faults.netsplit("halves", how="tear"), "how='tear'"),
        (lambda: faults.bandwidth(0), "no bandwidth"),
        (lambda: faults.latency(seconds(1), latency_jitter=seconds(2)), "more than latency"),
        (lambda: faults.mixed(), "nothing to choose"),
        (lambda: faults.mixed(faults.kill(every=seconds(1)), every=seconds(2)), "times of its own"),
        (lambda: faults.staggered(faults.netsplit("halves")), "hits nodes"),
        (lambda: faults.reset(links="some"), "links='some'"),
        (lambda: Store(nodes=0), "cannot have 0 nodes"),
        (lambda: Experiment(target="etcd"), "is no target"),
        (lambda: Experiment(target=Store(), faults=[faults.kill(at=1)]), "no workload"),
        (lambda: declared(3), "is no fault"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_is_written(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (faults.kill(who="leadr", every=seconds(3)), r"'leadr'(.|\n)*node-1(.|\n)*leader"),
        (faults.kill(who=["node-9"], every=seconds(3)), "'node-9'"),
        (faults.kill(), "does not say when"),
        (faults.pause(every=seconds(3)), "for how long"),
        (faults.kill(every=seconds(30)), "No kill fits"),
        (faults.kill(at=seconds(19.5), restart_after=seconds(1)), "No kill fits"),
        (faults.kill(every=0.001), "would happen 20000 times"),
        (
            faults.netsplit(
                "groups", groups=[["node-1"], ["node-1"]], every=seconds(3), lasting=seconds(1)
            ),
            "node-1",
        ),
        (
            faults.netsplit("isolate", who="all", every=seconds(3), lasting=seconds(1)),
            "nobody on the other side",
        ),
    ],
)
def test_a_schedule_that_cannot_work_is_refused_before_anything_starts(
    fault: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(declared(fault), "x", 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda plan: plan.pop("nodes"),
        lambda plan: plan.pop("duration_s"),
        lambda plan: plan["faults"][0].pop("at_s"),
        lambda plan: plan["faults"][0].update(kind="earthquake"),
        lambda plan: plan["faults"][0]["fields"].update(colour="red"),
        lambda plan: plan.update(schema=99),
    ],
)
def test_a_damaged_plan_is_refused(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "plan.json"
    make_plan(declared(*EVERY_KIND), "x", 1).write(path)
    plan = json.loads(path.read_text())
    damage(plan)
    path.write_text(json.dumps(plan))
    with pytest.raises((UnreadableError, UsageError)):
        read_plan(path)


def test_the_decorator_leaves_the_function_as_it_is() -> None:
    @experiment(target=Store(), workload=registers(StoreClient), duration=seconds(1))
    def test_something(run: Any) -> str:
        return "called"

    found = experiment_of(test_something)
    assert found is not None and found.target == Store()
    assert test_something(None) == "called"
    assert experiment_of(len) is None
