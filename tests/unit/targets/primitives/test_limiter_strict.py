"""The strict limit holds over netsplits, pauses and restarts; its mutants break it."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primitives.coordination import Election
from primitives.limiter import StrictLimiter
from primitives.telemetry import Metrics

from tests.support.virtual_mesh import VirtualMesh, VirtualNet, run_pausably

LIMIT, PER_S, LEASE_S = 5, 2.0, 0.4


class Cluster:
    """Nodes that ask for admission all the time; what was admitted is kept with its times."""

    def __init__(self, seed: int, size: int = 3, mutant: str | None = None) -> None:
        self.net = VirtualNet(Random(seed))
        self.names = tuple(f"n{place}" for place in range(size))
        self.mutant = mutant
        self.admitted: list[tuple[float, float]] = []
        self.reasons: dict[str, list[str]] = {name: [] for name in self.names}
        self.slowest_s = 0.0
        self.elections: dict[str, Election] = {}
        self.limiters: dict[str, StrictLimiter] = {}
        for name in self.names:
            self.restart(name)

    def restart(self, name: str) -> None:
        mesh = self.net.start(name)
        self.elections[name] = Election(
            mesh,
            self.names,
            random=self.net.random,
            metrics=Metrics(),
            lease_s=LEASE_S,
            mutant=self.mutant,
        )
        self.limiters[name] = StrictLimiter(
            mesh, self.elections[name], LIMIT, PER_S, metrics=Metrics(), mutant=self.mutant
        )
        mesh.task(self._serve(mesh, self.elections[name], self.limiters[name]))

    def leader(self) -> str | None:
        alive = self.net.nodes
        return next((n for n in self.names if n in alive and self.elections[n].is_leader()), None)

    async def _serve(self, mesh: VirtualMesh, election: Election, limiter: StrictLimiter) -> None:
        await election.start()
        await limiter.start()
        while True:
            mesh.task(self._ask(mesh.name, limiter))
            await asyncio.sleep(0.15)

    async def _ask(self, name: str, limiter: StrictLimiter) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        decision = await limiter.acquire("k")
        if decision.admitted:
            self.admitted.append((began, loop.time()))
        self.reasons[name].append(decision.reason)
        self.slowest_s = max(self.slowest_s, loop.time() - began)

    def over_admitted(self) -> bool:
        """Whether some window holds too many, wherever within its request each admission lay.

        Sufficient, and exact for requests much shorter than the window: sorted by when they ended,
        `LIMIT` + 1 of which the first began less than a window before the last ended.
        """
        ordered = sorted(self.admitted, key=lambda span: span[1])
        return any(
            last[1] - min(begun for begun, _ in ordered[place : place + LIMIT + 1]) < PER_S
            for place, last in enumerate(ordered[LIMIT:])
        )


async def warm(cluster: Cluster) -> str:
    await asyncio.sleep(LEASE_S * 3 + PER_S * 1.1)
    leader = cluster.leader()
    assert leader is not None
    return leader


def rest(cluster: Cluster, name: str) -> list[str]:
    return [other for other in cluster.names if other != name]


async def leader_stops(cluster: Cluster) -> None:
    cluster.net.stop(await warm(cluster))
    await asyncio.sleep(3 * PER_S)


async def leader_is_cut_off(cluster: Cluster) -> None:
    leader = await warm(cluster)
    cluster.net.split([leader], rest(cluster, leader))
    await asyncio.sleep(3 * PER_S)
    cluster.net.heal()
    await asyncio.sleep(PER_S)


async def leader_pauses(cluster: Cluster) -> None:
    leader = await warm(cluster)
    cluster.net.pause(leader)
    await asyncio.sleep(3 * PER_S)
    cluster.net.resume(leader)
    await asyncio.sleep(PER_S)


async def leader_resigns(cluster: Cluster) -> None:
    leader = await warm(cluster)
    await cluster.net.nodes[leader].task(cluster.elections[leader].close())
    await asyncio.sleep(3 * PER_S)


async def all_restart(cluster: Cluster) -> None:
    await warm(cluster)
    for name in cluster.names:
        cluster.restart(name)
    await asyncio.sleep(3 * PER_S)


FAULTS = [leader_stops, leader_is_cut_off, leader_pauses, leader_resigns, all_restart]


@pytest.mark.parametrize(("fault", "size"), [*((fault, 3) for fault in FAULTS), (FAULTS[1], 5)])
def test_never_more_than_the_limit_and_admissions_again_after_the_fault(fault, size):
    async def work() -> None:
        cluster = Cluster(1, size)
        await fault(cluster)
        assert not cluster.over_admitted()
        last = asyncio.get_running_loop().time() - PER_S
        assert sum(at >= last for _, at in cluster.admitted) >= LIMIT - 1
        assert cluster.slowest_s < 1 or fault is leader_pauses

    run_pausably(work())


@pytest.mark.parametrize(
    ("mutant", "fault"),
    [
        ("strict-without-lease", leader_is_cut_off),
        ("limiter-forgets-on-failover", leader_stops),
        ("limiter-forgets-on-failover", leader_resigns),
        ("limiter-forgets-on-failover", all_restart),
    ],
)
def test_the_mutants_exceed_the_limit(mutant, fault):
    async def work() -> None:
        cluster = Cluster(1, mutant=mutant)
        await fault(cluster)
        assert cluster.over_admitted()

    run_pausably(work())


def test_a_minority_is_unavailable_and_says_so_at_once():
    async def work() -> None:
        cluster = Cluster(1, size=5)
        leader = await warm(cluster)
        cluster.net.split([leader], rest(cluster, leader))
        await asyncio.sleep(LEASE_S)
        before = len(cluster.reasons[leader])
        cluster.slowest_s = 0.0
        await asyncio.sleep(3)
        said = cluster.reasons[leader][before:]
        assert len(said) > 15
        assert set(said) == {"unavailable"}
        assert cluster.slowest_s < 1

    run_pausably(work())


faults = st.lists(
    st.tuples(
        st.sampled_from(["split", "cut", "heal", "stop", "restart", "pause", "resume", "resign"]),
        st.booleans(),
        st.floats(0.0, 3.0),
    ),
    max_size=10,
)


@settings(deadline=None, max_examples=8)
@given(faults, st.integers(0, 2**16))
def test_whatever_happens_no_window_holds_more_than_the_limit(script, seed):
    async def work() -> None:
        cluster = Cluster(seed)
        net = cluster.net
        await warm(cluster)
        for act, on_leader, wait_s in script:
            name = (on_leader and cluster.leader()) or net.random.choice(cluster.names)
            if act == "split":
                net.split([name], rest(cluster, name))
            elif act == "cut":
                net.cut([(name, rest(cluster, name)[0])])
            elif act == "heal":
                net.heal()
            elif act == "stop":
                net.stop(name)
            elif act == "restart" or name not in net.nodes:
                cluster.restart(name)
            elif act == "pause":
                net.pause(name)
            elif act == "resume":
                net.resume(name)
            elif act == "resign":
                net.nodes[name].task(cluster.elections[name].close())
            await asyncio.sleep(wait_s)
        assert not cluster.over_admitted()

    run_pausably(work())
