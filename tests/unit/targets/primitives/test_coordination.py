"""Elections on virtual time: never two leaders, and one again soon after faults end."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primitives.coordination import Election
from primitives.telemetry import Metrics

from tests.support.virtual_mesh import VirtualNet, run_pausably

LEASE_S = 1.0


class Member:
    def __init__(self, cluster: Cluster, name: str) -> None:
        self.mesh = cluster.net.start(name)
        self.metrics = Metrics()
        self.changes = 0
        self.election = Election(
            self.mesh,
            cluster.names,
            random=cluster.net.random,
            metrics=self.metrics,
            lease_s=LEASE_S,
            mutant=cluster.mutant,
        )
        self.election.on_change(self._changed)
        self.mesh.task(self.election.start())

    def _changed(self) -> None:
        self.changes += 1


class Cluster:
    def __init__(
        self, seed: int, size: int = 3, mutant: str | None = None, delay_s: float = 0.01
    ) -> None:
        self.net = VirtualNet(Random(seed), (delay_s / 20, delay_s))
        self.mutant = mutant
        self.names = tuple(f"n{place}" for place in range(size))
        self.members = {name: Member(self, name) for name in self.names}
        self.most = 0
        self._watching = asyncio.create_task(self._watch())

    def restart(self, name: str) -> None:
        self.members[name] = Member(self, name)

    def leaders(self) -> list[str]:
        alive = self.net.nodes
        return [n for n in self.names if n in alive and self.members[n].election.is_leader()]

    async def leader(self, within_s: float = 4 * LEASE_S, other_than: str = "") -> str:
        async with asyncio.timeout(within_s):
            while True:
                found = [name for name in self.leaders() if name != other_than]
                if found:
                    return found[0]
                await asyncio.sleep(0.01)

    async def _watch(self) -> None:
        while True:
            self.most = max(self.most, len(self.leaders()))
            await asyncio.sleep(0.005)


def others(cluster: Cluster, name: str) -> list[str]:
    return [other for other in cluster.names if other != name]


def test_one_is_elected_and_all_know_it_and_it_stays():
    async def work() -> None:
        cluster = Cluster(1)
        leader = await cluster.leader()
        await asyncio.sleep(0.1)
        elections = [member.election for member in cluster.members.values()]
        assert {election.leader for election in elections} == {leader}
        term, since = (
            getattr(cluster.members[leader].election, n) for n in ("term", "leading_since")
        )
        await asyncio.sleep(12)
        assert cluster.leaders() == [leader]
        assert cluster.members[leader].election.term == term
        assert cluster.members[leader].election.leading_since == since
        assert all(member.changes == 1 for member in cluster.members.values())

    run_pausably(work())


def test_nobody_votes_for_one_lease_after_it_started():
    async def work() -> None:
        cluster = Cluster(1)
        await asyncio.sleep(LEASE_S)
        assert not cluster.leaders()
        await cluster.leader(within_s=LEASE_S)

    run_pausably(work())


@pytest.mark.parametrize("how", ["stop", "cut", "pause"])
def test_another_leads_after_one_lease_when_the_leader_is_lost(how):
    async def work() -> None:
        cluster = Cluster(3, size=5)
        first = await cluster.leader()
        term = cluster.members[first].election.term
        if how == "stop":
            cluster.net.stop(first)
        elif how == "pause":
            cluster.net.pause(first)
        else:
            cluster.net.split([first], others(cluster, first))
        second = await cluster.leader(within_s=2 * LEASE_S, other_than=first)
        assert cluster.members[second].election.term > term
        assert not cluster.members[first].election.is_leader()
        assert cluster.members[first].election.leading_since is None
        if how != "stop":
            cluster.net.heal()
            cluster.net.resume(first)
            await asyncio.sleep(2 * LEASE_S)
            assert cluster.leaders() == [second], "the one that came back must not disturb"
            assert cluster.members[first].election.leader == second
        assert cluster.most == 1

    run_pausably(work())


def test_a_minority_has_no_leader():
    async def work() -> None:
        cluster = Cluster(2, size=5)
        first = await cluster.leader()
        minority = [first, others(cluster, first)[0]]
        cluster.net.split(minority, [n for n in cluster.names if n not in minority])
        await asyncio.sleep(LEASE_S)
        for _ in range(100):
            await asyncio.sleep(0.05)
            assert not set(cluster.leaders()) & set(minority)
            assert all(cluster.members[name].election.leader is None for name in minority)
        assert cluster.leaders()

    run_pausably(work())


def test_a_leader_that_closes_is_followed_at_once():
    async def work() -> None:
        cluster = Cluster(4)
        first = await cluster.leader()
        await cluster.members[first].mesh.task(cluster.members[first].election.close())
        began = asyncio.get_running_loop().time()
        await cluster.leader(within_s=LEASE_S / 2, other_than=first)
        assert asyncio.get_running_loop().time() - began < LEASE_S / 2
        assert cluster.most == 1

    run_pausably(work())


def test_in_a_ring_of_majorities_the_leader_stays_and_is_followed_again():
    async def work() -> None:
        cluster = Cluster(5, size=5)
        first = await cluster.leader()
        ring = [first, *others(cluster, first)]
        far = (ring[2], ring[3])
        cluster.net.cut((a, b) for name in far for a, b in ((first, name), (name, first)))
        await asyncio.sleep(10 * LEASE_S)
        assert cluster.leaders() == [first]
        cluster.net.heal()
        await asyncio.sleep(LEASE_S)
        assert cluster.leaders() == [first]
        assert all(cluster.members[name].election.leader == first for name in far)

    run_pausably(work())


def test_slow_links_do_not_end_a_leadership():
    async def work() -> None:
        cluster = Cluster(6, delay_s=0.2)
        first = await cluster.leader(within_s=5 * LEASE_S)
        await asyncio.sleep(20)
        assert cluster.leaders() == [first]

    run_pausably(work())


class ByHand:
    """One real member, `v`; the test speaks for `a` and `b`."""

    def __init__(self) -> None:
        self.net = VirtualNet(Random(1), (0.0, 0.001))
        self.hands = {name: self.net.start(name) for name in "ab"}
        self.started_v()

    def started_v(self) -> None:
        mesh = self.net.start("v")
        self.election = Election(
            mesh, ("a", "b", "v"), random=Random(1), metrics=Metrics(), lease_s=LEASE_S
        )
        mesh.task(self.election.start())

    async def ask(self, name: str, term: int, *, leading: bool = False, incarnation: int = 0):
        """Whether `v` grants its lease, and the whole answer."""
        hand = self.hands[name]
        body = {
            "term": term,
            "leading": leading,
            "incarnation": incarnation or hand.incarnation,
        }
        return await hand.request("v", "election.lease", body, 0.1)

    async def grants(self, name: str, term: int, **more) -> bool:
        return (await self.ask(name, term, **more))["granted"]


def test_a_voter_grants_no_second_lease_before_the_first_has_run_out():
    async def work() -> None:
        hand = ByHand()
        await asyncio.sleep(0.001)
        assert not await hand.grants("a", 5), "it has just started"
        # `v` must not stand itself: it sees no majority.
        hand.net.cut([("v", "a"), ("v", "b")])
        await asyncio.sleep(1.1 * LEASE_S)
        hand.net.heal()
        await asyncio.sleep(0.001)
        assert await hand.grants("a", 5)
        granted = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < granted + LEASE_S:
            assert not await hand.grants("b", 9)
            assert not await hand.grants("a", 9, incarnation=77), "another start of the same node"
            await asyncio.sleep(0.03)
        await asyncio.sleep(0.02 * LEASE_S)
        assert await hand.grants("b", 9)
        assert not await hand.grants("a", 9)

    run_pausably(work())


def test_a_lease_that_was_handed_back_can_be_granted_at_once_but_only_by_its_holder():
    async def work() -> None:
        hand = ByHand()
        hand.net.cut([("v", "a"), ("v", "b")])
        await asyncio.sleep(1.1 * LEASE_S)
        hand.net.heal()
        await asyncio.sleep(0.001)
        assert await hand.grants("a", 5)
        mine = hand.hands["a"].incarnation
        for name, term, incarnation in (("b", 5, mine), ("a", 4, mine), ("a", 5, 77)):
            body = {"term": term, "incarnation": incarnation}
            hand.hands[name].send("v", "election.release", body)
        await asyncio.sleep(0.01)
        assert not await hand.grants("b", 6)
        hand.hands["a"].send("v", "election.release", {"term": 5, "incarnation": mine})
        await asyncio.sleep(0.01)
        assert not await hand.grants("b", 5), "a candidate needs a new term"
        assert await hand.grants("b", 6)

    run_pausably(work())


def test_a_voter_that_restarted_does_not_vote_while_a_lease_of_its_former_start_may_hold():
    async def work() -> None:
        hand = ByHand()
        hand.net.cut([("v", "a"), ("v", "b")])
        await asyncio.sleep(1.1 * LEASE_S)
        hand.net.heal()
        await asyncio.sleep(0.001)
        assert await hand.grants("a", 5)
        granted = asyncio.get_running_loop().time()
        hand.started_v()
        await asyncio.sleep(0.001)
        while asyncio.get_running_loop().time() < granted + LEASE_S:
            assert not await hand.grants("b", 9)
            await asyncio.sleep(0.03)

    run_pausably(work())


async def led_by_hand(answer_after_s) -> tuple[ByHand, list[float]]:
    """`v` leads by the votes of `a`, which answers the n-th request after `answer_after_s(n)`
    seconds, if that is not None. Gives the times at which `v` had asked."""
    hand = ByHand()
    asked: list[float] = []

    async def vote(peer, body):
        asked.append(asyncio.get_running_loop().time())
        wait_s = answer_after_s(len(asked) - 1)
        await asyncio.sleep(1000 if wait_s is None else wait_s)
        return {"granted": True}

    for name in "ab":
        hand.hands[name].handle("election.release", lambda peer, body: None)
    hand.hands["a"].handle("election.lease", vote)
    hand.hands["b"].handle(
        "election.lease",
        lambda peer, body: {"granted": False, "term": 0, "reason": "", "again_in_s": 0.0},
    )
    async with asyncio.timeout(3 * LEASE_S):
        while not hand.election.is_leader():
            await asyncio.sleep(0.001)
    return hand, asked


def test_a_leader_counts_its_lease_from_before_it_asked():
    async def work() -> None:
        # It asks, is answered 0.3 leases later, and never again.
        hand, asked = await led_by_hand(lambda n: 0.3 * LEASE_S if n == 0 else None)
        first = asked[0]
        while hand.election.is_leader():
            await asyncio.sleep(0.001)
        ended = asyncio.get_running_loop().time()
        assert first + 0.95 * LEASE_S < ended <= first + LEASE_S

    run_pausably(work())


def test_a_lease_that_lapsed_is_not_mended_by_an_answer_that_comes_late():
    async def work() -> None:
        late_s = 0.493 * LEASE_S
        hand, asked = await led_by_hand(lambda n: {0: 0.0, 1: None, 2: late_s}.get(n))
        term = hand.election.term
        answered = 0.0
        while len(asked) < 3 or asyncio.get_running_loop().time() < answered + LEASE_S:
            await asyncio.sleep(0.001)
            answered = asked[2] + late_s if len(asked) > 2 else 0.0
            late = asyncio.get_running_loop().time() > asked[0] + 0.995 * LEASE_S
            assert not (late and hand.election.is_leader() and hand.election.term == term)

    run_pausably(work())


def test_the_mutant_leads_on_without_a_lease():
    async def work() -> None:
        cluster = Cluster(1, mutant="strict-without-lease")
        first = await cluster.leader()
        cluster.net.split([first], others(cluster, first))
        await asyncio.sleep(3 * LEASE_S)
        assert cluster.most == 2

    run_pausably(work())


def test_only_members_take_part():
    async def work() -> None:
        mesh = VirtualNet(Random(1)).start("stranger")
        with pytest.raises(ValueError, match="only members vote"):
            Election(mesh, ("a", "b"), random=Random(1), metrics=Metrics())

    run_pausably(work())


faults = st.lists(
    st.tuples(
        st.sampled_from(["split", "cut", "heal", "stop", "start", "restart", "pause", "resume"]),
        st.integers(0, 4),
        st.floats(0.0, 1.5),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=15)
@given(faults, st.sampled_from([3, 5]), st.sampled_from([0.01, 0.2]), st.integers(0, 2**16))
def test_whatever_happens_there_are_never_two_and_soon_one(script, size, delay_s, seed):
    async def work() -> None:
        cluster = Cluster(seed, size=size, delay_s=delay_s)
        net = cluster.net
        await asyncio.sleep(net.random.uniform(0, 3))
        for act, place, wait_s in script:
            name = cluster.names[place % size]
            # Whatever the draw, a fault on the leader hurts most.
            if place == 4 and cluster.leaders():
                name = cluster.leaders()[0]
            if act == "split":
                net.split([name], others(cluster, name))
            elif act == "cut":
                net.cut([(name, others(cluster, name)[0])])
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
            await asyncio.sleep(wait_s)
        net.heal()
        for name in cluster.names:
            if name in net.nodes:
                net.resume(name)
            else:
                cluster.restart(name)
        await cluster.leader(within_s=10 * LEASE_S)
        assert cluster.most <= 1

    run_pausably(work())
