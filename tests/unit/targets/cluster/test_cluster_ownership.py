"""Workers on several nodes, in one process on virtual time: netsplits, deaths, and owners."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from primitives.crdt import AWMap, Replicator, replica_id
from primitives.membership import Membership
from primitives.telemetry import Metrics

from targets.cluster.app.conflicts import Journal
from targets.cluster.app.ownership import Ownership
from targets.cluster.app.placement import best
from targets.cluster.app.registry import Registry
from targets.cluster.app.runner import Runner
from tests.support.virtual_mesh import VirtualNet, run_pausably

NAMES = ("node-1", "node-2", "node-3")
WORKERS = tuple(f"worker-{number}" for number in range(1, 7))
DETECTED_S = 3.0
SETTLED_S = 6.0


class Member:
    """One start of one node: what `app.node` builds, without HTTP, limiter and topics."""

    def __init__(
        self, net: VirtualNet, name: str, folder: Path, names: Iterable[str], mutant: str | None
    ) -> None:
        self.mesh = mesh = net.start(name)
        self.events: list[tuple[str, dict[str, Any]]] = []
        metrics, random = Metrics(), Random(f"{name} {mesh.incarnation}")
        self.membership = Membership(
            mesh,
            seeds={one: (one, 0) for one in names},
            random=random,
            metrics=metrics,
            probe_s=0.2,
            suspect_s=0.8,
        )
        maps = {kind: AWMap(replica_id(name, mesh.incarnation)) for kind in ("wanted", "claims")}
        self.replicators = {
            kind: Replicator(
                mesh,
                entries,
                kind=kind,
                interval_s=0.5,
                random=random,
                metrics=metrics,
                anti_entropy=mutant != "no-anti-entropy",
                # Who asked for a worker may restart: the worker is wanted all the same.
                drop_former_starts=kind == "claims",
            )
            for kind, entries in maps.items()
        }

        def tell(event: str, **data: Any) -> None:
            self.events.append((event, data))

        self.journal_path = folder / f"{name}.jsonl"
        now = asyncio.get_running_loop().time
        self.journal = Journal(self.journal_path, mesh.incarnation, now, tell, mutant=mutant)
        self.runner = Runner(name, mesh.incarnation, tell)
        registry = Registry(
            name,
            mesh.incarnation,
            (maps["wanted"], self.replicators["wanted"].publish),
            (maps["claims"], self.replicators["claims"].publish),
        )
        self.ownership = Ownership(
            name, registry, self.runner, self.journal, self.membership, mesh, tell, mutant=mutant
        )
        for replicator in self.replicators.values():
            replicator.on_change(self.ownership.changed)

    async def start(self) -> None:
        await self.membership.start()
        for replicator in self.replicators.values():
            await replicator.start()
        await self.ownership.start()

    @property
    def running(self) -> frozenset[str]:
        return frozenset(self.runner.running)


class Nodes:
    """The members, by name, and the network between them."""

    def __init__(self, folder: Path, names: Iterable[str] = NAMES, mutant: str | None = None):
        self.names = tuple(names)
        self.net = VirtualNet(Random(5))
        self.members: dict[str, Member] = {}
        self._folder = folder
        self._mutant = mutant

    async def start(self, name: str) -> None:
        member = Member(self.net, name, self._folder, self.names, self._mutant)
        self.members[name] = member
        await member.mesh.task(member.start())

    def kill(self, name: str) -> None:
        self.net.stop(name)
        del self.members[name]

    async def ensure(self, worker: str, at: str, **how: Any) -> str:
        member = self.members[at]
        owner, _started = await member.mesh.task(member.ownership.ensure(worker, **how))
        return owner

    def running(self, worker: str) -> list[str]:
        """Where the worker truly runs."""
        return [name for name, member in self.members.items() if worker in member.running]

    def views(self) -> list[dict[str, str | None]]:
        return [member.ownership.owners() for member in self.members.values()]

    def conflicts(self) -> list[Any]:
        return [one for member in self.members.values() for one in member.journal.resolved]


def on_nodes(
    folder: Path,
    work: Callable[[Nodes], Awaitable[None]],
    *,
    names: Iterable[str] = NAMES,
    mutant: str | None = None,
) -> None:
    async def whole() -> None:
        nodes = Nodes(folder, names, mutant)
        for name in nodes.names:
            await nodes.start(name)
        await asyncio.sleep(1.0)
        await work(nodes)

    run_pausably(whole())


def test_a_worker_runs_where_it_belongs_and_everybody_knows(tmp_path: Path) -> None:
    async def work(nodes: Nodes) -> None:
        for worker in WORKERS:
            assert await nodes.ensure(worker, "node-1") == best(worker, NAMES)
            assert await nodes.ensure(worker, "node-2") == best(worker, NAMES)
        await asyncio.sleep(0.5)
        for worker in WORKERS:
            assert nodes.running(worker) == [best(worker, NAMES)]
        assert nodes.views() == [{worker: best(worker, NAMES) for worker in WORKERS}] * 3
        assert nodes.conflicts() == []

    on_nodes(tmp_path, work)


def test_a_worker_that_is_wanted_here_runs_here(tmp_path: Path) -> None:
    async def work(nodes: Nodes) -> None:
        for name in NAMES:
            assert await nodes.ensure(f"mine-{name}", name, here=True) == name

    on_nodes(tmp_path, work)


def test_workers_of_a_dead_node_run_elsewhere_and_stay_there(tmp_path: Path) -> None:
    async def work(nodes: Nodes) -> None:
        for worker in WORKERS:
            await nodes.ensure(worker, "node-1")
        await asyncio.sleep(0.2)
        nodes.kill("node-2")
        await asyncio.sleep(DETECTED_S)
        others = [name for name in NAMES if name != "node-2"]
        expected = {worker: best(worker, NAMES) for worker in WORKERS}
        moved = {worker for worker, owner in expected.items() if owner == "node-2"}
        assert moved
        expected |= {worker: best(worker, others) for worker in moved}
        assert {worker: nodes.running(worker) for worker in WORKERS} == {
            worker: [owner] for worker, owner in expected.items()
        }
        await nodes.start("node-2")
        await asyncio.sleep(DETECTED_S)
        assert nodes.views() == [expected] * 3
        assert nodes.members["node-2"].running == frozenset()
        assert nodes.conflicts() == []  # what the dead node claimed before counts for nothing

    on_nodes(tmp_path, work)


def test_a_node_that_is_back_at_once_has_nothing_running(tmp_path: Path) -> None:
    """Too soon for the others to have missed it: its claims of before are void all the same."""

    async def work(nodes: Nodes) -> None:
        for worker in WORKERS:
            await nodes.ensure(worker, "node-1")
        await asyncio.sleep(0.2)
        for name in ("node-2", "node-1"):
            nodes.kill(name)
            await nodes.start(name)
            await asyncio.sleep(DETECTED_S)
            assert all(len(nodes.running(worker)) == 1 for worker in WORKERS)
            assert set(nodes.views()[0]) == set(WORKERS)  # although node-1 had asked for them

    on_nodes(tmp_path, work)


def test_both_sides_go_on_and_one_owner_is_left(tmp_path: Path) -> None:
    async def work(nodes: Nodes) -> None:
        for worker in WORKERS[:4]:
            await nodes.ensure(worker, "node-1")
        nodes.net.split(["node-1"], ["node-2", "node-3"])
        await asyncio.sleep(DETECTED_S)
        for worker in WORKERS:
            for name in NAMES:
                await nodes.ensure(worker, name)
        await asyncio.sleep(0.5)
        twice = {worker for worker in WORKERS if len(nodes.running(worker)) == 2}
        assert twice == set(WORKERS)
        before = {worker: set(nodes.running(worker)) for worker in WORKERS}
        nodes.net.heal()
        await asyncio.sleep(DETECTED_S)
        expected = {worker: best(worker, NAMES) for worker in WORKERS}
        assert nodes.views() == [expected] * 3
        assert {worker: nodes.running(worker) for worker in WORKERS} == {
            worker: [owner] for worker, owner in expected.items()
        }
        told = nodes.conflicts()
        assert {one.worker for one in told} == set(WORKERS)
        for one in told:
            assert set(one.before) == before[one.worker]
            assert list(one.after) == [one.winner] == [expected[one.worker]]
        assert not any(member.journal.open for member in nodes.members.values())

    on_nodes(tmp_path, work)


def test_a_worker_that_nobody_wants_ends_on_all_sides(tmp_path: Path) -> None:
    async def work(nodes: Nodes) -> None:
        await nodes.ensure("worker-1", "node-1")
        nodes.net.split(["node-1"], ["node-2", "node-3"])
        await asyncio.sleep(DETECTED_S)
        assert len(nodes.running("worker-1")) == 2
        assert nodes.members["node-1"].ownership.drop("worker-1")
        nodes.net.heal()
        await asyncio.sleep(DETECTED_S)
        assert nodes.running("worker-1") == []
        assert nodes.views() == [{}] * 3
        assert not nodes.members["node-1"].ownership.drop("worker-1")

    on_nodes(tmp_path, work)


def test_a_node_that_ends_gives_its_workers_up(tmp_path: Path) -> None:
    async def work(nodes: Nodes) -> None:
        owner = await nodes.ensure("worker-1", "node-1")
        await asyncio.sleep(0.2)
        await nodes.members[owner].mesh.task(nodes.members[owner].ownership.close())
        await asyncio.sleep(0.2)
        assert nodes.running("worker-1") == []
        others = [member for name, member in nodes.members.items() if name != owner]
        assert [member.ownership.owners() for member in others] == [{"worker-1": None}] * 2

    on_nodes(tmp_path, work)


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("split"), st.sampled_from(NAMES)),
        st.tuples(
            st.just("one way"), st.sampled_from([("node-1", "node-2"), ("node-3", "node-1")])
        ),
        st.tuples(st.just("heal"), st.none()),
        st.tuples(st.just("kill"), st.sampled_from(NAMES)),
        st.tuples(st.just("pause"), st.sampled_from(NAMES)),
        st.tuples(st.just("resume"), st.sampled_from(NAMES)),
        st.tuples(
            st.just("ensure"), st.tuples(st.sampled_from(WORKERS[:3]), st.sampled_from(NAMES))
        ),
        st.tuples(st.just("wait"), st.floats(0.05, 2.0)),
    ),
    max_size=15,
)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(moves=MOVES)
def test_whatever_happens_one_owner_is_left(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, Any]]
) -> None:
    async def work(nodes: Nodes) -> None:
        paused: set[str] = set()
        asking = []
        for what, whom in moves:
            if what == "split":
                nodes.net.split([whom], [name for name in NAMES if name != whom])
            elif what == "one way":
                nodes.net.cut([whom])
            elif what == "heal":
                nodes.net.heal()
            elif what == "kill":
                nodes.kill(whom)
                paused.discard(whom)
                await nodes.start(whom)
            elif what == "pause" and whom not in paused:
                paused.add(whom)
                nodes.net.pause(whom)
            elif what == "resume" and whom in paused:
                paused.discard(whom)
                nodes.net.resume(whom)
            elif what == "ensure":
                worker, name = whom
                member = nodes.members[name]
                asking.append(member.mesh.task(member.ownership.ensure(worker)))
            elif what == "wait":
                await asyncio.sleep(whom)
        for name in paused:
            nodes.net.resume(name)
        nodes.net.heal()
        await asyncio.sleep(SETTLED_S)
        views = nodes.views()
        assert views[1:] == views[:-1]
        for worker, owner in views[0].items():
            assert nodes.running(worker) == [owner]
        assert all(member.running <= set(views[0]) for member in nodes.members.values())
        assert not any(member.journal.open for member in nodes.members.values())

    on_nodes(tmp_path_factory.mktemp("nodes"), work)


@pytest.mark.parametrize("mutant", ["first-met-wins", "loser-keeps-running"])
def test_mutants_leave_two_owners(tmp_path: Path, mutant: str) -> None:
    async def work(nodes: Nodes) -> None:
        await nodes.ensure("worker-1", "node-1")
        nodes.net.split(["node-1"], ["node-2", "node-3"])
        await asyncio.sleep(DETECTED_S)
        nodes.net.heal()
        await asyncio.sleep(SETTLED_S)
        assert len(nodes.running("worker-1")) == 2

    on_nodes(tmp_path, work, mutant=mutant)


def test_a_journal_that_was_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "conflicts.jsonl"
    now = iter(range(100)).__next__
    journal = Journal(path, 1, lambda: float(now()), lambda event, **_data: told.append(event))
    journal.saw("w", {"node-1": "a"})
    assert told == []
    journal.saw("w", {"node-1": "a", "node-2": "b"})
    journal.saw("w", {"node-2": "b", "node-3": "c"})
    journal.saw("w", {"node-2": "b", "node-3": "c"})
    assert [one.worker for one in journal.open] == ["w"]
    winner = best("w", ["node-1", "node-2", "node-3"])
    journal.saw("w", {"node-2": "b"}, {"node-3", "node-4"})
    journal.close()
    assert told == ["conflict", "conflict", "resolved"]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[-1]["before"] == {"node-1": "a", "node-2": "b", "node-3": "c"}
    assert (lines[-1]["after"], lines[-1]["winner"]) == ({"node-2": "b"}, winner)
    assert lines[-1]["gone"] == ["node-3"]
    path.write_text(path.read_text() + '{"event": "resol')
    again = Journal(path, 2, lambda: 0.0, lambda *_: None)
    assert [(one.worker, one.incarnation) for one in again.resolved] == [("w", 1)]
    again.close()


def test_what_cannot_be_journaled_was_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "conflicts.jsonl", 1, lambda: 0.0, lambda *_, **__: None)
    both = {"node-1": "a", "node-2": "b"}

    def full(_file: int, _line: bytes) -> int:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("targets.cluster.app.conflicts.os.write", full)
        with pytest.raises(OSError, match="no space"):
            journal.saw("w", both)
    assert journal.open == []
    journal.saw("w", both)
    with monkeypatch.context() as patched:
        patched.setattr("targets.cluster.app.conflicts.os.write", full)
        with pytest.raises(OSError, match="no space"):
            journal.saw("w", {"node-1": "a"})
    assert (len(journal.open), journal.resolved) == (1, [])
    journal.saw("w", {"node-1": "a"})
    assert (journal.open, len(journal.resolved)) == ([], 1)
    journal.close()
