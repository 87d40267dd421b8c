"""The checks of jobs on histories by hand: what is sound, what is not, and what says nothing."""

from __future__ import annotations

from typing import Any

import pytest

from harness import seconds
from harness.check import Verdict
from harness.history import Op
from targets.jobs.checks import (
    audit_complete,
    cron_windows,
    dead_letters,
    deployments,
    drain,
    limits,
    taken_over,
    unique,
)
from targets.jobs.client import ACTOR, NOT_SO
from tests.support.timelines import event, fault, op, run


def final(f: str, result: list[Any], at: float = 90) -> Op:
    return op(f, None, "ok", at, result=result, node="postgres", final=True)


def says(verdict: Verdict, result: str, *anomalies: str) -> None:
    assert verdict.result == result, verdict.summary
    assert verdict.anomalies == list(anomalies)


@pytest.mark.parametrize(
    "check",
    [
        audit_complete(),
        cron_windows(every=1, late=1),
        dead_letters(attempts=4),
        deployments(["switched"]),
        drain(http=1, jobs=1),
        limits({"sync": 1}),
        taken_over(),
        unique(),
    ],
)
def test_a_history_without_anything_says_nothing(check: Any) -> None:
    says(check(run()), "unknown")


# The audit log

REFUSED = final("tamper", [["jobs", "update", "refused"], ["jobs_owner", "delete", "refused"]])


def change(f: str, request: str, outcome: Any = "ok", result: Any = "name") -> Op:
    return op(f, "account-01", outcome, 1, value=request, result=result)


def row(action: str, subject: str, request: str, actor: str = ACTOR) -> list[str]:
    return [action, subject, actor, request]


def audited(ops: list[Op], rows: list[list[str]], *more: Op) -> Verdict:
    return audit_complete(at_least=1)(run([*ops, final("audit", rows), *(more or (REFUSED,))]))


CHANGE = change("rename", "r1")
ROW = row("account.updated", "account-01", "r1")


def test_each_change_has_one_row() -> None:
    says(audited([CHANGE], [ROW]), "valid")
    says(audited([CHANGE], []), "invalid", "unaudited")
    says(audited([CHANGE], [ROW, ROW]), "invalid", "audited-twice")
    others = row("account.updated", "account-09", "k6-1", actor="k6")
    says(audited([CHANGE], [ROW, others]), "valid")


def test_a_change_that_nobody_knows_of_may_have_one() -> None:
    lost = change("delete", "r2", "info", None)
    gone = row("account.deleted", "account-01", "r2")
    says(audited([CHANGE, lost], [ROW]), "valid")
    says(audited([CHANGE, lost], [ROW, gone]), "valid")


@pytest.mark.parametrize(
    "undone", [change("delete", "r2", "fail", None), change("delete", "r2", "ok", NOT_SO)]
)
def test_what_was_not_done_has_none(undone: Op) -> None:
    says(audited([CHANGE, undone], [ROW]), "valid")
    gone = row("account.deleted", "account-01", "r2")
    says(audited([CHANGE, undone], [ROW, gone]), "invalid", "audit-of-nothing")


def test_nor_has_what_nobody_asked_for() -> None:
    strange = row("account.deleted", "account-07", "r9")
    says(audited([CHANGE], [ROW, strange]), "invalid", "audit-of-nothing")


def test_a_job_has_one_however_often_its_key_was_sent() -> None:
    twice = [op("enqueue", "j1", "ok", at, result="j1") for at in (1, 2)]
    says(audited(twice, [row("job.enqueued", "j1", "j1")]), "valid")
    says(audited(twice, []), "invalid", "unaudited")
    claim = op("claim", "j2", "ok", 3, value=["q", "text"], result="j1")
    enqueued = row("job.enqueued", "j1", "j1")
    says(audited([*twice, claim], [enqueued]), "valid")
    wrong = row("job.enqueued", "j2", "j2")
    says(audited([*twice, claim], [enqueued, wrong]), "invalid", "audit-of-nothing")


