"""The faults that only containers make possible: what they take, refuse, and are in a plan."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from fixtures.registers import Registers
from harness import experiment, faults, minutes, seconds, share
from harness.declare import experiment_of
from harness.errors import UsageError
from harness.faults import Fault, Members, from_json
from harness.faults._containers import to_bytes
from harness.runtime.needs import NEEDS

MEMBERS = Members(("node-1", "node-2", "node-3"), ("leader",))

ALL: dict[str, Fault] = {
    "packets": faults.netsplit("halves", how="packets"),
    "packet-loss": faults.packet_loss(one_in=4),
    "memory": faults.memory(limit="64MB"),
    "cpu": faults.cpu(cores=0.1),
    "disk": faults.disk_full(leave="1M"),
    "clock": faults.clock_skew(by=-seconds(2.5)),
    "names": faults.names(how="drop"),
}


def test_each_says_what_it_needs_and_the_others_need_nothing() -> None:
    assert set(ALL) == set(NEEDS)
    assert {need: fault.needs for need, fault in ALL.items()} == {need: need for need in NEEDS}
    for other in (faults.kill(), faults.pause(), faults.netsplit("halves"), faults.latency(0.1)):
        assert other.needs is None


@pytest.mark.parametrize("fault", ALL.values(), ids=ALL)
def test_each_is_the_same_when_it_was_read_from_a_plan(fault: Fault) -> None:
    resolved = fault.resolve(random.Random(1), MEMBERS, 1.0)
    read = from_json(resolved.kind, json.loads(json.dumps(resolved.to_json())))
    assert read.to_json() == json.loads(json.dumps(resolved.to_json()))
    assert read.describe() == resolved.describe()


@pytest.mark.parametrize("fault", ALL.values(), ids=ALL)
def test_who_is_drawn_from_the_seed(fault: Fault) -> None:
    drawn = [fault.resolve(random.Random(7), MEMBERS, 1.0).to_json() for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert drawn[0].get("who") != "random" or "cuts" in drawn[0]


def test_what_they_are_called() -> None:
    assert faults.memory("64MB", who="leader").describe() == "memory 64 MB leader"
    assert faults.memory(share(0.1), who="all").describe() == "memory 10% all"
    assert faults.cpu(0.25, who="node-1").describe() == "cpu 0.25 node-1"
    assert faults.clock_skew(minutes(5), who="node-2").describe() == "clock skew +300 s node-2"
    assert faults.packet_loss(10, who="node-2").describe() == "packet loss 1/10 node-2"
    assert faults.netsplit("halves", how="packets").describe() == "netsplit halves (packets)"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: faults.packet_loss(one_in=1), "no share of the packets"),
        (lambda: faults.packet_loss(one_in=2.5), "no share of the packets"),
        (lambda: faults.memory("1MB"), "cannot be"),
        (lambda: faults.memory(share(0)), "cannot be"),
        (lambda: faults.memory("many"), "no size"),
        (lambda: faults.memory(-1), "no size"),
        (lambda: faults.cpu(0), "cannot be"),
        (lambda: faults.cpu(float("nan")), "cannot be"),
        (lambda: faults.disk_full(leave="-1"), "no size"),
        (lambda: faults.clock_skew(by=0), "moves no clock"),
        (lambda: faults.clock_skew(by=float("inf")), "moves no clock"),
        (lambda: faults.names(how="slowly"), "how="),
        (lambda: faults.netsplit("one-way", how="packets"), "both directions"),
        (lambda: faults.netsplit("links", links=[("a", "b")], how="packets"), "both directions"),
        (lambda: faults.netsplit("halves", how="wires"), "drop, reject or packets"),
    ],
)
def test_what_cannot_be_meant_is_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "number"),
    [("64MB", 64 * 2**20), ("1.5k", 1536), ("2 GiB", 2 * 2**30), ("77", 77), (5, 5), ("0", 0)],
)
def test_sizes(text: int | str, number: int) -> None:
    assert to_bytes(text, "x") == number


def test_an_experiment_says_what_its_steps_need() -> None:
    declared = experiment(target=Registers(nodes=3), needs=["clock", "disk"])(lambda: None)
    found = experiment_of(declared)
    assert found is not None
    assert found.needs == ("clock", "disk")
    with pytest.raises(UsageError, match="nothing that a runtime could have"):
        experiment(target=Registers(nodes=3), needs=["wings"])
