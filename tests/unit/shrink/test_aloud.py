"""Plans read aloud."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness import faults
from harness.faults import Fault
from harness.plan import Plan, PlannedFault
from harness.shrink.aloud import sentence
from harness.workload.script import PlannedOp
from harness.workload.workload import Request
from tests.support.synthetic import plan_of

A, B, C = "node-1", "node-2", "node-3"


def both(*pairs: tuple[str, str]) -> list[tuple[str, str]]:
    return [*pairs, *((b, a) for a, b in pairs)]


def planned(fault: Fault, at_s: float = 2, lasting_s: float = 4) -> PlannedFault:
    return PlannedFault("f1", at_s, lasting_s if fault.lasts else 0.0, fault)


def of(*schedule: PlannedFault, ops: int = 41, clients: int = 3, duration_s: float = 8) -> Plan:
    listed = tuple(PlannedOp(n % clients, n * 0.1, Request("read", "k")) for n in range(ops))
    return replace(plan_of(0), faults=schedule, ops=listed, duration_s=duration_s)


def netsplit(shape: str = "isolate", **fields: Any) -> PlannedFault:
    return planned(faults.netsplit(shape, **fields))


def test_a_plan_is_one_sentence() -> None:
    cut = netsplit(who=A, cuts=both((A, B), (A, C)))
    kill = planned(faults.kill(who=B), 6, 1)
    assert sentence(of(kill, cut)) == (
        "cut node-1 from node-2 and node-3 for 4 s (at 2 s), "
        "kill node-2 at 6 s (back after 1 s); 3 clients, 41 ops, 8 s"
    )


def test_a_failure_may_need_no_fault() -> None:
    assert sentence(of(ops=1, duration_s=0.5)) == "no fault; 1 client, 1 op, 0.5 s"


def test_what_is_not_listed_is_told_from_the_workload() -> None:
    plan = replace(of(), ops=None, load={"script": "x.js"})
    assert sentence(plan) == "no fault; 5 clients at 10 ops/s, load, 8 s"
    assert sentence(replace(plan, workload=None)) == "no fault; load, 8 s"


def test_of_a_long_schedule_the_rest_is_counted() -> None:
    pauses = [planned(faults.pause(who=A), at_s) for at_s in range(10)]
    said = sentence(of(*pauses))
    assert said.startswith("pause node-1 for 4 s (at 0 s), pause node-1 for 4 s (at 1 s), ")
    assert "and 2 more faults; 3 clients" in said


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (netsplit(who="leader"), "cut the leader from all others"),
        (netsplit("one-way", who="leader"), "cut what the leader says to all others"),
        (
            netsplit("one-way", who=A, cuts=[(A, B), (A, C)]),
            "cut what node-1 says to node-2 and node-3",
        ),
        (
            netsplit("groups", groups=[[A], [B], [C]], cuts=both((A, B), (A, C), (B, C))),
            "cut node-1, node-2 and node-3 from each other",
        ),
        (
            netsplit("links", links=[(A, B), (B, C)], cuts=[(A, B), (B, C)]),
            "cut node-1 → node-2 and node-2 → node-3",
        ),
        (
            netsplit("links", links=[(A, B)], cuts=[(A, "client")]),
            "cut what node-1 says to client",
        ),
        (
            netsplit("halves", how="reject", cuts=both((A, B), (A, C), (A, "node-4"), (B, C))),
            "cut node-1 from node-2, node-1 from node-3, node-1 from node-4 and "
            "node-2 from node-3 (reject)",
        ),
        (planned(faults.pause(who=(A, B))), "pause node-1 and node-2"),
        (planned(faults.latency(0.6, who="provider")), "latency 600 ms on the provider"),
        (planned(faults.clock_skew(300, who=C)), "clock skew +300 s on node-3"),
        (planned(faults.crash_loop(who=C)), "crash-loop on node-3"),
    ],
)
def test_each_kind_of_fault_has_its_words(fault: PlannedFault, said: str) -> None:
    assert sentence(of(fault)) == f"{said} for 4 s (at 2 s); 3 clients, 41 ops, 8 s"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (faults.reset(who=A), "reset node-1"),
        (faults.restart(who="leader"), "restart the leader"),
        (faults.kill_worker(who=A), "kill a worker of node-1"),
    ],
)
def test_what_is_over_at_once_has_no_length(fault: Fault, said: str) -> None:
    assert sentence(of(planned(fault))) == f"{said} at 2 s; 3 clients, 41 ops, 8 s"