def test_a_dead_job_has_a_row_of_the_service() -> None:
    dead = final("letters", [["j3", "dead", 4], ["j4", "done", 0]])
    told = row("job.dead", "j3", "x", actor="worker-1")
    says(audited([CHANGE], [ROW, told], dead, REFUSED), "valid")
    says(audited([CHANGE], [ROW], dead, REFUSED), "invalid", "unaudited")


def test_a_log_that_can_be_changed_is_none() -> None:
    done = final("tamper", [["jobs", "update", "done"]])
    says(audited([CHANGE], [ROW], done), "invalid", "can-be-changed")
    nobody_tried = op("get", "account-01", "ok", 3)
    says(audited([CHANGE], [ROW], nobody_tried), "unknown")


def test_few_changes_are_no_test() -> None:
    says(audit_complete()(run([CHANGE, final("audit", [ROW]), REFUSED])), "unknown")


# Cron


def runs(*found: tuple[int, float, int], now_s: float) -> Verdict:
    rows = [["rollup", window, f"worker-{epoch}", epoch, at_s] for window, at_s, epoch in found]
    check = cron_windows(every=seconds(1), late=seconds(2), leaders=2)
    return check(run([final("runs", [now_s, rows])]))


def test_each_window_has_one_run_though_some_are_late() -> None:
    says(runs((10, 10.1, 1), (11, 11.1, 1), (12, 13.4, 2), (13, 13.5, 2), now_s=14.5), "valid")


def test_a_window_that_two_leaders_ran_is_doubled() -> None:
    verdict = runs((10, 10.1, 1), (11, 11.1, 1), (11, 11.2, 2), (12, 12.1, 2), now_s=12.5)
    says(verdict, "invalid", "doubled")
    assert "worker-1 (epoch 1), worker-2 (epoch 2)" in verdict.summary


def test_a_window_that_nobody_ran_is_missed() -> None:
    says(runs((10, 10.1, 1), (12, 12.1, 2), (13, 13.1, 2), now_s=13.5), "invalid", "missed")


def test_one_before_another_that_was_run_is_missed_however_late_it_may_be() -> None:
    check = cron_windows(every=seconds(1), late=seconds(30), leaders=2)
    rows = [["rollup", window, "worker-1", window, window + 0.1] for window in (10, 12, 13)]
    says(check(run([final("runs", [13.5, rows])])), "invalid", "missed")


def test_so_are_those_at_the_end_when_they_should_have_been_run() -> None:
    says(runs((10, 10.1, 1), (11, 11.1, 2), (12, 12.1, 2), now_s=14.9), "valid")
    says(runs((10, 10.1, 1), (11, 11.1, 2), (12, 12.1, 2), now_s=15.1), "invalid", "missed")


def test_a_run_is_neither_early_nor_too_late() -> None:
    says(runs((10, 9.9, 1), (11, 11.1, 2), (12, 12.1, 2), now_s=12.5), "invalid", "early")
    says(runs((10, 12.1, 1), (11, 12.2, 2), (12, 12.3, 2), now_s=12.5), "invalid", "late")


def test_without_another_leader_nothing_was_tested() -> None:
    says(runs((10, 10.1, 1), (11, 11.1, 1), (12, 12.1, 1), now_s=12.5), "unknown")
    says(runs((10, 10.1, 1), (11, 11.1, 2), now_s=11.5), "unknown")


# Limits, unique jobs, dead letters, takeovers


def effect(key: str, began_s: float, ended_s: float, queue: str = "sync") -> list[Any]:
    return [key, queue, "worker-1", 1, began_s, ended_s]


def test_jobs_one_after_the_other_keep_a_limit_of_one() -> None:
    check = limits({"sync": 1})
    one, two = effect("a", 1, 2), effect("b", 2, 3)
    says(check(run([final("effects", [one, two])])), "valid")
    says(check(run([final("effects", [one, effect("b", 1.9, 3)])])), "invalid", "over-limit")
    says(check(run([final("effects", [one, effect("b", 1.9, 3, "other")])])), "valid")


