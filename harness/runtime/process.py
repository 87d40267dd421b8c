"""The process runtime: nodes as plain processes, each with its own address and hosts file."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from harness.errors import BrokenError, MissingPartError, UsageError
from harness.parts import toxiproxy_binary
from harness.parts.program import program_path
from harness.runtime import ledger, proc, reaper, starting
from harness.runtime.block import Block, reserve
from harness.runtime.child import CLOSE_GRACE_S, LOG_LINES, Child, describe, end_gently, within
from harness.runtime.namespaces import Support, hosts_text, namespaces, wrap
from harness.runtime.needs import PROCESSES_LACK
from harness.runtime.proc import Process
from harness.runtime.resources import Sample, Sampler
from harness.runtime.sockets import any_wildcard, listeners, require_free, wildcard_listener
from harness.runtime.spec import TOXIPROXY_NODE, Address, NodeExit, NodeSpec, State
from harness.runtime.starting import POLL_S

if TYPE_CHECKING:
    from harness.runtime.docker.means import Means

T = TypeVar("T")

_SIGNAL_TIMEOUT_S = 5.0  # for processes to stop, go on or be gone once the kernel was told

_swept = False


class ProcessRuntime:
    """A cluster of processes. Make one with `create`, end it with `close` or `async with`.

    It belongs to the event loop that it was created in. Scans of /proc run in threads, so that
    the clients' operations beside them are not held up.
    """

    def __init__(
        self,
        block: Block,
        support: Support,
        logs: Path,
        on_exit: Callable[[NodeExit], None] | None,
    ) -> None:
        self.on_exit = on_exit
        self._block = block
        self._support = support
        self._logs = logs
        self._since = ledger.Owner.current().process.started
        self._ledger = ledger.Ledger(block.where)
        self._known: dict[Process, str] = {}
        self._children: dict[str, Child] = {}  # in the order of their first starts
        self._closed = False

    @classmethod
    async def create(
        cls,
        nodes: Sequence[str],
        *,
        logs: Path,
        run_id: str,
        on_exit: Callable[[NodeExit], None] | None = None,
    ) -> Self:
        """Reserve addresses for `nodes` and have the reaper watch over them; nothing runs yet.

        `on_exit` is called in the event loop for each node or tool that was up and ended without
        being asked to. The first call in a process also sweeps what dead harnesses left. Raises
        `UsageError` for impossible names and `BrokenError` if the machine has no room.
        """
        return await asyncio.to_thread(cls._create, nodes, logs, run_id, on_exit)

    @classmethod
    def _create(
        cls,
        nodes: Sequence[str],
        logs: Path,
        run_id: str,
        on_exit: Callable[[NodeExit], None] | None,
    ) -> Self:
        global _swept
        base = ledger.clusters_dir()
        if not _swept:
            ledger.sweep(base)
            _swept = True
        support = namespaces()
        reaper.ensure(base)
        logs.mkdir(parents=True, exist_ok=True)
        block = reserve(base, nodes, run_id)
        machine = Path("/etc/hosts").read_text() if Path("/etc/hosts").exists() else ""
        for node in nodes:
            block.home(node).mkdir()
            block.hosts(node).parent.mkdir(parents=True, exist_ok=True)
            block.hosts(node).write_text(hosts_text(block.names(node), machine))
        return cls(block, support, logs, on_exit)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    @property
    def id(self) -> str:
        """What tells this cluster from every other one, ever."""
        return self._block.id

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names given to `create`."""
        return self._block.nodes

    @property
    def api_address(self) -> str:
        """Where Toxiproxy's own interface listens."""
        return self._block.api_address

    def address(self, node: str) -> str:
        """Where `node` itself listens."""
        return self._block.address(node)

    def link_address(self, source: str, node: str) -> str:
        """Where the link from `source` (a node or `client`) to `node` listens."""
        return self._block.link_address(source, node)

    def home(self, node: str) -> Path:
        """The directory of `node`: its working directory and data, kept across restarts."""
        return self._block.home(node)

    def image(self, node: str) -> None:
        """What `node` runs in: no image."""

    @property
    def where(self) -> Path:
        """The cluster's own directory, which is gone when nothing of the cluster is left."""
        return self._block.where

    def versions(self) -> dict[str, str]:
        """What nodes run in: this machine, of which a run tells anyway."""
        return {}

    def lacks(self, need: str) -> str | None:
        """Why a fault that needs `need` is not to be had, or None."""
        return PROCESSES_LACK

    @property
    def means(self) -> None:
        """Nothing that containers would make possible."""
        return None

    async def inside(
        self, name: str, argv: Sequence[str], *, user: str = "root"
    ) -> tuple[int, str]:
        """There is no container to run anything in. Raises `BrokenError`."""
        raise BrokenError(f"{name} runs in no container.")

    async def use(self, work: Callable[[Means], T]) -> T:
        """There is nothing to use. Raises `MissingPartError`."""
        raise MissingPartError("This fault is not to be had here.", why=f"{PROCESSES_LACK}.")

    async def start(self, spec: NodeSpec) -> None:
        """Start a node, or start it again with the data it has, and wait until it is ready.

        That is `spawn`, then `wait_ready`; if either fails or is cancelled, nothing of the node is
        left running.
        """
        await starting.start(self, spec)

    async def spawn(self, spec: NodeSpec) -> None:
        """Start a node's process and return at once.

        Raises `BrokenError` if its command or a port is not to be had, `UsageError` if it runs
        already, `MissingPartError` if it needs names and namespaces are not to be had.
        """
        self._require_open(spec.name)
        if not spec.argv:
            raise MissingPartError(
                f"{spec.name} runs in a container only.", do="Use --chaos-runtime docker."
            )
        address = self.address(spec.name)
        if spec.needs_names and self._support.kind == "none":
            raise MissingPartError(
                f"{spec.name} needs host names of its own, which cannot be had here.",
                why=self._support.reason,
                do="Run `harness doctor`.",
            )
        self._require_down(spec.name)
        try:
            require_free(spec.name, address, spec.ports.values())
        except BrokenError:
            self._blame_wildcard(spec)
            raise
        home = self.home(spec.name)
        if spec.name not in self._children:
            for name, text in spec.files.items():
                path = home / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        child = self._spawn(spec.name, spec.argv, spec.env, home, self._block.hosts(spec.name))
        child.stop_timeout_s = spec.stop_timeout_s

    async def wait_ready(self, spec: NodeSpec) -> None:
        """Wait until a node that was spawned is ready. It is left as it is if it does not get so.

        Raises `BrokenError` with the end of its log if it ends first or is not ready within
        `ready_timeout_s`, or if it turns out to listen on the wildcard address.
        """
        child = self._child(spec.name)
        if child is None:
            raise UsageError(f"{spec.name} has not been started.")
        await self._until_ready(child, spec)
        if any_wildcard(self._block.unused_address, spec.ports.values()):
            self._refuse_wildcard(await asyncio.to_thread(self._find_all), spec.ports.values())
        if self._support.kind == "none":
            # Without a mount to tell them by, they are only found again if they are on record.
            for process in await asyncio.to_thread(self._find, spec.name):
                self._record(process, spec.name)
        child.up = True

    async def start_all(self, specs: Sequence[NodeSpec], *, in_turn: bool = False) -> None:
        """Start nodes at the same time, or each as soon as the one before it listens on its ports.
        If one fails, all of them are ended, and its error (the first one) is raised."""
        await starting.start_all(self, specs, self._listens if in_turn else None)

    async def start_toxiproxy(self, port: int) -> None:
        """Start the proxies' server, with its interface at `api_address`, or start it again."""
        # May fetch it, which takes minutes: not in the loop's thread.
        program = await asyncio.to_thread(toxiproxy_binary)
        argv = [str(program), "-host", self.api_address, "-port", str(port)]
        await self.start_tool(TOXIPROXY_NODE, argv)

    def exposed(self, node: str) -> tuple[int, ...]:
        """No image, no ports of it."""
        return ()

    def make_doors(self, links: Sequence[Address]) -> dict[Address, int]:
        """No doors: whoever is on this machine is inside."""
        return {}

    def published(self) -> dict[Address, Address]:
        """Nothing: links can be reached at their own addresses."""
        return {}

    def toxiproxy_process(self) -> int | None:
        """The process of the proxies' server, while it runs."""
        child = self._children.get(TOXIPROXY_NODE)
        return None if child is None or child.exited.is_set() else child.process.pid

    async def start_tool(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        stop_timeout_s: float = CLOSE_GRACE_S,
    ) -> None:
        """Start a helper of the harness itself (Toxiproxy): no namespace, no home, no waiting.

        Raises `BrokenError` if its command is not to be had, `UsageError` if the name is taken.
        """
        self._require_open(name)
        if name in self.nodes:
            raise UsageError(f"A tool cannot be called {name}: a node is.")
        self._require_down(name)
        child = self._spawn(name, argv, env or {}, self._block.where, None)
        child.up, child.stop_timeout_s = True, stop_timeout_s

    async def wait_exit(self, name: str) -> int | None:
        """Wait until the main process of a node or tool has ended; its exit status (negative: by
        which signal), or None if nobody knows. Raises `UsageError` if it was never started."""
        child = self._child(name)
        if child is None:
            raise UsageError(f"{name} has not been started.")
        await child.exited.wait()
        return child.status

    async def kill(self, name: str) -> None:
        """End a node at once, with all its processes. Returns when none is left."""
        child = self._child(name)
        if child is None:
            return
        child.asked = True
        left = await asyncio.to_thread(self._end, name)
        child.reap()
        if left:
            raise _immortal(name, left)

    async def kill_process(self, name: str, pid: int) -> bool:
        """End one process of a node at once, and no other. Returns when it is gone; False if the
        node has none with that id. Raises `BrokenError` if it does not go."""
        deadline = time.monotonic() + _SIGNAL_TIMEOUT_S
        sent = False
        while True:
            found = [one for one in await asyncio.to_thread(self._find, name) if one.pid == pid]
            if not found:
                return sent
            if time.monotonic() > deadline:
                raise _immortal(name, set(found))
            if not sent:
                proc.send(found[0], signal.SIGKILL)
                sent = True
            await asyncio.sleep(POLL_S)

    def end_now(self, name: str) -> None:
        """Kill a node or tool without awaiting anything, so that no cancellation comes between."""
        if (child := self._children.get(name)) is not None:
            child.asked = True
            self._end(name)
            child.reap()

    async def stop(self, name: str) -> str:
        """Ask a node to end, and kill it if it has not after `stop_timeout_s`; says how it ended.

        A paused one goes on first. What its main process leaves behind is killed in any case.
        """
        child = self._child(name)
        if child is None:
            return "was never started"
        if child.exited.is_set():
            await self.kill(name)
            return f"was down: {describe(child.status)}"
        child.asked = True
        proc.send(child.process, signal.SIGTERM)
        await self._signal_all(name, signal.SIGCONT)
        await within(child.exited, child.stop_timeout_s)
        obeyed = child.exited.is_set()
        await self.kill(name)
        if obeyed:
            return describe(child.status)
        return f"did not obey SIGTERM within {child.stop_timeout_s:g} s: {describe(child.status)}"

    async def pause(self, name: str) -> None:
        """Stop a node's processes where they are (SIGSTOP). Returns when /proc says so of all.

        Raises `BrokenError` if the node is down or does not stop.
        """
        self._require_up(name, "paused")
        await self._signal_all(name, signal.SIGSTOP)
        self._require_up(name, "paused")

    async def resume(self, name: str) -> None:
        """Let a paused node go on (SIGCONT). Returns when /proc says so of all its processes.

        Raises `BrokenError` if the node is down or does not go on.
        """
        self._require_up(name, "resumed")
        await self._signal_all(name, signal.SIGCONT)

    def state(self, name: str) -> State:
        """What the kernel says of the node's main process now."""
        child = self._child(name)
        now = None if child is None else proc.status(child.process.pid)
        if child is None or now is None or now.process != child.process or now.gone:
            return "down"
        return "paused" if now.stopped else "running"

    def processes(self, name: str) -> tuple[int, ...]:
        """The ids of all live processes of a node, its main process first. Scans /proc."""
        child = self._child(name)
        if child is None:
            return ()
        found = {process.pid for process in self._find(name)}
        return tuple(sorted(found, key=lambda pid: (pid != child.process.pid, pid)))

    def own_network(self, name: str) -> None:
        """A process in the network that is the node's own: all share that of the machine."""

    def sampler(self) -> Callable[[int], list[Sample]]:
        """What the nodes and tools use at a moment, in nanoseconds since the run's start."""
        sampler = Sampler()
        return lambda now: sampler.sample(self.all_processes(), now)

    def exit_status(self, name: str) -> int | None:
        """How the node's last main process ended (negative: by which signal); None while it runs,
        and if it never did."""
        child = self._child(name)
        return None if child is None else child.status

    def log_tail(self, name: str, lines: int = LOG_LINES) -> str:
        """The last lines that a node wrote since it was started the last time."""
        child = self._child(name)
        return "" if child is None else child.log_tail(lines)

    def all_processes(self) -> dict[str, tuple[int, ...]]:
        """The processes of all nodes and tools that have any, from one scan of /proc."""
        by_node: dict[str, list[int]] = {}
        for process, node in self._find_all().items():
            by_node.setdefault(node, []).append(process.pid)
        return {node: tuple(pids) for node, pids in by_node.items()}

    async def close(self, keep: bool = False) -> None:
        """End everything (nodes first, in reverse order, then tools) and remove all traces.

        Nodes have half a second to obey SIGTERM, paused ones none. `keep` leaves everything
        running for a person to look at, until `harness cleanup`. May be called again, and after
        a cancellation. Raises `BrokenError` if a process would not end.
        """
        if self._closed:
            return
        self._closed = True
        for child in self._children.values():
            child.asked = True
        if keep:
            ledger.keep(self._block.where)
            self._let_go()
            return
        try:
            nodes = [child for name, child in self._children.items() if name in self.nodes]
            tools = [child for name, child in self._children.items() if name not in self.nodes]
            for group in (nodes, tools):
                await end_gently(group[::-1])
        finally:
            # Not awaited, so that no cancellation comes in between. First by what is known here,
            # which works even if somebody deleted the ledger.
            try:
                left = proc.end_all(self._find_all, _SIGNAL_TIMEOUT_S)
                if left:
                    raise _immortal("the cluster", left)
                where = self._block.where
                ledger.undo(ledger.LeftOver(self.id, where, os.getpid(), "", False, ()))
            finally:
                self._let_go()

    def _spawn(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], cwd: Path, hosts: Path | None
    ) -> Child:
        environment = {
            **os.environ,
            "PATH": program_path(),
            **env,
            proc.CLUSTER_VARIABLE: self.id,
            proc.NODE_VARIABLE: name,
        }
        _require_command(name, argv[0], cwd, environment)
        command = list(argv)
        if hosts is not None:
            command = wrap(self._support.kind, command, hosts, os.geteuid(), os.getegid())
        log = self._logs / f"{name}.log"
        with log.open("ab") as output:
            begin = output.tell()
            self._ledger.starting(name)
            try:
                started = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                self._ledger.not_started(name)
                raise BrokenError(f"{name} cannot be started.", why=str(error)) from None
        # The child is waited for through its pidfd; Popen must neither wait nor warn.
        started.returncode = 0
        now = proc.status(started.pid)
        assert now is not None, "an unawaited child has a status"
        child = Child(name, now.process, log, begin, self._exited)
        self._children[name] = child
        self._record(now.process, name)
        return child

    def _record(self, process: Process, name: str) -> None:
        if process not in self._known and not self._closed:
            self._known[process] = name
            self._ledger.started(name, process)

    async def _until_ready(self, child: Child, spec: NodeSpec) -> None:
        def ended() -> BrokenError:
            self._blame_wildcard(spec)
            return BrokenError(
                f"{spec.name} ended before it was ready: {describe(child.status)}.",
                why=child.log_tail(),
                do=_advice(child),
            )

        def late(said: str) -> BrokenError:
            self._blame_wildcard(spec)
            return BrokenError(
                f"{spec.name} was not ready within {spec.ready_timeout_s:g} s.",
                why=f"Last: {said}.\n{child.log_tail()}",
                do=f"The whole log is {child.log}.",
            )

        await starting.until_ready(spec, child.exited, ended, late)

    async def _listens(self, spec: NodeSpec) -> bool:
        wanted = {(self.address(spec.name), port) for port in spec.ports.values()}
        found = await asyncio.to_thread(listeners)
        return wanted <= {(str(one.address), one.port) for one in found}

    def _blame_wildcard(self, spec: NodeSpec) -> None:
        """A node that takes a port from all others is the better explanation of their failing."""
        if any_wildcard(self._block.unused_address, spec.ports.values()):
            self._refuse_wildcard(self._find_all(), spec.ports.values())

    def _refuse_wildcard(self, processes: Collection[Process], ports: Collection[int]) -> None:
        found = wildcard_listener([process.pid for process in processes], ports)
        if found is None:
            return
        raise BrokenError(
            f"A node listens on port {found.port} at every address of this machine "
            f"({found.address}).",
            why="Others would reach it past its links, so that faults would not land, and no other "
            "node could listen on that port.",
            do="Make it listen on its own address only (the address of its node).",
        )

    def _require_open(self, name: str) -> None:
        if self._closed:
            raise BrokenError(f"{name} cannot be started: the cluster is closed.")

    def _require_down(self, name: str) -> None:
        child = self._children.get(name)
        if child is None:
            return
        if not child.exited.is_set() and self.state(name) != "down":
            raise UsageError(f"{name} is already running.")
        # Whatever a crashed main process left behind would hold its ports and files.
        self._end(name)
        child.reap()

    def _require_up(self, name: str, what: str) -> None:
        if self.state(name) == "down":
            raise BrokenError(
                f"{name} cannot be {what}: it is down.",
                do="Start it first, or aim faults at nodes that are up.",
            )

    async def _signal_all(self, name: str, number: signal.Signals) -> None:
        """Have SIGSTOP or SIGCONT reach every process of a node, also those just forked."""
        stop = number is signal.SIGSTOP
        deadline = time.monotonic() + _SIGNAL_TIMEOUT_S
        while True:
            pending = [
                process
                for process in await asyncio.to_thread(self._find, name)
                if (now := proc.status(process.pid)) and not now.gone and now.stopped != stop
            ]
            if not pending:
                return
            if time.monotonic() > deadline:
                pids = ", ".join(str(process.pid) for process in pending)
                raise BrokenError(f"{name} did not obey {number.name}: process {pids}.")
            for process in pending:
                proc.send(process, number)

    def _find_all(self) -> dict[Process, str]:
        return proc.find(self.id, dict(self._known), self._since)

    def _find(self, name: str) -> tuple[Process, ...]:
        return tuple(process for process, node in self._find_all().items() if node == name)

    def _end(self, name: str) -> set[Process]:
        return proc.end_all(lambda: self._find(name), _SIGNAL_TIMEOUT_S)

    def _child(self, name: str) -> Child | None:
        child = self._children.get(name)
        if child is None:
            self.address(name)  # raises for names that no node has
        return child

    def _exited(self, child: Child) -> None:
        if child.up and not child.asked and self.on_exit is not None:
            self.on_exit(NodeExit(child.name, child.status))

    def _let_go(self) -> None:
        self._ledger.close()
        for child in self._children.values():
            child.reap()
            child.let_go()


