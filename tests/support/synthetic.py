"""Plans and an oracle for the shrinker's tests and benchmark: runs that take no time.

The oracle says whether a run of a plan fails as wanted: where the plan holds all that is needed,
with a probability that may depend on the plan.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from harness import faults
from harness.failure import Failure
from harness.plan import Plan, PlannedFault
from harness.replay.repeat import Repeat
from harness.shrink.edits import digest, end
from harness.workload.script import PlannedOp
from harness.workload.workload import Request

NODES = ("node-1", "node-2", "node-3", "node-4", "node-5")
LOST = Failure("set-full", ("lost",))
OTHER = Failure("set-full", ("stale",))


def plan_of(
    events: int = 8, *, clients: int = 5, keys: int = 4, ops: int = 120, seed: int = 1
) -> Plan:
    """A plan of `events` faults of several kinds over 4 s each, two of three overlapping, and
    `ops` ops paced over all of it."""
    rng = random.Random(seed)
    cuts = [(a, b) for a in NODES[:2] for b in NODES[2:]]
    kinds: list[Callable[[], faults.Fault]] = [
        lambda: faults.netsplit(
            "groups", groups=[NODES[:2], NODES[2:]], cuts=[*cuts, *((b, a) for a, b in cuts)]
        ),
        lambda: faults.kill(who=tuple(rng.sample(NODES, 2))),
        lambda: faults.latency(0.12345, who=rng.choice(NODES)),
        lambda: faults.pause(who="leader"),
        lambda: faults.reset(who=tuple(rng.sample(NODES, 3))),
    ]
    schedule = []
    for number in range(events):
        fault = kinds[number % len(kinds)]()
        lasting_s = round(rng.uniform(1, 5), 3) if fault.lasts else 0.0
        at_s = round(1 + 4 * number + rng.random(), 3)
        schedule.append(PlannedFault(f"f{number + 1}", at_s, lasting_s, fault))
    duration_s = 8.0 + 4 * events
    listed = []
    for number in range(ops):
        at_s = round(-1 + (duration_s + 2) * number / max(1, ops), 3)
        request = Request("add" if rng.random() < 0.7 else "read", f"k{number % keys}", (number,))
        listed.append(PlannedOp(rng.randrange(clients), at_s, request))
    return Plan(
        experiment="test_x.py::test_x",
        seed=seed,
        scale=1.0,
        duration_s=duration_s,
        before_s=0.5,
        recovery_s=10.0,
        nodes=NODES,
        target={"name": "store"},
        workload={"name": "w", "clients": clients, "rate": 10, "op_timeout_s": 1.0},
        faults=tuple(schedule),
        ops=tuple(listed),
    )


def needs(
    ids: Sequence[str] = (), values: Sequence[int] = (), lasting_s: float = 0.0
) -> Callable[[Plan], bool]:
    """Holds for plans with these faults, each that long at least, and with the ops that have these
    values."""

    def holds(plan: Plan) -> bool:
        here = {fault.id for fault in plan.faults if fault.lasting_s >= lasting_s}
        there = {op.request.values[0] for op in plan.ops or ()}
        return here.issuperset(ids) and there.issuperset(values)

    return holds


class Oracle:
    """Carries out plans at once. `rate` is the probability with which a plan that `holds` fails;
    what is drawn depends on the plan and on how often it was run before, not on the order of
    runs."""

    def __init__(
        self,
        holds: Callable[[Plan], bool],
        rate: float | Callable[[Plan], float] = 1.0,
        seed: int = 0,
        otherwise: Failure | None = None,
    ) -> None:
        self._holds = holds
        self._rate = rate
        self._seed = seed
        self._otherwise = otherwise
        self.plans: list[Plan] = []
        self.hits: list[bool] = []
        self.times: dict[str, int] = {}

    def __call__(self, plan: Plan) -> Future[Repeat]:
        problems = list(faulty(plan))
        assert not problems, problems
        self.plans.append(plan)
        name = digest(plan)
        time = self.times[name] = self.times.get(name, 0) + 1
        drawn = hashlib.sha256(f"{self._seed}:{name}:{time}".encode()).digest()
        rate = self._rate(plan) if callable(self._rate) else self._rate
        hit = self._holds(plan) and int.from_bytes(drawn[:6], "big") / 2**48 < rate
        self.hits.append(hit)
        failures = (LOST,) if hit else (self._otherwise,) if self._otherwise else ()
        outcome = "failed" if failures else "passed"
        future: Future[Repeat] = Future()
        future.set_result(
            Repeat(Path(f"run-{len(self.plans)}"), outcome, failures, plan.duration_s, 1)
        )
        return future

    @property
    def runs(self) -> int:
        return len(self.plans)


def faulty(plan: Plan) -> list[str]:
    """What cannot be carried out about a plan."""
    found = []
    if plan.ops is not None and not plan.ops:
        found.append("no op")
    if plan.duration_s <= 0:
        found.append("no time")
    for fault in plan.faults:
        if fault.at_s < 0 or end(fault) > plan.duration_s:
            found.append(f"{fault.id} is not within the duration")
        if fault.fault.lasts and fault.lasting_s <= 0:
            found.append(f"{fault.id} takes no time")
    if len({fault.id for fault in plan.faults}) < len(plan.faults):
        found.append("two faults of one id")
    return found