def test_a_limit_that_nothing_came_near_was_not_tested() -> None:
    says(limits({"sync": 2})(run([final("effects", [effect("a", 1, 2)])])), "unknown")


def claim(key: str, at: float, made: str) -> Op:
    return op("claim", key, "ok", at, value=["sync", "text"], result=made)


def test_a_text_is_free_again_when_its_job_has_begun_its_last_run() -> None:
    started = event(5, "worker-1", "start", key="a")
    ops = [claim("a", 1, "a"), claim("b", 2, "a")]
    says(unique()(run([*ops, claim("c", 5.5, "c")], events=[started])), "valid")
    says(unique()(run([*ops, claim("c", 4.5, "c")], events=[started])), "invalid", "not-unique")
    says(unique()(run([ops[0]], events=[started])), "unknown")


def letters(rows: list[list[Any]], effects: list[list[Any]] | None = None) -> Verdict:
    ops = [op("doom", "d1", "ok", 1, result="d1"), op("enqueue", "j1", "ok", 1, result="j1")]
    return dead_letters(attempts=4)(
        run([*ops, final("letters", rows), final("effects", effects or [effect("j1", 1, 2)])])
    )


def test_doomed_jobs_and_no_others_are_dead_in_the_end() -> None:
    done, dead = ["j1", "done", 1], ["d1", "dead", 4]
    says(letters([done, dead]), "valid")
    says(letters([done, ["d1", "done", 4]]), "invalid", "not-dead")
    says(letters([done]), "invalid", "not-dead")
    says(letters([done, ["d1", "dead", 5]]), "invalid", "tried-too-often")
    says(letters([["j1", "dead", 4], dead]), "invalid", "dead-for-nothing")
    says(letters([done, dead], [effect("d1", 1, 2)]), "invalid", "effect-of-dead")
    says(letters([dead]), "invalid", "forgotten")


def test_what_was_taken_over_ended() -> None:
    taken = event(5, "worker-2", "taken-over", key="j1")
    done = final("letters", [["j1", "done", 0]])
    says(taken_over()(run([done], events=[taken])), "valid")
    says(taken_over(at_least=2)(run([done], events=[taken])), "unknown")
    left = final("letters", [["j1", None, 0]])
    says(taken_over()(run([left], events=[taken])), "invalid", "abandoned")


# Drains and deployments


def drained(**counts: int) -> Verdict:
    ended = {"http": 132, "jobs": 12, "handed_back": 5, "lost": 0, **counts}
    return drain(http=132, jobs=17)(
        run(
            faults=[fault(10, 10.5, "node-1", kind="stop")],
            events=[event(8, "node-1", "draining"), event(9, "node-1", "drained", **ended)],
        )
    )


def test_a_drain_that_loses_nothing_says_how_much_it_was() -> None:
    verdict = drained()
    says(verdict, "valid")
    told = "drained_http=132 drained_jobs=17 (of which 5 handed back) lost_work=0"
    assert told in verdict.summary


def test_a_drain_that_loses_something_or_is_none() -> None:
    says(drained(lost=1), "invalid", "lost-in-drain")
    says(drained(http=131), "unknown")
    kill = fault(10, 10.5, "node-1", kind="stop")
    says(drain(http=0, jobs=0)(run(faults=[kill])), "invalid", "not-drained")


def test_a_drain_of_another_time_is_not_that_of_a_stop() -> None:
    events = [event(50, "node-1", "draining"), event(51, "node-1", "drained", http=9)]
    stop = fault(10, 10.5, "node-1", kind="stop")
    says(drain(http=0, jobs=0)(run(faults=[stop], events=events)), "invalid", "not-drained")


def test_switches_end_as_they_should() -> None:
    told = [
        event(1, "gate", "switch", to="green", outcome="refused", reason="not ready"),
        event(2, "gate", "switch", to="green", outcome="switched", reason="healthy"),
    ]
    says(deployments(["refused", "switched"])(run(events=told)), "valid")
    says(deployments(["switched"])(run(events=told)), "invalid", "other-outcome")
    says(deployments(["refused", "switched", "switched"])(run(events=told)), "unknown")
