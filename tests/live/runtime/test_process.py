"""The process runtime with real processes, sockets and namespaces."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from harness.errors import BrokenError, UsageError
from harness.runtime import NodeExit, proc
from harness.runtime.namespaces import namespaces
from harness.runtime.process import ProcessRuntime
from tests.support.nodes import PORT, ask, node_spec, wait_until

pytestmark = pytest.mark.live

NODES = ("node-1", "node-2", "node-3")


def run(
    test: Callable[[ProcessRuntime], Awaitable[None]], logs: Path, nodes: tuple[str, ...] = NODES
) -> None:
    """Run `test` with a cluster, and see that nothing of it is left."""

    async def main() -> None:
        runtime = await ProcessRuntime.create(nodes, logs=logs, run_id="test")
        where = runtime.home("node-1").parent
        try:
            await asyncio.wait_for(test(runtime), 60)
        finally:
            await runtime.close()
        assert not where.exists()
        assert proc.find(runtime.id, {}, 0) == {}

    asyncio.run(main())


def alive(pid: int) -> bool:
    now = proc.status(pid)
    return now is not None and not now.gone


def letter(pid: int) -> str:
    now = proc.status(pid)
    return now.state if now else ""


def needs_namespaces() -> None:
    support = namespaces()
    if support.kind == "none":
        pytest.skip(support.reason)


def test_nodes_start_together_and_names_mean_links(tmp_path: Path) -> None:
    needs_namespaces()

    async def test(runtime: ProcessRuntime) -> None:
        await runtime.start_all([node_spec(runtime, node) for node in NODES])
        for source in NODES:
            for node in NODES:
                own = source == node
                meant = runtime.address(node) if own else runtime.link_address(source, node)
                assert ask(runtime.address(source), f"resolve {node}") == meant
        assert ask(runtime.address("node-1"), "resolve localhost") == "127.0.0.1"

    run(test, tmp_path)
    assert "node-1" not in Path("/etc/hosts").read_text()  # nobody else was affected


def test_a_node_runs_in_its_home_with_its_environment_and_files(tmp_path: Path) -> None:
    async def test(runtime: ProcessRuntime) -> None:
        files = {"etc/own.conf": "a = 1\n"}
        spec = node_spec(runtime, "node-1", env={"COLOUR": "red"}, files=files)
        await runtime.start(spec)
        address = runtime.address("node-1")
        pid = runtime.processes("node-1")[0]
        assert ask(address, "where") == f"{pid} {runtime.home('node-1')}"
        assert os.getpgid(pid) == pid == os.getsid(pid)
        assert psutil.Process(pid).uids().real == os.getuid()
        assert ask(address, "env COLOUR") == "red"
        assert ask(address, "env HARNESS_CLUSTER") == runtime.id
        assert ask(address, "env HARNESS_NODE") == "node-1"
        assert (runtime.home("node-1") / "etc/own.conf").read_text() == "a = 1\n"

    run(test, tmp_path)


def test_a_restart_keeps_data_and_log_but_writes_no_files_again(tmp_path: Path) -> None:
    async def test(runtime: ProcessRuntime) -> None:
        spec = node_spec(runtime, "node-1", files={"own.conf": "first\n"})
        address = runtime.address("node-1")
        await runtime.start(spec)
        ask(address, "write one")
        (runtime.home("node-1") / "own.conf").write_text("changed\n")
        await runtime.kill("node-1")
        await runtime.start(spec)
        ask(address, "write two")
        assert ask(address, "read") == "one,two"
        assert (runtime.home("node-1") / "own.conf").read_text() == "changed\n"
        assert (tmp_path / "node-1.log").read_text().count("serving on") == 2
        with pytest.raises(UsageError, match="already running"):
            await runtime.start(spec)

    run(test, tmp_path)


@pytest.mark.parametrize("kind", ["plain", "daemon"])
def test_kill_ends_the_node_and_all_its_processes(tmp_path: Path, kind: str) -> None:
    if kind == "daemon":
        needs_namespaces()  # it sheds every other mark

    async def test(runtime: ProcessRuntime) -> None:
        await runtime.start_all([node_spec(runtime, node) for node in NODES])
        main = runtime.processes("node-1")[0]
        child = int(ask(runtime.address("node-1"), f"spawn {kind}"))
        if kind == "daemon":
            wait_until(lambda: os.getsid(child) == child)
            wait_until(lambda: Path(f"/proc/{child}/environ").read_bytes() == b"")
        assert runtime.processes("node-1") == (main, child)
        await runtime.kill("node-1")
        assert not alive(main)
        assert not alive(child)
        assert runtime.processes("node-1") == ()
        assert runtime.state("node-1") == "down"
        assert runtime.exit_status("node-1") == -signal.SIGKILL
        assert runtime.state("node-2") == "running"
        await runtime.kill("node-1")

    run(test, tmp_path)


def test_stop_asks_first_and_kills_what_does_not_obey(tmp_path: Path) -> None:
    async def test(runtime: ProcessRuntime) -> None:
        polite = node_spec(runtime, "node-1")
        deaf = node_spec(runtime, "node-2", ["--deaf"], stop_timeout_s=0.1)
        await runtime.start_all([polite, deaf])
        await runtime.pause("node-1")
        assert await runtime.stop("node-1") == "killed by SIGTERM"
        assert await runtime.stop("node-1") == "was down: killed by SIGTERM"
        how = await runtime.stop("node-2")
        assert how == "did not obey SIGTERM within 0.1 s: killed by SIGKILL"
        assert await runtime.stop("node-3") == "was never started"

    run(test, tmp_path)


def test_pause_stops_every_process_and_resume_lets_them_go_on(tmp_path: Path) -> None:
    async def test(runtime: ProcessRuntime) -> None:
        await runtime.start(node_spec(runtime, "node-1"))
        ask(runtime.address("node-1"), "spawn plain")
        pids = runtime.processes("node-1")
        assert len(pids) == 2
        await runtime.pause("node-1")
        assert runtime.state("node-1") == "paused"
        assert [letter(pid) for pid in pids] == ["T", "T"]
        with pytest.raises(TimeoutError):
            ask(runtime.address("node-1"), "where", timeout_s=0.2)
        await runtime.resume("node-1")
        assert runtime.state("node-1") == "running"
        assert "T" not in [letter(pid) for pid in pids]
        assert ask(runtime.address("node-1"), "where").startswith(str(pids[0]))
        with pytest.raises(BrokenError, match="it is down"):
            await runtime.pause("node-2")

    run(test, tmp_path)


def test_a_paused_node_can_be_killed(tmp_path: Path) -> None:
    async def test(runtime: ProcessRuntime) -> None:
        await runtime.start(node_spec(runtime, "node-1"))
        await runtime.pause("node-1")
        await runtime.kill("node-1")
        assert runtime.exit_status("node-1") == -signal.SIGKILL

    run(test, tmp_path)


def test_on_exit_hears_of_nodes_that_end_by_themselves_only(tmp_path: Path) -> None:
    heard: list[NodeExit] = []

    async def test(runtime: ProcessRuntime) -> None:
        said = asyncio.Event()

        def on_exit(ended: NodeExit) -> None:
            heard.append(ended)
            said.set()

        runtime.on_exit = on_exit
        await runtime.start_all([node_spec(runtime, node) for node in NODES])
        await runtime.kill("node-1")
        await runtime.stop("node-2")
        assert heard == []
        ask(runtime.address("node-3"), "exit 3")
        await asyncio.wait_for(said.wait(), 5)

    run(test, tmp_path)
    assert heard == [NodeExit("node-3", 3)]


def test_what_a_crashed_node_left_is_ended_before_it_starts_again(tmp_path: Path) -> None:
    async def test(runtime: ProcessRuntime) -> None:
        spec = node_spec(runtime, "node-1")
        await runtime.start(spec)
        child = int(ask(runtime.address("node-1"), "spawn plain"))
        ask(runtime.address("node-1"), "exit 1")
        await asyncio.to_thread(wait_until, lambda: runtime.state("node-1") == "down")
        assert alive(child)
        await runtime.start(spec)
        assert not alive(child)

    run(test, tmp_path)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    async def test(runtime: ProcessRuntime) -> None:
        refused = pytest.raises(BrokenError, match=rf"node-1 cannot listen on .*:{PORT}")
        with socket.create_server((runtime.address("node-1"), PORT)), refused as caught:
            await runtime.start(node_spec(runtime, "node-1"))
        assert f"ss -ltnp 'sport = :{PORT}'" in str(caught.value)
        assert runtime.processes("node-1") == ()

    run(test, tmp_path)


def test_a_node_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    async def test(runtime: ProcessRuntime) -> None:
        silent = node_spec(runtime, "node-1", ["--silent"], ready_timeout_s=0.3)
        with pytest.raises(BrokenError, match=r"not ready within 0\.3 s") as caught:
            await runtime.start(silent)
        assert "It wrote nothing" in str(caught.value)
        assert runtime.processes("node-1") == ()

    run(test, tmp_path)


def test_in_turn_a_node_waits_until_the_one_before_it_listens(tmp_path: Path) -> None:
    async def test(runtime: ProcessRuntime) -> None:
        await runtime.start_all([node_spec(runtime, node) for node in NODES], in_turn=True)
        assert [runtime.state(node) for node in NODES] == ["running"] * 3
        for node in NODES:
            await runtime.kill(node)
        silent = node_spec(runtime, "node-1", ["--silent"], ready_timeout_s=0.3)
        # Which program node-2 is does not matter: it must not be started.
        never = node_spec(runtime, "node-2", ["--exit"])
        with pytest.raises(BrokenError, match="node-1 was not ready"):
            await runtime.start_all([silent, never], in_turn=True)
        assert "line 1" not in (tmp_path / "node-2.log").read_text()

    run(test, tmp_path)


def test_a_node_that_ends_too_early_shows_the_end_of_its_log(tmp_path: Path) -> None:
    async def test(runtime: ProcessRuntime) -> None:
        others = [node_spec(runtime, node) for node in ("node-1", "node-3")]
        bad = node_spec(runtime, "node-2", ["--exit"])
        with pytest.raises(BrokenError, match=r"node-2 ended before .* exit status 7") as caught:
            await runtime.start_all([*others, bad])
        shown = str(caught.value).splitlines()
        assert "line 30" in shown
        assert sum("line " in line for line in shown) == 20
        assert [runtime.processes(node) for node in NODES] == [(), (), ()]

    run(test, tmp_path)


def test_a_defect_in_ready_is_not_waited_for(tmp_path: Path) -> None:
    async def broken() -> bool:
        raise ZeroDivisionError

    async def test(runtime: ProcessRuntime) -> None:
        with pytest.raises(ZeroDivisionError):
            await runtime.start(node_spec(runtime, "node-1", ready=broken))
        assert runtime.processes("node-1") == ()

    run(test, tmp_path)


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    async def test(runtime: ProcessRuntime) -> None:
        for program in ("no-such-server", "./no-such-server"):
            with pytest.raises(BrokenError, match=f"no program '{program}'"):
                await runtime.start(node_spec(runtime, "node-1", argv=[program]))

    run(test, tmp_path)


@pytest.mark.parametrize("nodes", [1, 3])
def test_a_server_that_listens_everywhere_is_refused(tmp_path: Path, nodes: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]  # not the one that other tests use: it is taken from all

    async def test(runtime: ProcessRuntime) -> None:
        specs = []
        for node in NODES[:nodes]:
            spec = node_spec(runtime, node, ports={"lines": port})
            argv = [*spec.argv[:-2], "0.0.0.0", str(port)]

            async def ready(address: str = runtime.address(node)) -> bool:
                await asyncio.to_thread(ask, address, "where", port)
                return True

            specs.append(node_spec(runtime, node, ports={"lines": port}, argv=argv, ready=ready))
        # Of several, one that lost may be heard of before the one that won listens: then the port
        # is only taken. What to do is the same.
        told = f"port {port} at every address" if nodes == 1 else "listen on its own address only"
        with pytest.raises(BrokenError, match=told):
            await runtime.start_all(specs)

    run(test, tmp_path)


def test_cancelling_a_start_leaves_no_process(tmp_path: Path) -> None:
    async def test(runtime: ProcessRuntime) -> None:
        starting = asyncio.create_task(
            runtime.start_all([node_spec(runtime, node, ["--silent"]) for node in NODES])
        )
        await asyncio.to_thread(wait_until, lambda: len(runtime.all_processes()) == 3)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert runtime.all_processes() == {}

    run(test, tmp_path)


def test_close_works_in_any_state_and_twice(tmp_path: Path) -> None:
    async def test(runtime: ProcessRuntime) -> None:
        deaf = node_spec(runtime, "node-3", ["--deaf"])
        await runtime.start_all([*(node_spec(runtime, n) for n in NODES[:2]), deaf])
        await runtime.start_tool("tool", ["sleep", "600"])
        await runtime.pause("node-2")
        pids = [pid for found in runtime.all_processes().values() for pid in found]
        assert len(pids) == 4
        await runtime.close()
        assert not any(alive(pid) for pid in pids)
        await runtime.close()
        with pytest.raises(BrokenError, match="closed"):
            await runtime.start(node_spec(runtime, "node-1"))

    run(test, tmp_path)


def test_a_cancelled_close_still_undoes_everything(tmp_path: Path) -> None:
    async def test(runtime: ProcessRuntime) -> None:
        await runtime.start(node_spec(runtime, "node-1", ["--deaf"]))
        pid = runtime.processes("node-1")[0]
        closing = asyncio.create_task(runtime.close())
        await asyncio.wait({closing}, timeout=0.05)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert not alive(pid)
        assert not runtime.home("node-1").exists()

    run(test, tmp_path)


def test_tools_are_started_listed_and_heard_of(tmp_path: Path) -> None:
    async def test(runtime: ProcessRuntime) -> None:
        with pytest.raises(UsageError, match="a node is"):
            await runtime.start_tool("node-1", ["sleep", "600"])
        with pytest.raises(UsageError, match="There is no node 'tool'"):
            runtime.state("tool")
        await runtime.start_tool("tool", ["sh", "-c", "echo $COLOUR; sleep 600"], {"COLOUR": "red"})
        await asyncio.to_thread(wait_until, (tmp_path / "tool.log").read_text)
        assert (tmp_path / "tool.log").read_text() == "red\n"
        assert runtime.state("tool") == "running"
        await runtime.kill("tool")
        assert runtime.state("tool") == "down"
        await runtime.start_tool("tool", ["sleep", "600"])
        assert runtime.state("tool") == "running"

    run(test, tmp_path)


def test_two_clusters_at_once_do_not_meet(tmp_path: Path) -> None:
    async def test(first: ProcessRuntime) -> None:
        second = await ProcessRuntime.create(NODES, logs=tmp_path / "second", run_id="test")
        async with second:
            await first.start(node_spec(first, "node-1"))
            await second.start(node_spec(second, "node-1"))
            assert first.address("node-1") != second.address("node-1")
            await first.kill("node-1")
            assert second.state("node-1") == "running"

    run(test, tmp_path)
