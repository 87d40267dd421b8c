"""Machines before they meet a cluster: what is refused, what they draw, what is concluded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from fixtures.registers import Registers, RegistersClient
from harness import faults, seconds
from harness.check import Verdict, linearizable
from harness.declare import experiment_of
from harness.errors import UsageError
from harness.machine import ClusterMachine
from harness.machine.explore import Exploration, Tally, final_of
from harness.machine.machine import _turns
from harness.machine.stage import Injected, final_reads
from harness.workload import Client, Request


class Machine(ClusterMachine):
    """Two rules."""

    target = Registers(nodes=3)
    client = RegistersClient
    faults = (faults.kill(), faults.pause(who="leader"), faults.reset())

    @rule(key=st.sampled_from("ab"))
    def write(self, key: str) -> None:
        self.begin("write", key, self.fresh())

    @rule()
    def read(self) -> None:
        self.op("read", "a", node="node-2")

    def check(self) -> None:
        self.expect(linearizable("register"))


def test_it_becomes_a_declared_experiment() -> None:
    test = Machine.experiment(examples=3, steps=5, catches={"stale-reads": "linearizable"})
    declared = experiment_of(test)
    assert declared is not None
    assert declared.workload is not None
    assert (declared.workload.name, declared.workload.clients) == ("Machine", 6)
    assert declared.catches == {"stale-reads": "linearizable"}
    assert declared.explore is not None
    assert (test.__name__, test.__doc__) == ("Machine", "Two rules.")


def test_settings_work_and_nobody_meets_a_deadline() -> None:
    given = settings(max_examples=77, database=None, deadline=5)
    test = Machine.experiment(examples=3, steps=5, settings=given)
    explored: Any = experiment_of(test).explore  # type: ignore[union-attr]
    used = explored._settings
    assert (used.max_examples, used.stateful_step_count, used.database) == (3, 5, None)
    assert used.deadline is None
    assert Phase.shrink not in used.phases
    assert set(used.suppress_health_check) == set(HealthCheck)
    assert not used.print_blob


class NoCheck(ClusterMachine):
    target = Registers()
    client = RegistersClient


class NoTarget(ClusterMachine):
    client = RegistersClient


class NoClient(ClusterMachine):
    target = Registers()


class Timed(Machine):
    faults = (faults.pause(every=seconds(2)),)


class Mixed(Machine):
    faults = (faults.mixed(faults.pause(lasting=1), every=seconds(2)),)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (NoCheck, "does not say what must hold"),
        (NoTarget, "has no target"),
        (NoClient, "has no client"),
        (Timed, "faults.pause has times of its own"),
        (Mixed, "is no fault"),
    ],
)
def test_what_cannot_be_meant_is_refused(machine: type[ClusterMachine], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        machine.experiment()


def test_without_a_cluster_it_says_so() -> None:
    with pytest.raises(AttributeError, match=r"Machine\.experiment\(\)"):
        Machine.TestCase  # noqa: B018
    machine = Machine()
    with pytest.raises(UsageError, match="has no cluster"):
        machine.begin("read", "a")


class FakeStage:
    """Notes what it is told to do. As a bridge it does it at once."""

    clients = 6
    names = ("node-1", "node-2", "node-3")
    prefix = "e1-"
    number = 0

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []

    def call(self, result: Any) -> Any:
        return result

    def begin_op(self, client: int, request: Request) -> None:
        self.done.append(("begin", client, request))

    def op(self, client: int, request: Request) -> None:
        self.done.append(("op", client, request))

    def inject(self, fault: Any, number: int) -> Injected:
        injected = Injected(f"f{len(self.done)}", fault, 0)
        self.done.append(("inject", injected))
        return injected

    def heal(self, injected: Injected) -> None:
        self.done.append(("heal", injected))

    def wait(self, wait_s: float) -> None:
        self.done.append(("wait", wait_s))


def drawn(number: int) -> list[FakeStage]:
    """The examples that Hypothesis draws of `Machine`."""
    stages: list[FakeStage] = []

    def factory() -> Machine:
        machine, stage = Machine(), FakeStage()
        machine._stage = machine._bridge = stage  # type: ignore[assignment]
        stages.append(stage)
        return machine

    run_state_machine_as_test(
        seed(number)(factory),  # type: ignore[arg-type]
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return stages


def test_a_seed_draws_the_same_examples() -> None:
    def told(stages: list[FakeStage]) -> list[list[str]]:
        return [[repr(one) for one in stage.done] for stage in stages]

    assert told(drawn(1)) == told(drawn(1))
    assert told(drawn(1)) != told(drawn(2))


def test_ops_go_where_they_were_sent_and_faults_come_and_go() -> None:
    stages = drawn(1)
    done = [one for stage in stages for one in stage.done]
    ops = [one for one in done if one[0] in ("begin", "op")]
    assert {one[1] for one in ops if one[0] == "begin"} == set(range(6))
    assert {one[1] for one in ops if one[0] == "op"} == {1, 4}  # the clients of node-2
    assert {one[2].key for one in ops} == {"e1-a", "e1-b"}
    assert {one[0] for one in done} == {"begin", "op", "inject", "heal", "wait"}
    kinds = {one[1].fault.kind for one in done if one[0] == "inject"}
    assert kinds == {"kill", "pause", "reset"}
    # Most examples have faults, and in none is there nothing else.
    assert sum(any(one[0] == "inject" for one in stage.done) for stage in stages) > 12
    for stage in stages:
        in_force: list[Injected] = []
        last = ""
        for what, *told in stage.done:
            if what == "inject":
                assert last in ("begin", "op")  # one turn after each rule
                if told[0].fault.lasts:
                    in_force.append(told[0])
            elif what == "heal":
                in_force.remove(told[0])
            assert len(in_force) <= 2
            last = what


def test_the_simplest_turn_is_to_do_nothing() -> None:
    assert _turns(0, 2)[0] == _turns(1, 2)[0] == "nothing"
    assert "heal" not in _turns(0, 2)
    assert "inject" in _turns(1, 2)
    assert "inject" not in _turns(2, 2)


class Writer(Client):
    async def write(self, key: str, value: int) -> None: ...


def test_final_reads_are_asked_about_every_key() -> None:
    ledger = Request("ledger", at="provider")
    assert final_reads(["read", ledger], ["e1-a", None, "e1-b"]) == [
        Request("read", "e1-a"),
        Request("read", "e1-b"),
        ledger,
    ]
    assert final_of(Machine) == ("read",)
    assert final_of(type("Blind", (Machine,), {"client": Writer})) == ()
    assert final_of(type("Own", (Machine,), {"final": ("peek",)})) == ("peek",)


def verdict(check: str, result: Any, ops: int = 10) -> Verdict:
    return Verdict(check, result, f"It is {result}.", ops=ops)


def test_examples_are_told_together() -> None:
    tally = Tally()
    tally.add([(verdict("a", "valid"), "valid"), (verdict("b", "unknown"), "valid")])
    tally.add([(verdict("a", "unknown"), "valid"), (verdict("b", "unknown"), "valid")])
    tally.add([(verdict("a", "valid"), "valid"), (verdict("c", "valid"), "invalid")])
    (a, a_hoped), (b, _), (c, c_hoped) = tally.verdicts()
    assert (a.check, a.result, a_hoped, a.ops) == ("a", "valid", "valid", 20)
    assert a.summary == "So in 2 of 3 examples, 20 ops. Of the others the first: It is unknown."
    assert (b.check, b.result) == ("b", "unknown")
    # A flaw that no example showed, though one had to.
    assert (c.result, c_hoped) == ("valid", "invalid")


@pytest.mark.parametrize(
    ("ok", "landed", "judged", "reason"),
    [
        (0, 3, True, "no op of any example was done"),
        (9, 0, True, "no fault came in any example"),
        (9, 3, False, "judged nothing"),
        (9, 3, True, None),
    ],
)
def test_where_nothing_happened_nothing_passes(
    ok: int, landed: int, judged: bool, reason: str | None
) -> None:
    explored = Exploration(Machine, settings())
    if judged:
        explored._tally.add([(verdict("a", "valid"), "valid")])
    settled: list[tuple[str, str]] = []
    run = SimpleNamespace(
        journal=SimpleNamespace(write=lambda *_, **__: None),
        settle=lambda *told: settled.append(told),
        verdicts=[],
    )
    figures = SimpleNamespace(examples=2, ok=ok, faults=landed, reset_s=[0.1])
    explored._conclude(SimpleNamespace(run=run, figures=figures))  # type: ignore[arg-type]
    if reason is None:
        assert settled == []
        assert len(run.verdicts) == 1
    else:
        assert settled[0][0] == "unknown"
        assert reason in settled[0][1]
