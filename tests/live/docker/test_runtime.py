"""The docker runtime with real containers. Most tests share one cluster, where each has nodes of
its own; what is left at the end is looked at as well."""

from __future__ import annotations

import asyncio
import signal
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BrokenError, UsageError
from harness.runtime import NodeExit, proc
from harness.runtime.docker.engine import Engine
from harness.runtime.docker.runtime import DockerRuntime
from tests.support.containers import PYTHON, command, container, of_cluster, on_engine, script, spec
from tests.support.nodes import PORT, ask, wait_until

pytestmark = pytest.mark.live

TIMEOUT_S = 30.0

NODES = ("node-1", "node-2", "home", "stops", "deaf", "paused", "logs", "children", "strict")
SHORT = ("never", "early", "silent", "missing", "cancelled", "turn-1", "turn-2", "crash", "defect")
LIMITS: dict[str, Any] = {
    "memory_bytes": 96 * 2**20,
    "cpus": 0.5,
    "processes": 50,
    "open_files": 77,
}


@dataclass
class Shared:
    """A runtime in a loop of its own, which runs while a test is carried out."""

    runner: asyncio.Runner
    runtime: DockerRuntime
    logs: Path
    heard: list[NodeExit] = field(default_factory=list)

    def run(self, test: Callable[[DockerRuntime], Awaitable[None]]) -> None:
        async def whole() -> None:
            await asyncio.wait_for(test(self.runtime), TIMEOUT_S)

        self.runner.run(whole())

    async def until_heard_of(self, name: str) -> list[NodeExit]:
        """Wait for an exit of the node, and then for another one that must not come."""
        async with asyncio.timeout(TIMEOUT_S):
            while not any(one.name == name for one in self.heard):
                await asyncio.sleep(0.01)
        return [one for one in self.heard if one.name == name]


