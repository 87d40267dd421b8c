"""Replication over a mesh that loses, cuts and restarts, on virtual time."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primitives.crdt import AWMap, Replicator, replica_id
from primitives.crdt import replicator as module
from primitives.telemetry import Metrics

from tests.support.virtual_mesh import VirtualNet, run_pausably

NAMES = ("a", "b", "c")


class Replica:
    def __init__(self, net: VirtualNet, name: str, **options: bool) -> None:
        mesh = net.start(name)
        self.name = name
        self.crdt = AWMap(replica_id(name, mesh.incarnation))
        self.metrics = Metrics()
        self.changes: list[frozenset] = []
        self.replicator = Replicator(
            mesh,
            self.crdt,
            kind="test",
            interval_s=0.5,
            random=net.random,
            metrics=self.metrics,
            **options,
        )
        self.replicator.on_change(self.changes.append)
        mesh.task(self.replicator.start())


def alike(replicas) -> bool:
    shown = [({k: r.crdt.get(k) for k in r.crdt}, r.crdt.context) for r in replicas]
    return all(one == shown[0] for one in shown)


def test_a_change_is_pushed_to_all_peers_at_once():
    async def work() -> None:
        net = VirtualNet(Random(1))
        a, b, c = (Replica(net, name) for name in NAMES)
        await asyncio.sleep(0.1)
        a.replicator.publish(a.crdt.put("k", 1))
        await asyncio.sleep(0.02)
        assert list(b.crdt.get("k").values()) == list(c.crdt.get("k").values()) == [1]
        assert a.changes == b.changes == c.changes == [{"k"}]

    run_pausably(work())


def test_what_a_netsplit_swallowed_is_repaired_when_it_heals():
    async def work() -> None:
        net = VirtualNet(Random(1))
        replicas = a, b, c = [Replica(net, name) for name in NAMES]
        await asyncio.sleep(0.1)
        a.replicator.publish(a.crdt.put("both", "a"))
        a.replicator.publish(a.crdt.put("gone", "a"))
        await asyncio.sleep(0.1)
        net.split(["a"], ["b", "c"])
        await asyncio.sleep(0.1)
        a.replicator.publish(a.crdt.put("left", "a"))
        b.replicator.publish(b.crdt.remove("gone"))
        b.replicator.publish(b.crdt.put("both", "b"))
        a.replicator.publish(a.crdt.put("both", "a again"))
        await asyncio.sleep(5)
        assert "left" not in b.crdt and "left" not in c.crdt and "gone" in a.crdt
        net.heal()
        await asyncio.sleep(0.1)  # Far less than an interval: peers that connect compare at once.
        assert alike(replicas)
        assert a.crdt.keys() == {"both", "left"}
        assert sorted(c.crdt.get("both").values()) == ["a again", "b"]

    run_pausably(work())


def test_a_lost_delta_is_repaired_by_the_periodic_comparison():
    async def work(anti_entropy: bool) -> bool:
        net = VirtualNet(Random(1))
        replicas = [Replica(net, name, anti_entropy=anti_entropy) for name in NAMES]
        await asyncio.sleep(0.1)
        delta = replicas[0].crdt.put("k", 1)  # Never published, as if all pushes were dropped.
        assert delta
        await asyncio.sleep(5)
        return alike(replicas)

    assert run_pausably(work(True))
    assert not run_pausably(work(False))


def test_nothing_is_sent_when_all_agree():
    async def work() -> None:
        net = VirtualNet(Random(1))
        replicas = [Replica(net, name) for name in NAMES]
        await asyncio.sleep(0.1)
        for replica in replicas:
            replica.replicator.publish(replica.crdt.add("k", replica.name))
        await asyncio.sleep(3)
        before = [text(replica, "push") for replica in replicas]
        await asyncio.sleep(20)
        assert [text(replica, "push") for replica in replicas] == before

    def text(replica: Replica, operation: str) -> list[str]:
        lines = replica.metrics.text().decode().splitlines()
        return [line for line in lines if f'operation="{operation}"' in line and "_total{" in line]

    run_pausably(work())


def test_a_restarted_node_removes_what_its_former_start_added():
    async def work() -> None:
        net = VirtualNet(Random(1))
        a, b = (Replica(net, name) for name in ("a", "b"))
        await asyncio.sleep(0.1)
        b.replicator.publish(b.crdt.put("k", "former start"))
        await asyncio.sleep(0.1)
        b = Replica(net, "b")
        await asyncio.sleep(0.1)
        assert "k" not in a.crdt and "k" not in b.crdt
        assert a.changes[-1] == {"k"}
        b.replicator.publish(b.crdt.put("k", "new start"))
        await asyncio.sleep(0.1)
        assert list(a.crdt.get("k").values()) == ["new start"]

    run_pausably(work())


def test_a_map_can_keep_what_former_starts_added():
    async def work() -> None:
        net = VirtualNet(Random(1))
        a, b = (Replica(net, name, drop_former_starts=False) for name in ("a", "b"))
        await asyncio.sleep(0.1)
        b.replicator.publish(b.crdt.put("k", "former start"))
        await asyncio.sleep(0.1)
        b = Replica(net, "b", drop_former_starts=False)
        await asyncio.sleep(0.1)
        assert list(a.crdt.get("k").values()) == list(b.crdt.get("k").values()) == ["former start"]

    run_pausably(work())


def test_a_large_map_travels_in_several_messages(monkeypatch):
    async def work() -> None:
        net = VirtualNet(Random(1))
        a = Replica(net, "a")
        for n in range(50):
            a.crdt.put(f"k{n}", "x" * 100)
        b = Replica(net, "b")
        await asyncio.sleep(0.2)
        assert alike([a, b])
        assert len(b.crdt) == 50
        assert len(b.changes) > 5

    monkeypatch.setattr(module, "MESSAGE_BYTES", 1000)
    run_pausably(work())


def test_a_map_of_another_start_is_refused():
    async def work() -> None:
        mesh = VirtualNet(Random(1)).start("a")
        with pytest.raises(ValueError, match="replica_id"):
            Replicator(mesh, AWMap("a#99"), kind="k", random=Random(1), metrics=Metrics())

    run_pausably(work())


acts = st.lists(
    st.tuples(
        st.sampled_from(["put", "add", "remove", "split", "heal", "restart", "pause", "resume"]),
        st.sampled_from(NAMES),
        st.sampled_from(["k1", "k2", "k3"]),
        st.floats(0.0, 0.7),
    ),
    max_size=20,
)


@settings(deadline=None, max_examples=25)
@given(acts, st.integers(0, 2**16))
def test_after_any_faults_all_agree_within_a_few_intervals(script, seed):
    async def work() -> None:
        net = VirtualNet(Random(seed))
        replicas = {name: Replica(net, name) for name in NAMES}
        paused: set[str] = set()
        for step, (act, name, key, wait_s) in enumerate(script):
            one = replicas[name]
            if act in ("put", "add", "remove") and name not in paused:
                change = one.crdt.remove(key) if act == "remove" else one.crdt.put(key, step)
                one.replicator.publish(change)
            elif act == "split":
                net.split([name], [other for other in NAMES if other != name])
            elif act == "heal":
                net.heal()
            elif act == "restart":
                paused.discard(name)
                replicas[name] = Replica(net, name)
            elif act == "pause":
                paused.add(name)
                net.pause(name)
            elif act == "resume":
                paused.discard(name)
                net.resume(name)
            await asyncio.sleep(wait_s)
        net.heal()
        for name in paused:
            net.resume(name)
        await asyncio.sleep(5)
        assert alike(replicas.values())

    run_pausably(work())
