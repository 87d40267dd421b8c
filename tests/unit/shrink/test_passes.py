"""Candidates: whatever a pass offers is a smaller plan that can be carried out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import faults
from harness.plan import Plan, PlannedFault, read_plan
from harness.shrink import edits, passes
from harness.shrink.hints import Hints
from tests.support.synthetic import NODES, faulty, plan_of

PASSES = (
    passes.fewer_faults,
    passes.each_fault,
    passes.no_load,
    passes.shorter,
    passes.fewer_ops,
    passes.shorter_faults,
    passes.fewer_clients,
    passes.fewer_keys,
    passes.fewer_nodes,
    passes.fewer_moments,
    passes.single_ops,
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    plan = plan_of(
        draw(st.integers(0, 6)),
        clients=draw(st.integers(1, 4)),
        keys=draw(st.integers(1, 4)),
        ops=draw(st.integers(1, 40)),
        seed=draw(st.integers(0, 1000)),
    )
    if draw(st.booleans()):
        plan = replace(plan, load={"script": "x.js"})
    return replace(plan, ops=None) if draw(st.integers(0, 9)) == 0 else plan


def check(candidate: Plan, given: Plan, path: Path) -> None:
    """That a plan can be carried out, survives being written, and is no larger than `given`."""
    assert faulty(candidate) == []
    candidate.write(path)
    assert json.dumps(read_plan(path).to_json()) == json.dumps(candidate.to_json())
    assert edits.digest(read_plan(path)) == edits.digest(candidate)
    assert len(candidate.faults) <= len(given.faults)
    assert edits.length(candidate) <= edits.length(given)
    before = [op.request.values for op in given.ops or ()]
    after = [op.request.values for op in candidate.ops or ()]
    assert after == [values for values in before if values in after]
    homes = {op.request.values: op.client for op in given.ops or ()}
    assert all(homes[op.request.values] == op.client for op in candidate.ops or ())


@settings(deadline=None, max_examples=25)
@given(plan=plans(), data=st.data())
def test_every_candidate_is_a_smaller_plan_that_can_be_carried_out(
    plan: Plan, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "plan.json"
    hints = Hints(
        frozenset(data.draw(st.sets(st.sampled_from([f"f{n}" for n in range(1, 7)])))),
        frozenset(data.draw(st.sets(st.integers(0, 3)))),
        tuple(data.draw(st.sets(st.sampled_from(["k0", "k1", "k2"])))),
        data.draw(st.none() | st.just((3.0, 5.0))),
    )
    make = data.draw(st.sampled_from(PASSES))
    steps, got = make(plan, hints, data.draw(st.integers(1, 3))), None
    try:
        for _ in range(60):
            tried = steps.send(got)
            possible = [n for n, one in enumerate(tried.candidates) if one is not None]
            for number in possible:
                offered = tried.candidates[number]
                assert offered is not None
                assert offered.digest != edits.digest(plan), "there is something less in it"
                check(offered.plan, plan, path)
            got = data.draw(st.sampled_from(possible)) if possible and data.draw(st.booleans()) \
                else None  # fmt: skip
    except StopIteration:
        pass


def test_time_after_before_and_between_faults_is_cut_out() -> None:
    plan = plan_of(3, ops=60)
    first, *_, last = plan.faults
    tail = edits.until(plan, edits.end(last) + 0.5)
    assert tail is not None
    assert tail.duration_s == pytest.approx(edits.end(last) + 0.5)
    assert max(op.at_s for op in tail.ops or ()) <= tail.duration_s
    head = edits.cut_out(plan, -1, first.at_s - 0.5)
    assert head is not None
    assert head.faults[0].at_s == pytest.approx(0.5)
    assert min(op.at_s for op in head.ops or ()) >= 0
    assert plan.duration_s - head.duration_s == pytest.approx(first.at_s - 0.5)
    # What is done before the faults' phase may be needed, and stays if it is asked for.
    kept = edits.cut_out(plan, 0, first.at_s - 0.5)
    assert kept is not None
    assert min(op.at_s for op in kept.ops or ()) < 0
    from_s, to_s = edits.gaps(plan)[-1]
    between = edits.cut_out(plan, from_s, to_s)
    assert between is not None
    assert between.faults[-1].at_s == pytest.approx(from_s)
    assert between.faults[:-1] == plan.faults[:-1]


def test_no_stretch_with_a_fault_in_it_is_cut_out() -> None:
    plan = plan_of(3)
    fault = plan.faults[0]
    assert edits.cut_out(plan, fault.at_s + 0.1, fault.at_s + 0.2) is None
    assert edits.cut_out(plan, fault.at_s - 0.1, fault.at_s + 0.1) is None
    assert edits.until(plan, edits.end(plan.faults[-1]) - 0.1) is None


def test_thinning_keeps_some_of_each_kind_and_is_always_the_same() -> None:
    plan = plan_of(1, ops=80)
    thin = edits.thinned(plan, 8)
    assert thin is not None
    assert thin == edits.thinned(plan, 8)
    assert {op.request.f for op in thin.ops or ()} == {"add", "read"}
    assert len(thin.ops or ()) <= 11


def one_fault(fault: faults.Fault) -> tuple[Plan, PlannedFault]:
    planned = PlannedFault("f1", 1.234, 2.345, fault)
    return replace(plan_of(0), faults=(planned,)), planned


def test_a_netsplit_is_cut_down_to_links() -> None:
    cuts = [(a, b) for a in NODES[:2] for b in NODES[2:]]
    cuts += [(b, a) for a, b in cuts]
    plan, fault = one_fault(faults.netsplit("groups", groups=[NODES[:2], NODES[2:]], cuts=cuts))
    assert edits.concerned(plan, fault) == list(NODES)
    fewer = edits.hitting(plan, fault, ["node-1", "node-3"])
    assert fewer is not None
    fields = fewer.faults[0].fault.to_json()
    assert fields["shape"] == "links"
    assert fields["links"] == fields["cuts"] == [("node-1", "node-3"), ("node-3", "node-1")]
    assert edits.hitting(plan, fault, ["node-1", "node-2"]) is None, "nothing would be cut"
    assert len(edits.pairs(plan, fault)) == 6


def test_a_netsplit_of_packets_keeps_its_shape_which_has_no_directions() -> None:
    cuts = [("node-1", "node-2"), ("node-2", "node-1"), ("node-1", "node-3"), ("node-3", "node-1")]
    plan, fault = one_fault(faults.netsplit(who="node-1", how="packets", cuts=cuts))
    fewer = edits.with_pairs(plan, fault, [("node-1", "node-2")])
    assert fewer is not None
    fields = fewer.faults[0].fault.to_json()
    assert (fields["shape"], fields["cuts"]) == ("isolate", cuts[:2])


def test_a_fault_that_names_several_nodes_hits_fewer() -> None:
    plan, fault = one_fault(faults.kill(who=("node-1", "node-2", "node-4")))
    fewer = edits.hitting(plan, fault, ["node-4"])
    assert fewer is not None
    assert fewer.faults[0].fault.to_json()["who"] == ("node-4",)
    plan, fault = one_fault(faults.kill(who="leader"))
    assert edits.concerned(plan, fault) == []


def test_figures_become_readable() -> None:
    plan, _ = one_fault(faults.latency(0.12345, who="node-1"))
    plan = replace(plan, duration_s=3.579)
    made = edits.rounded(plan, 1)
    assert made is not None
    (fault,) = made.faults
    assert (fault.at_s, fault.lasting_s) == (1.2, 2.3)
    assert fault.fault.to_json()["latency"] == 0.12
    assert made.duration_s == 3.6
    assert all(op.at_s == round(op.at_s, 1) for op in made.ops or ())
    assert edits.rounded(made, 1) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, 0.0), (0.12345, 0.12), (1.26, 1.3), (12.6, 13.0), (1234.5, 1234.0), (0.0004, 0.0)],
)
def test_two_digits_say_enough(value: float, said: float) -> None:
    assert edits.readable(value) == said


def test_plans_that_do_the_same_have_one_digest() -> None:
    plan = plan_of(2)
    assert edits.digest(plan) == edits.digest(replace(plan, about="x", failure={"check": "y"}))
    assert edits.digest(plan) != edits.digest(replace(plan, duration_s=plan.duration_s + 1))


def test_hints_are_what_was_in_force_around_the_ops() -> None:
    plan = plan_of(4)
    third = plan.faults[2]
    at_s = third.at_s + 0.1
    hints = Hints.around(plan, [(2, "k1", at_s, at_s + 0.1), (-1, "k1", 99.0, 99.5)])
    assert "f3" in hints.faults
    assert "f1" not in hints.faults
    assert "f4" not in hints.faults
    assert (hints.clients, hints.keys) == (frozenset({2}), ("k1",))
    assert hints.window_s == (at_s, at_s + 0.1)
    assert Hints.around(plan, []) == Hints()