@pytest.fixture(scope="module")
def shared(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    logs = tmp_path_factory.mktemp("logs")
    nodes = {name: container() for name in (*NODES, *SHORT)}
    nodes["strict"] = container(**LIMITS)
    with asyncio.Runner() as runner:
        runtime = runner.run(DockerRuntime.create(nodes, logs=logs, run_id="test"))
        made = Shared(runner, runtime, logs)
        runtime.on_exit = made.heard.append
        try:
            yield made
        finally:
            runner.run(runtime.close())
    assert of_cluster(engine, runtime.id) == []


def test_nodes_start_together_and_names_mean_links(shared: Shared) -> None:
    async def test(runtime: DockerRuntime) -> None:
        pair = NODES[:2]
        await runtime.start_all([spec(runtime, node) for node in pair])
        for source in pair:
            for node in ("node-1", "node-2", "home"):
                own = source == node
                meant = runtime.address(node) if own else runtime.link_address(source, node)
                assert ask(runtime.address(source), f"resolve {node}") == meant
        assert ask(runtime.address("node-1"), "resolve localhost") == "127.0.0.1"
        for node in pair:  # a listener at every address of its own container is in nobody's way
            assert f"serving on 0.0.0.0:{PORT}" in runtime.log_tail(node)

    shared.run(test)


def test_a_node_runs_in_its_home_as_nobody_special(shared: Shared) -> None:
    async def test(runtime: DockerRuntime) -> None:
        files = {"etc/deep/own.conf": "a = 1\n", "other": "b\n"}
        await runtime.start(spec(runtime, "home", env={"COLOUR": "red"}, files=files))
        address = runtime.address("home")
        assert ask(address, "where").endswith(f" {runtime.home('home')}")
        assert ask(address, "env COLOUR") == "red"
        assert ask(address, "env HOME") != ask(address, "env HARNESS_CLUSTER") == ""
        wanted = "cat etc/deep/own.conf other; stat -c %u:%g . etc etc/deep etc/deep/own.conf other"
        said = await runtime.inside("home", ["sh", "-c", wanted], user="")
        assert said == (0, "a = 1\nb\n" + "\n".join(["1000:1000"] * 5))
        (pid,) = runtime.processes("home")
        assert f"Uid:\t{1000}\t{1000}" in Path(f"/proc/{pid}/status").read_text()

        # Its data and its files outlive it, and the files are not written again.
        assert ask(address, "write one") == "ok"
        await runtime.inside("home", ["sh", "-c", "echo changed > etc/deep/own.conf"], user="")
        await runtime.kill("home")
        assert runtime.exit_status("home") == -signal.SIGKILL
        await runtime.start(spec(runtime, "home", env={"COLOUR": "red"}, files=files))
        assert runtime.exit_status("home") is None
        ask(address, "write two")
        assert ask(address, "read") == "one,two"
        assert await runtime.inside("home", ["cat", "etc/deep/own.conf"]) == (0, "changed")
        with pytest.raises(UsageError, match="already running"):
            await runtime.start(spec(runtime, "home"))

    shared.run(test)


def test_stop_asks_first_and_kills_what_does_not_obey(shared: Shared) -> None:
    async def test(runtime: DockerRuntime) -> None:
        deaf = spec(runtime, "deaf", "--deaf", stop_timeout_s=0.2)
        await runtime.start_all([spec(runtime, "stops"), deaf])
        await runtime.pause("stops")
        assert await runtime.stop("stops") == "killed by SIGTERM"
        assert await runtime.stop("stops") == "was down: killed by SIGTERM"
        how = await runtime.stop("deaf")
        assert how == "did not obey SIGTERM within 0.2 s: killed by SIGKILL"
        assert await runtime.stop("cancelled") == "was never started"
        assert [runtime.state(node) for node in ("stops", "deaf")] == ["down", "down"]
        assert [one for one in shared.heard if one.name in ("stops", "deaf")] == []

    shared.run(test)


def test_a_paused_node_does_nothing_until_it_goes_on(shared: Shared) -> None:
    async def test(runtime: DockerRuntime) -> None:
        await runtime.start(spec(runtime, "paused"))
        address = runtime.address("paused")
        before = ask(address, "where")
        await runtime.pause("paused")
        assert runtime.state("paused") == "paused"
        with pytest.raises(TimeoutError):
            ask(address, "where", timeout_s=0.3)
        await runtime.pause("paused")
        await runtime.resume("paused")
        assert runtime.state("paused") == "running"
        assert ask(address, "where") == before
        await runtime.pause("paused")
        await runtime.kill("paused")
        assert runtime.exit_status("paused") == -signal.SIGKILL
        for work in (runtime.pause, runtime.resume):
            with pytest.raises(BrokenError, match="it is down"):
                await work("paused")

    shared.run(test)


def test_an_end_that_nobody_asked_for_is_heard_of_once(shared: Shared) -> None:
    async def test(runtime: DockerRuntime) -> None:
        await runtime.start(spec(runtime, "crash"))
        ask(runtime.address("crash"), "exit 3")
        assert await shared.until_heard_of("crash") == [NodeExit("crash", 3)]
        assert await runtime.wait_exit("crash") == 3
        await runtime.kill("crash")
        assert runtime.exit_status("crash") == 3
        await runtime.start(spec(runtime, "crash"))
        main = runtime.processes("crash")[0]
        await runtime.inside("crash", ["sh", "-c", "kill -SEGV -1"], user="1000")
        await asyncio.to_thread(wait_until, lambda: runtime.state("crash") == "down")
        assert runtime.exit_status("crash") == -signal.SIGSEGV
        assert proc.status(main) is None
        heard = [one.status for one in shared.heard if one.name == "crash"]
        assert heard == [3, -signal.SIGSEGV]

    shared.run(test)


def test_a_log_is_whole_and_in_order_to_the_last_line(shared: Shared) -> None:
    lines = 20_000
    text = (
        "import os, sys\n"
        f"for n in range({lines}): os.write(1 + n % 2, b'line %d\\n' % n)\n"
        "os.kill(os.getpid(), 9)\n"
    )

    async def test(runtime: DockerRuntime) -> None:
        for _ in range(2):
            await runtime.spawn(command(runtime, "logs", script(text)))
            assert await runtime.wait_exit("logs") == -signal.SIGKILL
        said = (shared.logs / "logs.log").read_text().splitlines()
        # What goes to two streams may change places with its neighbour; within one it may not.
        for start in (0, lines):
            once = said[start : start + lines]
            assert sorted(once, key=lambda line: int(line[5:])) == [
                f"line {n}" for n in range(lines)
            ]
            for parity in (0, 1):
                numbers = [int(line[5:]) for line in once if int(line[5:]) % 2 == parity]
                assert numbers == sorted(numbers)
        assert len(said) == 2 * lines
        assert runtime.log_tail("logs", 3).count("\n") == 2

    shared.run(test)


def test_what_was_written_before_a_kill_is_in_the_log(shared: Shared) -> None:
    text = "import itertools\nfor n in itertools.count(): print('line', n, flush=True)"

    async def test(runtime: DockerRuntime) -> None:
        log = shared.logs / "children.log"
        await runtime.start(command(runtime, "children", script(text)))
        await asyncio.to_thread(wait_until, lambda: log.stat().st_size > 200_000)
        await runtime.kill("children")
        said = log.read_text().splitlines()
        assert said == [f"line {n}" for n in range(len(said))]
        assert runtime.log_tail("children", 1) == said[-1]

    shared.run(test)


def test_a_node_that_ends_too_early_shows_the_end_of_its_log(shared: Shared) -> None:
    async def test(runtime: DockerRuntime) -> None:
        with pytest.raises(BrokenError, match=r"early ended before .* exit status 7") as caught:
            await runtime.start_all([spec(runtime, "turn-1"), spec(runtime, "early", "--exit")])
        shown = str(caught.value).splitlines()
        assert "line 30" in shown
        assert sum("line " in line for line in shown) == 20
        await asyncio.to_thread(wait_until, lambda: runtime.state("turn-1") == "down")
        assert [one for one in shared.heard if one.name in ("early", "turn-1")] == []

    shared.run(test)


def test_a_node_that_is_never_ready_is_ended(shared: Shared) -> None:
    async def test(runtime: DockerRuntime) -> None:
        with pytest.raises(BrokenError, match=r"not ready within 0\.3 s") as caught:
            await runtime.start(spec(runtime, "silent", "--silent", ready_timeout_s=0.3))
        assert "It wrote nothing" in str(caught.value)
        assert runtime.address("silent") in str(caught.value)
        await asyncio.to_thread(wait_until, lambda: runtime.processes("silent") == ())

    shared.run(test)


def test_a_defect_in_ready_is_not_waited_for(shared: Shared) -> None:
    async def broken() -> bool:
        raise ZeroDivisionError

    async def test(runtime: DockerRuntime) -> None:
        with pytest.raises(ZeroDivisionError):
            await runtime.start(spec(runtime, "defect", ready=broken))
        await asyncio.to_thread(wait_until, lambda: runtime.state("defect") == "down")

    shared.run(test)


@pytest.mark.parametrize("program", ["no-such-server", "/srv"])
def test_a_program_that_cannot_be_run_is_named(shared: Shared, program: str) -> None:
    name = "missing" if program == "no-such-server" else "cancelled"

    async def test(runtime: DockerRuntime) -> None:
        with pytest.raises(BrokenError) as caught:
            await runtime.start(spec(runtime, name, argv=[program], ready_timeout_s=5))
        said = str(caught.value)
        assert name in said and program in said, said
        assert "Traceback" not in said
        assert runtime.state(name) == "down"

    shared.run(test)


def test_in_turn_a_node_waits_until_the_one_before_it_listens(shared: Shared) -> None:
    async def test(runtime: DockerRuntime) -> None:
        pair = [spec(runtime, name, ready_timeout_s=10) for name in ("turn-1", "turn-2")]
        if runtime.state("turn-1") == "running":
            await runtime.kill("turn-1")
        await runtime.start_all(pair, in_turn=True)
        for name in ("turn-1", "turn-2"):
            assert runtime.state(name) == "running"
            await runtime.kill(name)
        unready = spec(runtime, "turn-1", ready=refuse, ready_timeout_s=0.2)
        before = (shared.logs / "turn-2.log").read_text()
        closed = spec(runtime, "silent", "--silent", ready_timeout_s=0.2)
        with pytest.raises(BrokenError, match="silent was not ready"):
            await runtime.start_all([closed, spec(runtime, "turn-2")], in_turn=True)
        with pytest.raises(BrokenError, match="turn-1 was not ready"):
            await runtime.start_all([unready], in_turn=True)
        assert (shared.logs / "turn-2.log").read_text() == before

    async def refuse() -> bool:
        return False

    shared.run(test)


def test_limits_are_the_containers(shared: Shared) -> None:
    async def test(runtime: DockerRuntime) -> None:
        await runtime.start(spec(runtime, "strict"))
        assert await runtime.inside("strict", ["sh", "-c", "ulimit -n"], user="") == (0, "77")
        found = next(
            one
            for one in runtime.engine.api.containers(
                filters={"label": f"harness.cluster={runtime.id}"}
            )
            if one["Labels"]["harness.node"] == "strict"
        )
        config = runtime.engine.api.inspect_container(found["Id"])["HostConfig"]
        assert config["Memory"] == config["MemorySwap"] == LIMITS["memory_bytes"]
        assert config["CpuQuota"] / config["CpuPeriod"] == LIMITS["cpus"]
        assert config["PidsLimit"] == LIMITS["processes"]
        # Half of what it asks for is over the limit: it is ended, and nobody else is.
        eat = "x = bytearray(200 * 2**20)"
        status, _ = await runtime.inside("strict", [*PYTHON, "-c", eat], user="")
        assert status in (137, -9)
        assert ask(runtime.address("strict"), "where")

    shared.run(test)


def test_single_processes_are_found_and_ended(shared: Shared) -> None:
    async def test(runtime: DockerRuntime) -> None:
        await runtime.kill("stops")
        await runtime.start(spec(runtime, "stops"))
        address = runtime.address("stops")
        (main,) = runtime.processes("stops")
        for kind in ("plain", "daemon"):
            ask(address, f"spawn {kind}")
        await asyncio.to_thread(wait_until, lambda: len(runtime.processes("stops")) == 3)
        first, *others = runtime.processes("stops")
        assert first == main
        assert await runtime.kill_process("stops", others[0])
        assert runtime.processes("stops") == (main, others[1])
        other_node = runtime.processes("node-1")
        strangers = [2**22 - 1, 1, *other_node[:1]]
        assert [await runtime.kill_process("stops", pid) for pid in strangers] == [False] * len(
            strangers
        )
        assert ask(address, "where")
        await runtime.kill("stops")
        assert runtime.processes("stops") == ()
        assert proc.status(main) is None and proc.status(others[1]) is None

    shared.run(test)


def test_unknown_names_are_refused(shared: Shared) -> None:
    async def test(runtime: DockerRuntime) -> None:
        for work in (runtime.state, runtime.address, runtime.home, runtime.processes):
            with pytest.raises(UsageError, match="There is no node 'node-9'"):
                work("node-9")
        with pytest.raises(UsageError, match="has not been started"):
            await runtime.wait_ready(spec(runtime, "never", ready=never))

    async def never() -> bool:
        raise AssertionError

    shared.run(test)


# Ends of clusters, each with one of its own


def alone(
    engine: Engine,
    logs: Path,
    test: Callable[[DockerRuntime], Awaitable[None]],
    nodes: tuple[str, ...] = ("node-1", "node-2"),
) -> None:
    """A cluster that is closed at the end, and of which nothing may be left then."""

    async def whole() -> None:
        runtime = await DockerRuntime.create(
            {name: container() for name in nodes}, logs=logs, run_id="test"
        )
        try:
            await asyncio.wait_for(test(runtime), TIMEOUT_S)
        finally:
            await runtime.close()
        assert of_cluster(engine, runtime.id) == []

    asyncio.run(whole())


def test_close_works_in_any_state_and_twice(engine: Engine, tmp_path: Path) -> None:
    async def test(runtime: DockerRuntime) -> None:
        await runtime.start_all(
            [spec(runtime, "a", "--deaf"), spec(runtime, "b"), spec(runtime, "c")]
        )
        await runtime.start_tool("tool", ["sleep", "600"])
        await runtime.pause("b")
        await runtime.kill("c")
        assert len(of_cluster(engine, runtime.id)) == 3 + 1 + 3
        await runtime.close()
        assert of_cluster(engine, runtime.id) == []
        assert runtime.state("tool") == "down"
        await runtime.close()
        with pytest.raises(BrokenError, match="closed"):
            await runtime.start(spec(runtime, "a"))
        assert "serving" in (tmp_path / "a.log").read_text()

    alone(engine, tmp_path, test, ("a", "b", "c"))


def test_a_cancelled_close_still_undoes_everything(engine: Engine, tmp_path: Path) -> None:
    async def test(runtime: DockerRuntime) -> None:
        await runtime.start(spec(runtime, "node-1", "--deaf"))
        closing = asyncio.create_task(runtime.close())
        await asyncio.wait({closing}, timeout=0.05)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert of_cluster(engine, runtime.id) == []

    alone(engine, tmp_path, test)


def test_a_cancelled_start_leaves_nothing_running(engine: Engine, tmp_path: Path) -> None:
    def up(runtime: DockerRuntime) -> list[dict[str, Any]]:
        return engine.api.containers(filters={"label": f"harness.cluster={runtime.id}"})

    async def test(runtime: DockerRuntime) -> None:
        # As it begins; while the container is made or started; while it is waited for.
        for moment in range(3):
            starting = asyncio.create_task(runtime.start(spec(runtime, "node-1", "--silent")))
            if moment == 1:
                await asyncio.to_thread(wait_until, lambda: of_node(engine, runtime, "node-1"))
            elif moment == 2:
                await asyncio.to_thread(wait_until, lambda: runtime.processes("node-1"))
            else:
                await asyncio.sleep(0)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
            await asyncio.to_thread(wait_until, lambda: not up(runtime))
            await asyncio.to_thread(wait_until, lambda: runtime.state("node-1") == "down")
        every = asyncio.create_task(
            runtime.start_all([spec(runtime, name, "--silent") for name in runtime.nodes])
        )
        await asyncio.to_thread(wait_until, lambda: len(up(runtime)) == 1)
        every.cancel()
        with pytest.raises(asyncio.CancelledError):
            await every
        await asyncio.to_thread(wait_until, lambda: not up(runtime))

    alone(engine, tmp_path, test)


@pytest.mark.parametrize("call", ["create_network", "create_container", "start"])
def test_what_is_being_made_when_all_is_cancelled_does_not_stay(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    run_id = f"test-{uuid.uuid4().hex}"
    entered, go, done = threading.Event(), threading.Event(), threading.Event()
    real = getattr(engine.api, call)

    def slow(*arguments: Any, **options: Any) -> Any:
        entered.set()
        assert go.wait(TIMEOUT_S)
        try:
            return real(*arguments, **options)
        finally:
            done.set()

    async def work() -> None:
        async with await DockerRuntime.create(
            {"node-1": container(), "node-2": container()}, logs=tmp_path, run_id=run_id
        ) as runtime:
            await runtime.start_all([spec(runtime, node) for node in runtime.nodes], in_turn=True)

    async def whole() -> None:
        monkeypatch.setattr(engine.api, call, slow)
        working = asyncio.create_task(work())
        assert await asyncio.to_thread(entered.wait, TIMEOUT_S)
        working.cancel()
        await asyncio.wait({working}, timeout=0.3)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert await asyncio.to_thread(done.wait, TIMEOUT_S)
        assert on_engine(engine, f"harness.run={run_id}") == []

    asyncio.run(whole())


def of_node(engine: Engine, runtime: DockerRuntime, node: str) -> list[str]:
    return [name for name in of_cluster(engine, runtime.id) if name.endswith(node)]


def test_clusters_at_once_have_different_subnets(engine: Engine, tmp_path: Path) -> None:
    async def test(runtime: DockerRuntime) -> None:
        others = await asyncio.gather(
            *(
                DockerRuntime.create({"node-1": container()}, logs=tmp_path / str(n), run_id="test")
                for n in range(3)
            )
        )
        try:
            found = {one.address("node-1") for one in (runtime, *others)}
            assert len(found) == 4
            await asyncio.gather(
                *(one.start(spec(one, "node-1", env={"N": one.id})) for one in (runtime, *others))
            )
            for one in (runtime, *others):
                assert ask(one.address("node-1"), "env N") == one.id
        finally:
            await asyncio.gather(*(one.close() for one in others))
        assert ask(runtime.address("node-1"), "env N") == runtime.id

    alone(engine, tmp_path, test)