def _advice(child: Child) -> str:
    """What to do about a node that ended too early. The links listen on the same ports, so a server
    that wants a port on every address finds it taken."""
    if "address already in use" in child.log_tail().lower():
        return (
            "Make it listen on its own address only (node.address), not on every address of the "
            f"machine. The whole log is {child.log}."
        )
    return f"The whole log is {child.log}."


def _require_command(name: str, program: str, cwd: Path, env: Mapping[str, str]) -> None:
    path = str(cwd / program) if "/" in program else program
    if shutil.which(path, path=env.get("PATH")) is None:
        raise BrokenError(
            f"{name} cannot be started: there is no program {program!r}.",
            why="It is not an executable file."
            if "/" in program
            else f"PATH is {env.get('PATH', 'not set')}.",
            do="Install it, or correct the target's command. `harness doctor` lists what is "
            "missing here.",
        )


def _immortal(name: str, left: set[Process]) -> BrokenError:
    pids = ", ".join(str(process.pid) for process in sorted(left))
    return BrokenError(
        f"Processes of {name} would not end: {pids}.",
        why="They did not go within 5 s of SIGKILL: another user's, or held in the kernel.",
        do="Look at them with `ps -o pid,user,stat,wchan,args -p <pid>`; `harness cleanup` tries "
        "again.",
    )
