"""Shrinks on oracles in the place of clusters: what they come to, and how they are stopped."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BrokenError, UsageError
from harness.failure import Failure
from harness.plan import Plan, read_plan
from harness.replay.repeat import Repeat
from harness.shrink import Budget, Hints, edits, sentence, shrink
from harness.shrink.judge import Candidate, Judge
from harness.shrink.log import Log
from harness.shrink.rate import Rule
from tests.support.synthetic import LOST, OTHER, Oracle, needs, plan_of


def shrunk_by(oracle: Any, plan: Plan, folder: Path, **options: Any) -> Any:
    return shrink(plan, LOST, oracle, folder=folder, **options)


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_what_is_needed_is_left_and_nothing_else(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    plan = plan_of(data.draw(st.integers(0, 8)), ops=40, seed=data.draw(st.integers(0, 99)))
    ids = data.draw(st.sets(st.sampled_from([f.id for f in plan.faults]), max_size=3)
                    if plan.faults else st.just(set()))  # fmt: skip
    values = data.draw(st.sets(st.integers(0, 39), max_size=2))
    holds = needs(sorted(ids), sorted(values))
    oracle = Oracle(holds)
    shrunk = shrunk_by(oracle, plan, tmp_path_factory.mktemp("s"))
    assert shrunk.why == "done"
    assert holds(shrunk.plan)
    assert {fault.id for fault in shrunk.plan.faults} == ids
    assert {op.request.values[0] for op in shrunk.plan.ops} >= values
    assert shrunk.ops[1] == max(1, len(values))
    assert (shrunk.rate.hits, shrunk.rate.runs) == (10, 10)
    assert shrunk.confirmed
    assert edits.length(shrunk.plan) <= math.ceil(edits.length(plan))


def test_the_report_says_it_all(tmp_path: Path) -> None:
    lines: list[str] = []
    plan = plan_of(10, ops=200)
    shrunk = shrunk_by(Oracle(needs(["f4"], [77])), plan, tmp_path / "new", tell=lines.append)
    assert shrunk.faults == (10, 1)
    assert shrunk.ops == (200, 1)
    assert str(shrunk).startswith("pause the leader for 0.")
    assert "; 1 client, 1 op, " in str(shrunk)
    assert "reproduced 10 of 10 (95 % interval 0.72-1.00)\n" in str(shrunk)
    assert "faults 10 → 1, ops 200 → 1, 48.75 s → " in str(shrunk)
    assert lines[0] == "the plan as it was given: reproduced 3 of 3 (95 % interval 0.44-1.00)"
    assert any(line.startswith("faults: faults 10 → 1 (") for line in lines)
    kept = read_plan(tmp_path / "new" / "plan.json")
    assert kept.about == shrunk.sentence == sentence(kept)
    assert kept.failure is not None
    assert Failure.from_json(kept.failure) == LOST
    assert edits.same(kept, shrunk.plan)


def test_a_failure_that_needs_no_fault_is_told_so(tmp_path: Path) -> None:
    shrunk = shrunk_by(Oracle(needs()), plan_of(6), tmp_path)
    assert shrunk.sentence.startswith("no fault; 1 client, 1 op, ")


def test_other_failures_are_not_taken_for_the_wanted_one(tmp_path: Path) -> None:
    oracle = Oracle(needs(["f2"]), otherwise=OTHER)
    assert [f.id for f in shrunk_by(oracle, plan_of(6), tmp_path).plan.faults] == ["f2"]


def test_what_does_not_fail_again_is_not_shrunk(tmp_path: Path) -> None:
    plan = plan_of(3)
    oracle = Oracle(lambda plan: False)
    shrunk = shrunk_by(oracle, plan, tmp_path)
    assert (shrunk.why, shrunk.reproduced) == ("not reproduced", False)
    assert str(shrunk).startswith("not reproduced in 5 runs: ")
    assert oracle.runs == 5
    assert edits.same(shrunk.plan, plan)
    assert not (tmp_path / "plan.json").exists()


def test_nothing_is_carried_out_twice_for_nothing(tmp_path: Path) -> None:
    oracle = Oracle(needs(["f3", "f7"], [10]))
    shrunk_by(oracle, plan_of(8), tmp_path)
    rejected = {line["judged"] for line in log_of(tmp_path) if line.get("accepted") is False}
    assert rejected
    assert max(oracle.times[name] for name in rejected) <= 2


@pytest.mark.parametrize("rate", [0.9, 0.7, 0.4])
def test_flaky_failures_are_shrunk_too(rate: float, tmp_path: Path) -> None:
    found = []
    for seed in range(5):
        oracle = Oracle(needs(["f2"], [10, 11]), rate, seed)
        shrunk = shrunk_by(oracle, plan_of(8, ops=80), tmp_path / str(seed))
        if shrunk.reproduced:
            found.append(shrunk)
    assert len(found) >= 4
    good = [s for s in found if s.faults[1] <= 2 and s.ops[1] <= 16 and s.rate.share > rate - 0.35]
    assert len(good) >= len(found) - 1


def test_a_plan_that_fails_too_seldom_is_given_up_for_an_earlier_one(tmp_path: Path) -> None:
    # The fewer ops, the seldomer it fails, down to six times of ten.
    def rate(plan: Plan) -> float:
        return 0.98 if len(plan.ops or ()) >= 20 else 0.6

    found = [
        shrunk_by(Oracle(needs(["f1"]), rate, seed), plan_of(4, ops=160), tmp_path / str(seed))
        for seed in range(10)
    ]
    assert sum(rate(shrunk.plan) == 0.98 for shrunk in found) >= 6
    assert all(shrunk.faults[1] == 1 for shrunk in found)
    for number, shrunk in enumerate(found):
        assert edits.same(read_plan(tmp_path / str(number) / "plan.json"), shrunk.plan)


@settings(deadline=None, max_examples=15)
@given(limit=st.integers(1, 70))
def test_a_budget_of_runs_is_kept_and_the_best_so_far_fails(
    limit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("s")
    holds = needs(["f2", "f5"], [30])
    oracle = Oracle(holds)
    shrunk = shrunk_by(oracle, plan_of(8), folder, budget=Budget(runs=limit))
    assert oracle.runs == shrunk.runs <= limit
    assert shrunk.why == "spent" or shrunk.runs < limit
    assert holds(shrunk.plan)
    assert edits.same(read_plan(folder / "plan.json"), shrunk.plan)


def test_a_budget_of_seconds_is_kept(tmp_path: Path) -> None:
    now_s = 0.0

    def clock() -> float:
        return now_s

    def carry(plan: Plan) -> Future[Repeat]:
        nonlocal now_s
        now_s += 7.0
        return oracle(plan)

    oracle = Oracle(needs(["f2"]))
    options = {"budget": Budget(seconds=100.0), "clock": clock}
    shrunk = shrunk_by(carry, plan_of(8), tmp_path, **options)
    assert 80 <= shrunk.seconds <= 107
    assert shrunk.faults[1] == 1
    assert str(shrunk).endswith(" s; the budget is spent")


@settings(deadline=None, max_examples=6)
@given(limits=st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_a_shrink_that_was_stopped_goes_on_where_it_was(
    limits: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    plan, holds = plan_of(6), needs(["f2", "f5"], [30])
    whole = Oracle(holds)
    expected = shrunk_by(whole, plan, tmp_path_factory.mktemp("whole"))
    folder, oracle = tmp_path_factory.mktemp("parts"), Oracle(holds)
    for limit in limits:
        shrunk_by(oracle, plan, folder, budget=Budget(runs=limit))
    # As if the machine had gone down while a line was written.
    with (folder / "log.jsonl").open("ab") as log:
        log.write(b'{"run_of": "')
    last = shrunk_by(oracle, plan, folder)
    assert last.plan == expected.plan
    assert last.known + last.runs == oracle.runs
    # Nothing but what confirmed the best of a part was run beyond what is needed in any case.
    assert oracle.runs <= whole.runs + 10 * len(limits)
    again = shrunk_by(oracle, plan, folder)
    assert (again.runs, again.plan, again.rate) == (0, last.plan, last.rate)


def test_ctrl_c_leaves_the_best_so_far_and_the_log(tmp_path: Path) -> None:
    plan, holds = plan_of(6), needs(["f2"], [30])
    whole = Oracle(holds)
    expected = shrunk_by(whole, plan, tmp_path / "whole")
    oracle = Oracle(holds)

    def carry(plan: Plan) -> Future[Repeat]:
        if oracle.runs == 12:
            raise KeyboardInterrupt
        return oracle(plan)

    with pytest.raises(KeyboardInterrupt):
        shrunk_by(carry, plan, tmp_path / "s")
    assert holds(read_plan(tmp_path / "s" / "plan.json"))
    assert len(read_plan(tmp_path / "s" / "plan.json").faults) < 6
    oracle = Oracle(holds)
    again = shrunk_by(oracle, plan, tmp_path / "s")
    assert again.plan == expected.plan
    assert 12 + oracle.runs == whole.runs


def test_a_folder_belongs_to_one_plan(tmp_path: Path) -> None:
    shrunk_by(Oracle(needs()), plan_of(1), tmp_path)
    with pytest.raises(UsageError, match="the shrink of another plan"):
        shrunk_by(Oracle(needs()), plan_of(2), tmp_path)
    with pytest.raises(UsageError, match="the shrink of another plan"):
        shrink(plan_of(1), OTHER, Oracle(needs()), folder=tmp_path)


class Spoilt:
    """An oracle some of whose runs are spoilt by the infrastructure."""

    def __init__(self, oracle: Oracle, spoils: Callable[[Plan, int], bool], raises: bool) -> None:
        self.oracle = oracle
        self.spoils = spoils
        self.raises = raises
        self.runs = 0

    def __call__(self, plan: Plan) -> Future[Repeat]:
        self.runs += 1
        if not self.spoils(plan, self.runs):
            return self.oracle(plan)
        future: Future[Repeat] = Future()
        if self.raises:
            future.set_exception(BrokenError("The worker died."))
        else:
            future.set_result(Repeat(Path("run"), "broken", (), 1.0, 0))
        return future


@pytest.mark.parametrize("raises", [True, False])
def test_a_run_that_the_machine_spoilt_is_repeated_and_does_not_count(
    raises: bool, tmp_path: Path
) -> None:
    holds = needs(["f2"], [30])
    whole = Oracle(holds)
    expected = shrunk_by(whole, plan_of(4), tmp_path / "whole")
    spoilt = Spoilt(Oracle(holds), lambda plan, run: run % 20 == 2, raises)
    shrunk = shrunk_by(spoilt, plan_of(4), tmp_path / "s")
    assert shrunk.plan == expected.plan
    assert spoilt.runs > spoilt.oracle.runs == whole.runs


@pytest.mark.parametrize("raises", [True, False])
def test_a_plan_that_cannot_be_carried_out_is_none(raises: bool, tmp_path: Path) -> None:
    # Without f3 the fault f2 finds nobody to hit, say.
    spoilt = Spoilt(Oracle(needs(["f2"])), lambda p, run: len(p.faults) == 1, raises)
    shrunk = shrunk_by(spoilt, plan_of(4), tmp_path)
    assert len(shrunk.plan.faults) == 2


def test_what_could_not_be_carried_out_at_all_is_raised(tmp_path: Path) -> None:
    spoilt = Spoilt(Oracle(needs()), lambda plan, run: True, True)
    with pytest.raises(BrokenError, match="The worker died"):
        shrunk_by(spoilt, plan_of(2), tmp_path)


def test_runs_that_were_aborted_count_as_not_reproduced(tmp_path: Path) -> None:
    future: Future[Repeat] = Future()
    future.set_result(Repeat(Path("run"), "aborted", (), 1.0, 0))
    assert shrunk_by(lambda plan: future, plan_of(2), tmp_path).original.runs == 5


class Threads:
    """An oracle whose runs take a moment, in threads; `most` says how many there were at once."""

    def __init__(self, oracle: Oracle, at_once: int) -> None:
        self.oracle = oracle
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(at_once)
        self._rng = random.Random(1)

    def __call__(self, plan: Plan) -> Future[Repeat]:
        answer, wait_s = self.oracle(plan).result(), self._rng.random() / 500
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        return self._pool.submit(self._run, answer, wait_s)

    def _run(self, answer: Repeat, wait_s: float) -> Repeat:
        time.sleep(wait_s)  # (runs take differently long)
        with self._lock:
            self._now -= 1
        return answer

    def close(self) -> None:
        self._pool.shutdown()


@pytest.mark.parametrize("at_once", [2, 4])
def test_several_runs_at_once_come_to_what_is_needed_too(at_once: int, tmp_path: Path) -> None:
    threads = Threads(Oracle(needs(["f2", "f7"], [30])), at_once)
    shrunk = shrunk_by(threads, plan_of(8), tmp_path, at_once=at_once)
    threads.close()
    assert [fault.id for fault in shrunk.plan.faults] == ["f2", "f7"]
    assert shrunk.ops[1] == 1
    assert threads.most == at_once


def test_no_more_runs_are_started_at_once_than_it_takes_to_accept(tmp_path: Path) -> None:
    plan, oracle = plan_of(4), Oracle(needs(["f2"]))
    shrunk = shrunk_by(oracle, plan, tmp_path, at_once=4)
    assert oracle.times[edits.digest(plan)] == 3
    assert oracle.times[edits.digest(shrunk.plan)] <= 3 + 10


@pytest.mark.parametrize(("hit", "chosen"), [(True, 0), (False, 1)])
def test_of_a_batch_the_first_in_order_is_taken_whichever_ends_first(
    hit: bool, chosen: int, tmp_path: Path
) -> None:
    plans = [plan_of(number) for number in (1, 2, 3)]
    ends = {edits.digest(plan): Future[Repeat]() for plan in plans}
    order: list[str] = []

    def end(number: int, failed: bool) -> None:
        failures = (LOST,) if failed else ()
        ends[edits.digest(plans[number])].set_result(Repeat(Path("r"), "x", failures, 1.0, 1))

    def carry(plan: Plan) -> Future[Repeat]:
        order.append(edits.digest(plan))
        if len(order) == 2:
            end(1, True)
            threading.Timer(0.05, end, (0, hit)).start()
        return ends[order[-1]]

    with Log(tmp_path / "log.jsonl", "x", LOST) as log:
        judge = Judge(carry, LOST, log, at_once=2)
        batch = [None, *(Candidate(plan, "a plan") for plan in plans)]
        assert judge.first(batch, Rule(1, 1)) == chosen + 1
    assert judge.runs <= 3


def test_hints_save_runs_and_wrong_ones_do_no_harm(tmp_path: Path) -> None:
    runs = {}
    needed = ["f5", "f12"]
    hinted = {"none": [], "right": ["f5", "f11", "f12"], "wrong": ["f1", "f2"]}
    for name, faults in hinted.items():
        oracle = Oracle(needs(needed))
        hints = Hints(frozenset(faults), frozenset({1}), ("k9",), (3.0, 4.0))
        shrunk = shrunk_by(oracle, plan_of(14), tmp_path / name, hints=hints)
        assert [fault.id for fault in shrunk.plan.faults] == needed
        runs[name] = next(
            number for number, plan in enumerate(oracle.plans, 1) if len(plan.faults) == 2
            and oracle.hits[number - 1]
        )  # fmt: skip
    assert runs["right"] < runs["none"] <= runs["wrong"] + 1
    assert max(runs.values()) <= 16


def test_load_is_dropped_if_it_is_not_needed(tmp_path: Path) -> None:
    plan = replace(plan_of(2), load={"script": "x.js"})
    assert shrunk_by(Oracle(needs()), plan, tmp_path / "1").plan.load is None
    needed = Oracle(lambda plan: plan.load is not None)
    assert shrunk_by(needed, plan, tmp_path / "2").plan.load is not None


def test_a_plan_without_listed_ops_is_shrunk_in_its_faults_and_time(tmp_path: Path) -> None:
    plan = replace(plan_of(6), ops=None)
    oracle = Oracle(lambda plan: any(fault.id == "f3" for fault in plan.faults))
    shrunk = shrunk_by(oracle, plan, tmp_path)
    assert shrunk.faults == (6, 1)
    assert shrunk.plan.ops is None
    assert shrunk.plan.duration_s < 6


def test_nodes_and_lengths_of_faults_shrink(tmp_path: Path) -> None:
    # f1 cuts two nodes from three; one pair is needed, for a second.
    def holds(plan: Plan) -> bool:
        for planned in plan.faults:
            cuts = planned.fault.to_json().get("cuts") or ()
            if ("node-2", "node-4") in [tuple(cut) for cut in cuts]:
                return planned.lasting_s >= 1
        return False

    plan = plan_of(1)
    long = replace(plan.faults[0], lasting_s=4.789)
    shrunk = shrunk_by(Oracle(holds), replace(plan, faults=(long,)), tmp_path)
    assert shrunk.sentence.startswith("cut node-2 from node-4 for 1.")


def test_a_log_has_one_writer(tmp_path: Path) -> None:
    with Log(tmp_path / "log.jsonl", "x", LOST), pytest.raises(UsageError, match="already"):
        Log(tmp_path / "log.jsonl", "x", LOST)
    Log(tmp_path / "log.jsonl", "x", LOST).close()
