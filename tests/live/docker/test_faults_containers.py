"""The faults that only containers make possible, on one cluster: what they do as seen from inside
the nodes, that they compose and outlive a node's restart, and that no proof passes without them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures.registers import PORT, Registers
from harness import faults, minutes, seconds, share
from harness.errors import FaultError, MissingPartError, UsageError
from harness.faults import Fault
from harness.nemesis import Site
from harness.portal import Portal
from harness.runtime.docker.containers import Containers
from harness.runtime.docker.engine import Engine
from harness.runtime.docker.means import Means
from harness.runtime.docker.runtime import DockerRuntime
from harness.runtime.needs import NEEDS
from tests.support.live_cluster import HEALED, Live, on_cluster, started, until

pytestmark = pytest.mark.live

TIMEOUT_S = 40.0

TALK = f"""
import socket, sys
try:
    with socket.create_connection((sys.argv[1], {PORT}), 0.5) as peer:
        peer.settimeout(0.5)
        peer.sendall(b'{{"f": "ping"}}\\n')
        print("answered" if peer.recv(100) else "ended")
except TimeoutError:
    print("silent")
except OSError as error:
    print(type(error).__name__)
"""


@dataclass
class World:
    """A cluster in a loop of its own, for all tests of this module."""

    portal: Portal
    live: Live

    @property
    def runtime(self) -> DockerRuntime:
        runtime = self.live.cluster.runtime
        assert isinstance(runtime, DockerRuntime)
        return runtime

    @property
    def own(self) -> Containers:
        return self.runtime._own

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def within() -> Any:
            async with asyncio.timeout(TIMEOUT_S):
                return await work

        return self.portal.call(within())

    def use(self, work: Callable[[Means], Any]) -> Any:
        return self.do(self.runtime.use(work))

    def inject(self, fault: Fault, id: str) -> Site:
        site: Site = self.do(self.live.inject(fault, id))
        return site

    def heal(self, site: Site) -> None:
        self.do(self.live.nemesis.heal(site))
        assert self.live.steps(site.id) == [*HEALED]

    def heal_undone(self, site: Site) -> None:
        """Heal what somebody has undone: that is told, and it is healed nevertheless."""
        with pytest.raises(FaultError, match="somebody undid it"):
            self.do(self.live.nemesis.heal(site))
        assert self.live.steps(site.id) == [*HEALED[:-1], "failed", "healed"]

    def refused(self, site: Site) -> str:
        """What the fault's own proof says, which must fail."""
        with pytest.raises(FaultError) as caught:
            self.do(site.fault.prove(site))
        return str(caught.value)

    def inside(self, node: str, *argv: str, user: str = "1000") -> tuple[int, str]:
        status, said = self.do(self.runtime.inside(node, argv, user=user))
        return status, said

    def talk(self, node: str, to: str) -> str:
        """What comes back when a program in `node` asks `to`, a name or an address."""
        return self.inside(node, "python3", "-S", "-c", TALK, to)[1]

    def restart(self, node: str) -> None:
        """Kill the node and start it again, as another fault would."""

        async def again() -> None:
            await self.live.cluster.kill(node, "test")
            await self.live.cluster.revive(node, "test")

        self.do(again())

    def until(self, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 10
        while not (found := condition()):
            assert time.monotonic() < deadline, "not within 10 s"
        return found

    def serving(self) -> None:
        assert self.do(self.live.cluster.wait_serving(15)) == []


@pytest.fixture(scope="module")
def module_world(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    portal = Portal()
    cluster = started(
        tmp_path_factory.mktemp("faults"), Registers(nodes=3), "docker", ["disk", "clock"]
    )
    try:
        world = World(portal, portal.call(cluster.__aenter__()))
        try:
            for need in NEEDS:
                if why := world.runtime.lacks(need):
                    pytest.skip(f"{need}: {why}")
            yield world
        finally:
            portal.call(cluster.__aexit__(None, None, None))
    finally:
        portal.close()


@pytest.fixture
def world(module_world: World) -> Iterator[World]:
    """With nothing left over from the test before, and nothing of this one afterwards."""
    yield module_world
    if module_world.live.nemesis.in_force:
        module_world.do(module_world.live.nemesis.heal_all())
    module_world.do(module_world.live.assert_sound())


def test_packets_are_dropped_on_every_way_and_come_through_when_healed(world: World) -> None:
    address = world.runtime.address("node-1")
    assert world.talk("node-3", "node-1") == world.talk("node-3", address) == "answered"
    one = world.inject(faults.netsplit("isolate", who="node-3", how="packets"), "split-1")
    two = world.inject(
        faults.netsplit("groups", groups=[["node-1"], ["node-3"]], how="packets"), "split-2"
    )
    assert world.live.proof("split-1")["probed"] == 8
    assert world.talk("node-3", "node-1") == world.talk("node-3", address) == "silent"
    assert world.talk("node-1", world.runtime.address("node-3")) == "silent"
    assert world.talk("node-2", "node-1") == "answered"
    world.heal(one)
    assert world.talk("node-3", "node-2") == "answered"
    assert world.talk("node-3", "node-1") == world.talk("node-3", address) == "silent"
    world.restart("node-3")
    assert world.talk("node-3", "node-1") == world.talk("node-3", address) == "silent"
    world.serving()
    world.heal(two)
    assert world.talk("node-3", "node-1") == world.talk("node-3", address) == "answered"


def test_a_netsplit_whose_rules_are_taken_away_is_no_netsplit(world: World) -> None:
    site = world.inject(faults.netsplit("isolate", who="node-2", how="packets"), "sabotaged-split")

    def flush(means: Means) -> None:
        for name in (*world.live.cluster.names, "toxiproxy"):
            means._helpers.shell(means._helpers.beside(world.own.nodes[name]), "iptables -F")

    world.use(flush)
    assert "is cut off from" in world.refused(site)
    world.heal_undone(site)


def test_packets_are_lost_each_way_and_after_a_restart(world: World) -> None:
    site = world.inject(faults.packet_loss(one_in=3, who="node-2"), "loss")
    assert min(world.live.proof("loss")["lost"]["node-2"]) >= 5
    assert world.talk("node-2", "node-1") in ("answered", "silent")
    world.restart("node-2")
    world.serving()
    assert min(world.do(site.fault.prove(site))["lost"]["node-2"]) >= 5
    node = world.own.nodes["node-2"]
    world.use(lambda m: m._helpers.shell(m._helpers.beside(node), "iptables -F"))
    assert "does not" in world.refused(site)
    world.heal_undone(site)


def test_memory_is_taken_and_given_back(world: World) -> None:
    whole = world.use(lambda m: m.squeeze.memory_limit("node-2"))
    one = world.inject(faults.memory(limit=share(0.05), who="node-2"), "memory-1")
    two = world.inject(faults.memory(limit="48MB", who="node-2"), "memory-2")
    assert world.live.proof("memory-1")["limits"]["node-2"] < whole / 19
    assert world.use(lambda m: m.squeeze.memory_limit("node-2")) == 48 * 2**20
    world.restart("node-2")
    world.serving()
    assert world.use(lambda m: m.squeeze.memory_limit("node-2")) == 48 * 2**20
    api: Any = world.runtime.engine.api
    node = world.own.nodes["node-2"].id
    api.update_container(node, mem_limit=whole, memswap_limit=whole)
    assert "bytes of memory" in world.refused(two)
    world.heal_undone(two)
    world.heal(one)
    assert world.use(lambda m: m.squeeze.memory_limit("node-2")) == whole


def test_who_is_out_of_memory_is_killed_and_started_again_when_healed(world: World) -> None:
    site = world.inject(faults.memory(limit="24MB", who="node-1"), "oom")

    async def hoard() -> None:
        """Begin requests that do not end until the node has more to keep than it may."""
        address, begun = world.runtime.address("node-1"), []
        try:
            while world.live.cluster.state("node-1") != "down" and len(begun) < 2000:
                _, writer = await asyncio.open_connection(address, PORT)
                begun.append(writer)
                writer.write(b"x" * 60_000)
                await writer.drain()
        except OSError:
            pass
        finally:
            for writer in begun:
                writer.transport.abort()

    world.do(hoard())
    world.do(until(lambda: world.live.cluster.state("node-1") == "down"))
    world.heal(site)
    assert world.live.proof("oom", "healed")["oom"] == ["node-1"]
    world.serving()


def test_processor_time_is_taken_and_given_back(world: World) -> None:
    site = world.inject(faults.cpu(cores=0.1, who="node-2"), "cpu")
    assert world.live.proof("cpu")["held_up"]["node-2"] >= 1
    world.restart("node-2")
    world.serving()
    assert world.use(lambda m: m.squeeze.cpu_limit("node-2")) == 0.1
    api: Any = world.runtime.engine.api
    api.update_container(world.own.nodes["node-2"].id, cpu_quota=-1)
    assert "but has all" in world.refused(site)
    world.heal_undone(site)
    assert world.use(lambda m: m.squeeze.cpu_limit("node-2")) == -1.0


WRITE = "echo kept >> /data/kept && head -c 8192 /dev/zero > /data/more"


def test_a_full_disk_takes_nothing_and_keeps_what_it_has(world: World) -> None:
    assert world.inside("node-2", "sh", "-c", WRITE)[0] == 0
    one = world.inject(faults.disk_full(who="node-2"), "disk-1")
    two = world.inject(faults.disk_full(who="node-2", leave="64K"), "disk-2")
    write = ("sh", "-c", "head -c 8192 /dev/zero >> /data/more")
    assert "No space left" in world.inside("node-2", *write)[1]
    world.restart("node-2")
    world.serving()
    assert "No space left" in world.inside("node-2", *write)[1]
    assert world.inside("node-2", "cat", "/data/kept") == (0, "kept")
    world.heal(one)
    assert world.inside("node-2", *write)[0] == 0
    assert (
        "No space left"
        in world.inside("node-2", "sh", "-c", "head -c 80000 /dev/zero > /data/x")[1]
    )
    world.inside("node-2", "rm", "/data/x", "/data/more")
    world.use(lambda m: m.disks.empty("node-2"))
    assert "takes another page" in world.refused(two)
    world.heal_undone(two)


def now_in(world: World, node: str) -> float:
    """How far the node's clock is off, as one of its programs says."""
    return float(world.inside(node, "date", "+%s.%N")[1]) - time.time()


def test_clocks_move_by_what_all_faults_together_want(world: World) -> None:
    assert abs(now_in(world, "node-2")) < 2
    one = world.inject(faults.clock_skew(by=minutes(5), who="node-2"), "clock-1")
    two = world.inject(faults.clock_skew(by=-seconds(30), who="node-2"), "clock-2")
    assert 268 < now_in(world, "node-2") < 272
    assert abs(now_in(world, "node-1")) < 2
    world.heal(one)
    world.restart("node-2")
    world.serving()
    assert -32 < now_in(world, "node-2") < -28
    world.use(lambda m: m.clocks._put("node-2", {"/harness/clock": b"+0\n"}))
    assert "but is" in world.refused(two)
    world.heal_undone(two)
    assert abs(now_in(world, "node-2")) < 2


WAIT = """
import threading, time
begin = time.monotonic()
time.sleep(0.05)
threading.Event().wait(0.05)
threading.Condition().acquire(timeout=0.05)
print(0.05 < time.monotonic() - begin < 5)
"""


def test_programs_with_moved_clocks_wait_as_long_as_they_should(world: World) -> None:
    site = world.inject(faults.clock_skew(by=minutes(5), who="node-2"), "waits")
    wait = ("timeout", "-s", "KILL", "10", "python3", "-S", "-c", WAIT)
    assert world.inside("node-2", *wait) == (0, "True")
    world.heal(site)


def test_no_name_resolves(world: World) -> None:
    ask = ("timeout", "1", "getent", "hosts", "node-1")
    before = world.inside("node-2", "cat", "/etc/hosts")
    assert world.inside("node-2", *ask)[0] == 0
    one = world.inject(faults.names(who="node-2"), "names-1")
    two = world.inject(faults.names(who="node-2", how="drop"), "names-2")
    assert world.inside("node-2", *ask)[0] != 0
    assert world.inside("node-2", "getent", "hosts", "node-2")[0] == 0
    world.heal(one)
    assert world.inside("node-2", *ask)[0] == 124
    world.restart("node-2")
    assert world.inside("node-2", *ask)[0] == 124
    world.serving()
    hosts = before[1].replace("'", "")
    world.inside("node-2", "sh", "-c", f"printf '%s\\n' '{hosts}' > /etc/hosts", user="root")
    assert "but knows node-1" in world.refused(two)
    world.heal_undone(two)
    assert world.inside("node-2", *ask)[0] == 0


def test_all_at_once_on_one_node_that_is_killed_meanwhile(world: World) -> None:
    all_of_them = (
        faults.netsplit("isolate", who="node-3", how="packets"),
        faults.packet_loss(who="node-3"),
        faults.memory(who="node-3"),
        faults.cpu(cores=0.5, who="node-3"),
        faults.disk_full(who="node-3"),
        faults.clock_skew(who="node-3"),
        faults.names(who="node-3"),
    )
    killed = world.inject(faults.kill(who="node-3"), "all-killed")
    sites = [world.inject(one, f"all-{one.kind}") for one in all_of_them]
    world.heal(killed)
    world.serving()
    for site in sites:
        world.do(site.fault.prove(site))
    for site in (*sites[3:], *sites[:3]):
        world.heal(site)


def test_a_paused_node_can_be_hit_by_any_of_them(world: World) -> None:
    paused = world.inject(faults.pause(who="node-3"), "p-pause")
    sites = [
        world.inject(one, f"p-{one.kind}")
        for one in (
            faults.packet_loss(who="node-3"),
            faults.names(who="node-3"),
            faults.memory(who="node-3"),
            faults.cpu(who="node-3"),
            faults.clock_skew(who="node-3"),
        )
    ]
    for site in sites:
        world.heal(site)
    world.heal(paused)


def test_what_had_to_be_prepared_and_was_not_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.runtime.means, "prepared", frozenset({"disk"}))
    with pytest.raises(UsageError, match="was not prepared") as caught:
        world.inject(faults.clock_skew(who="node-1"), "unprepared")
    assert 'needs=["clock"]' in str(caught.value)


def test_on_processes_they_are_missing(tmp_path: Path, toxiproxy: str) -> None:
    async def work(live: Live) -> None:
        for fault in (faults.cpu(), faults.names(), faults.netsplit("halves", how="packets")):
            with pytest.raises(MissingPartError, match="--chaos-runtime docker"):
                await live.inject(fault, fault.kind)
        assert live.nemesis.in_force == []

    on_cluster(tmp_path, work)
