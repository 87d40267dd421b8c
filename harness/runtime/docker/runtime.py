"""The docker runtime: nodes as containers in a network of their own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from harness.container import Container, Image
from harness.errors import BrokenError, MissingPartError, UsageError
from harness.runtime import proc, starting
from harness.runtime.child import CLOSE_GRACE_S, LOG_LINES, describe, within
from harness.runtime.docker import images, leftovers
from harness.runtime.docker.cgroups import CgroupSampler, Group
from harness.runtime.docker.containers import DOOR_PORTS, Containers
from harness.runtime.docker.engine import Engine, connect
from harness.runtime.docker.means import Means
from harness.runtime.docker.node import Life, Node
from harness.runtime.docker.routes import Routes
from harness.runtime.docker.subnet import MAX_NODES
from harness.runtime.ledger import ENGINE
from harness.runtime.process import ProcessRuntime
from harness.runtime.resources import Sample
from harness.runtime.spec import (
    TOXIPROXY_NODE,
    Address,
    NodeExit,
    NodeSpec,
    State,
    check_names,
)
from harness.uninterrupted import uninterrupted

CALL_TIMEOUT_S = 5.0
"""For a container to stop, go on or be gone once the engine was told."""

HEALTH_TIMEOUT_S = 30.0
"""How long a health check may take that does not say itself: what the engine allows it."""

_LISTEN_TIMEOUT_S = 0.5
_FORK_POLL_S = 0.002

T = TypeVar("T")


class DockerRuntime:
    """A cluster of containers. Make one with `create`, end it with `close`.

    Tools of the harness itself (k6) are processes of this machine; their runtime also keeps the
    ledger and the reaper, by which the containers of a harness that was killed are found.
    """

    def __init__(
        self,
        engine: Engine,
        host: ProcessRuntime,
        containers: Mapping[str, Container],
        image_ids: Mapping[str, str],
        logs: Path,
        run_id: str,
        on_exit: Callable[[NodeExit], None] | None,
        needs: Collection[str] = (),
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.engine = engine
        self.on_exit = on_exit
        self._host = host
        self._containers = containers
        self._image_ids = image_ids
        self._own = Containers(engine, host.id, run_id, containers, image_ids, logs, self._ended)
        self.means = Means(engine, host.id, run_id, self._own, containers, needs, tell)
        """What faults can do to the nodes because they are containers."""
        self._own.means = self.means
        self._closed = False
        self._making: set[asyncio.Future[Any]] = set()
        # Threads of our own: the loop's may all be taken by clients that block on a cut link.
        self._threads = ThreadPoolExecutor(16, thread_name_prefix="harness-docker")
        self._routes = Routes(self._own)

    @classmethod
    async def create(
        cls,
        containers: Mapping[str, Container],
        *,
        logs: Path,
        run_id: str,
        on_exit: Callable[[NodeExit], None] | None = None,
        tell: Callable[[str], object] = lambda _: None,
        needs: Collection[str] = (),
    ) -> Self:
        """Find the engine, make the images that are missing or stale (`tell` hears of it), and
        make the cluster's network; nothing runs yet.

        `containers` says what each node runs in, `needs` what faults it is to be prepared for
        (`harness.runtime.needs`). Raises `MissingPartError` without an engine or an
        image, `UsageError` for impossible names, `BrokenError` if the engine fails.
        """
        check_names(list(containers), MAX_NODES)
        engine, image_ids = await asyncio.to_thread(_prepare, containers, tell)
        host = await ProcessRuntime.create(
            list(containers), logs=logs, run_id=run_id, on_exit=on_exit
        )
        runtime = cls(
            engine, host, containers, image_ids, logs, run_id, on_exit, needs=needs, tell=tell
        )
        try:
            await runtime._in_thread(lambda: leftovers.announce(host.where, engine.host))
            await runtime._make(runtime._own.make_network)
        except BaseException:
            await runtime.close()
            raise
        return runtime

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    # What is where

    @property
    def id(self) -> str:
        """What tells this cluster from every other one, ever."""
        return self._host.id

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names given to `create`."""
        return tuple(self._containers)

    @property
    def api_address(self) -> str:
        """Where Toxiproxy's own interface listens."""
        return self._own.subnet.toxiproxy

    def address(self, node: str) -> str:
        """Where `node` itself listens."""
        return self._own.subnet.address(node)

    def link_address(self, source: str, node: str) -> str:
        """Where the link from `source` (a node or `client`) to `node` listens."""
        return self._own.subnet.link_address(source, node)

    def home(self, node: str) -> Path:
        """The directory of `node` in its container, on a volume: kept across restarts."""
        return Path(self._container(node).home)

    def image(self, node: str) -> Image:
        """What `node` runs in."""
        return self._container(node).image

    def versions(self) -> dict[str, str]:
        """The engine's version, and the image of each node."""
        images = {f"image of {name}": image for name, image in self._image_ids.items()}
        return {"docker": self.engine.facts.version, **images}

    def lacks(self, need: str) -> str | None:
        """Why a fault that needs `need` is not to be had, or None. The first time it may take a
        second to find out."""
        return self.means.lacks(need)

    # Starting

    async def start(self, spec: NodeSpec) -> None:
        """Start a node, or start it again with the data it has, and wait until it is ready."""
        await starting.start(self, spec)

    async def start_all(self, specs: Sequence[NodeSpec], *, in_turn: bool = False) -> None:
        """Start nodes at the same time, or each as soon as the one before it listens on its ports.
        If one fails, all of them are ended, and its error (the first one) is raised."""
        if in_turn:
            # What can be done beforehand is: only the starts themselves wait for one another.
            await asyncio.gather(*(self._make(partial(self._own.make, spec)) for spec in specs))
        await starting.start_all(self, specs, self._listens if in_turn else None)

    async def spawn(self, spec: NodeSpec) -> None:
        """Start a node's container and return at once.

        Raises `BrokenError` if the engine cannot, `UsageError` if it runs already.
        """
        self._require_open(spec.name)
        node = self._own.nodes.get(spec.name)
        if node is not None and not node.life.exited.is_set():
            raise UsageError(f"{spec.name} is already running.")

        def begin() -> None:
            node = self._own.make(spec)
            found = self._routes.want(spec.name, True)
            node.stop_timeout_s = self._containers[spec.name].stop_timeout_s or spec.stop_timeout_s
            first = not node.life.pid
            self._own.start(node)
            self.means.started(node)
            if first:
                self.means.first_started(node)
            self._until_forked(node)
            found.result()

        try:
            await self._make(begin)
        except asyncio.CancelledError:
            self.end_now(spec.name)
            raise

    async def wait_ready(self, spec: NodeSpec) -> None:
        """Wait until a node that was spawned is ready. It is left as it is if it does not get so.

        Raises `BrokenError` with the end of its log if it ends first or is not ready within
        `ready_timeout_s`.
        """
        node = self._node(spec.name)
        if node is None:
            raise UsageError(f"{spec.name} has not been started.")
        life = node.life
        health = await self._in_thread(lambda: self._own.health(spec.name))

        ill = ""

        async def ready() -> bool:
            nonlocal ill
            if not await spec.ready():
                return False
            ill = await self._ill(node, health) if health else ""
            return not ill

        def ended() -> BrokenError:
            return BrokenError(
                f"{spec.name} ended before it was ready: {describe(life.status)}.",
                why=node.log_tail(LOG_LINES),
                do=f"The whole log is {node.log}.",
            )

        def late(said: str) -> BrokenError:
            if ill:
                return BrokenError(
                    f"{spec.name} was not healthy within {spec.ready_timeout_s:g} s.",
                    why=f"Its health check, {' '.join(health)}, {ill}\n{node.log_tail(LOG_LINES)}",
                    do=f"The whole log is {node.log}.",
                )
            return BrokenError(
                f"{spec.name} was not ready within {spec.ready_timeout_s:g} s.",
                why=f"Last: {said}.\n{node.log_tail(LOG_LINES)}",
                do=f"The whole log is {node.log}. It must listen on its own address "
                f"({self.address(spec.name)}) or on the wildcard address.",
            )

        await starting.until_ready(replace(spec, ready=ready), life.exited, ended, late)
        pid = next(iter(self.processes(spec.name)), None) if self.engine.local else None
        await self._in_thread(lambda: self.means.ready(spec.name, pid))
        life.up = True

    async def start_toxiproxy(self, port: int) -> None:
        """Start Toxiproxy in its container, with its interface at `api_address`, or start it again
        after it ended. It holds all addresses of links, and no right that it does not need."""
        node = self._own.nodes.get(TOXIPROXY_NODE)
        if node is not None:
            await within(node.life.exited, CALL_TIMEOUT_S)

        def begin() -> None:
            made = self._own.make_toxiproxy()
            self._own.start(made)
            made.life.up = True
            self.means.started(made)
            self.means.first_started(made)
            self._routes.begin_anew().result()

        await self._make(begin)
        if not self.engine.local:
            await self._require_reachable((self.api_address, port))

    def toxiproxy_process(self) -> int | None:
        """The process of Toxiproxy, where it is one of this machine's."""
        return self._pid(TOXIPROXY_NODE)

    def own_network(self, name: str) -> int | None:
        """A process in the network that is the node's own, while it runs on this machine."""
        return self._pid(name)

    def make_doors(self, links: Sequence[Address]) -> dict[Address, int]:
        """Publish ways to `links` on 127.0.0.1, once Toxiproxy runs: their addresses → the ports of
        its container that are to lead there."""
        self._own.doors = {link: DOOR_PORTS + number for number, link in enumerate(links)}
        return dict(self._own.doors)

    def exposed(self, node: str) -> list[int]:
        """The TCP ports that the node's image says it listens on."""
        config = self._own.image_config(node)
        ports = (port.partition("/") for port in config.get("ExposedPorts") or ())
        return sorted(int(number) for number, _, kind in ports if kind == "tcp")

    def published(self) -> dict[Address, Address]:
        """Where links are published on this machine, by their addresses, while Toxiproxy runs."""
        node = self._own.nodes.get(TOXIPROXY_NODE)
        if node is None or not self._own.doors:
            return {}
        ports = self.engine.api.inspect_container(node.id)["NetworkSettings"]["Ports"]
        places = {link: ports.get(f"{port}/tcp") for link, port in self._own.doors.items()}
        return {
            link: (found[0]["HostIp"], int(found[0]["HostPort"]))
            for link, found in places.items()
            if found
        }

    # Tools of the harness, which run here

    async def start_tool(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        stop_timeout_s: float = CLOSE_GRACE_S,
    ) -> None:
        """Start a helper of the harness itself (k6), as a process of this machine."""
        await self._host.start_tool(name, argv, env, stop_timeout_s=stop_timeout_s)

    # Ending, pausing

    async def wait_exit(self, name: str) -> int | None:
        """Wait until the main process of a node or tool has ended; its exit status."""
        if not self._is_container(name):
            return await self._host.wait_exit(name)
        node = self._node(name)
        if node is None:
            raise UsageError(f"{name} has not been started.")
        await node.life.exited.wait()
        return node.life.status

    async def kill(self, name: str) -> None:
        """End a node at once, with all its processes. Returns when none is left."""
        if not self._is_container(name):
            await self._host.kill(name)
        elif node := self._node(name):
            await uninterrupted(self._kill(node))

    async def kill_process(self, name: str, pid: int) -> bool:
        """End one process of a node at once, and no other. Returns when it is gone; False if the
        node has none with that id. Raises `BrokenError` if it does not go."""
        inside = await self._in_thread(lambda: _id_inside(pid))
        if inside is None or pid not in await self._in_thread(lambda: self.processes(name)):
            return False
        status, said = await self.inside(name, ["sh", "-c", f"kill -KILL {inside}"])
        deadline = time.monotonic() + CALL_TIMEOUT_S
        while pid in await self._in_thread(lambda: self.processes(name)):
            if status or time.monotonic() > deadline:
                raise BrokenError(f"Process {pid} of {name} would not end.", why=said or None)
            await asyncio.sleep(starting.POLL_S)
        return True

    def end_now(self, name: str) -> None:
        """Kill a node or tool without awaiting anything, so that no cancellation comes between."""
        if not self._is_container(name):
            self._host.end_now(name)
        elif (node := self._own.nodes.get(name)) is not None:
            node.life.asked = True
            self._own.send(node, "SIGKILL")

    async def stop(self, name: str) -> str:
        """Ask a node to end, and kill it if it has not after `stop_timeout_s`; says how it ended.

        A paused one goes on first.
        """
        if not self._is_container(name):
            return await self._host.stop(name)
        node = self._node(name)
        if node is None:
            return "was never started"
        if node.life.exited.is_set():
            return f"was down: {describe(node.life.status)}"
        return await uninterrupted(self._stop(node))

    async def pause(self, name: str) -> None:
        """Freeze all processes of a node, at one moment.

        Raises `BrokenError` if the node is down.
        """
        node = self._require_up(name, "paused")
        if not node.life.paused:
            await uninterrupted(self._in_thread(lambda: self._own.tell(node, "pause")))
            node.life.paused = True

    async def resume(self, name: str) -> None:
        """Let a paused node go on. Raises `BrokenError` if the node is down."""
        node = self._require_up(name, "resumed")
        if node.life.paused:
            await uninterrupted(self._in_thread(lambda: self._own.tell(node, "unpause")))
            node.life.paused = False

    # Looking

    def state(self, name: str) -> State:
        """What is known of the node's container now."""
        if not self._is_container(name):
            return self._host.state(name)
        node = self._node(name)
        if node is None or node.life.exited.is_set():
            return "down"
        return "paused" if node.life.paused else "running"

    def processes(self, name: str) -> tuple[int, ...]:
        """The ids, as the engine's machine has them, of all live processes of a node, its main
        process first. From the kernel where that is this machine's; else one question to the
        engine, which takes it 20 ms."""
        if not self._is_container(name):
            return self._host.processes(name)
        node = self._node(name)
        if node is None or node.life.exited.is_set():
            return ()
        rows = self._local_rows(node) if self.engine.local else self._top(node)
        # The first process is the engine's own init, which reaps what others leave behind.
        init = node.life.pid
        found = [(pid, parent) for pid, parent in rows if pid != init]
        return tuple(pid for pid, parent in sorted(found, key=lambda row: (row[1] != init, row)))

    def _local_rows(self, node: Node) -> list[tuple[int, int]]:
        try:
            found = [proc.status(pid) for pid in self._group(node).processes()]
        except OSError:
            return []  # it ended meanwhile
        return [(now.process.pid, now.parent) for now in found if now is not None and not now.gone]

    def _top(self, node: Node) -> list[tuple[int, int]]:
        from docker.errors import APIError

        try:
            table = self.engine.api.top(node.id, ps_args="-eo pid,ppid,stat")["Processes"]
        except APIError:
            return []  # it ended meanwhile
        return [(int(row[0]), int(row[1])) for row in table if not row[2].startswith("Z")]

    def _group(self, node: Node) -> Group:
        if node.life.group is None:
            node.life.group = Group(node.life.pid)
        return node.life.group

    def exit_status(self, name: str) -> int | None:
        """How the node's last main process ended (negative: by which signal); None while it runs,
        and if it never did."""
        if not self._is_container(name):
            return self._host.exit_status(name)
        node = self._node(name)
        return None if node is None else node.life.status

    def log_tail(self, name: str, lines: int = LOG_LINES) -> str:
        """The last lines that a node wrote since it was started the last time."""
        if not self._is_container(name):
            return self._host.log_tail(name, lines)
        node = self._node(name)
        return "" if node is None else node.log_tail(lines)

    def sampler(self) -> Callable[[int], list[Sample]]:
        """What the containers and tools use at a moment, in nanoseconds since the run's start. Of
        containers on another machine nothing is known."""
        containers, tools = CgroupSampler(), self._host.sampler()

        def sample(now: int) -> list[Sample]:
            groups = {}
            for name, node in list(self._own.nodes.items()):
                if self._pid(name) is not None:
                    with contextlib.suppress(OSError):
                        groups[name] = self._group(node)
            return [*containers.sample(groups, now), *tools(now)]

        return sample

    async def inside(
        self, name: str, argv: Sequence[str], *, user: str = "root"
    ) -> tuple[int, str]:
        """Run a command in the node's container: its exit status, and what it said. Raises
        `BrokenError` if the node is down or the command cannot be started."""
        node = self._require_up(name, "entered")
        return await self._in_thread(lambda: self._own.run(node.id, argv, user))

    async def use(self, work: Callable[[Means], T]) -> T:
        """Have `work` use the means, in a thread, to its end. Raises as they do."""
        return await uninterrupted(self._in_thread(lambda: work(self.means)))

    async def close(self, keep: bool = False) -> None:
        """End everything and remove all traces. Nodes have half a second to obey SIGTERM, paused
        ones none. `keep` leaves everything running for a person to look at, until
        `harness cleanup`. May be called again, and after a cancellation. Raises `BrokenError` if
        something would not go."""
        if self._closed:
            return
        self._closed = True
        for node in self._own.nodes.values():
            node.life.asked = True
        try:
            if not keep:
                if self._making:
                    await asyncio.wait(self._making)
                await uninterrupted(self._remove())
        finally:
            self._threads.shutdown(wait=False)
            self._routes.close()
            await self._host.close(keep=keep)

    # How it is done

    async def _ill(self, node: Node, health: Sequence[str]) -> str:
        """What the health check of a node says against it; nothing if it is well."""
        timeout_s = self._containers[node.name].health_timeout_s or HEALTH_TIMEOUT_S
        try:
            async with asyncio.timeout(timeout_s):
                status, said = await self.inside(node.name, health, user="")
        except TimeoutError:
            return f"did not end within {timeout_s:g} s."
        except BrokenError as error:
            return f"cannot be run: {error.why or error}"
        return f"ended with status {status}: {said}" if status else ""

    def _ended(self, node: Node, life: Life, status: int | None) -> None:
        life.status = status
        life.exited.set()
        if node.name in self._containers and not self._closed:
            life.refused = asyncio.wrap_future(self._routes.want(node.name, False))
            # Whoever awaits it is told; where nobody does, the cluster is being ended.
            life.refused.add_done_callback(lambda done: done.cancelled() or done.exception())
        if life.up and not life.asked and self.on_exit is not None:
            self.on_exit(NodeExit(node.name, status))

    def _until_forked(self, node: Node) -> None:
        """Wait until the engine's init has begun the node's own process: until then a node that
        was started has none."""
        deadline = time.monotonic() + CALL_TIMEOUT_S
        while not self.processes(node.name) and time.monotonic() < deadline:
            if node.life.exited.is_set():
                return
            time.sleep(_FORK_POLL_S)

    async def _kill(self, node: Node) -> None:
        node.life.asked = True
        if node.life.exited.is_set():
            return
        await self._in_thread(lambda: self._own.send(node, "SIGKILL"))
        await within(node.life.exited, CALL_TIMEOUT_S)
        if node.life.refused is not None:
            await node.life.refused
        if not node.life.exited.is_set():
            raise BrokenError(
                f"The container of {node.name} would not end within {CALL_TIMEOUT_S:g} s of "
                "SIGKILL.",
                do=f"Look at it with `docker inspect {node.id[:12]}`.",
            )

    async def _stop(self, node: Node) -> str:
        life = node.life
        life.asked = True
        timeout_s = node.stop_timeout_s
        if life.paused:
            await self._in_thread(lambda: self._own.tell(node, "unpause"))
            life.paused = False
        word = await self._in_thread(partial(self._own.stop_signal, node.name))
        await self._in_thread(partial(self._own.send, node, word))
        await within(life.exited, timeout_s)
        obeyed = life.exited.is_set()
        await self._kill(node)
        if obeyed:
            return describe(life.status)
        return f"did not obey {word} within {timeout_s:g} s: {describe(life.status)}"

    async def _remove(self) -> None:
        """Ask all to end, then remove containers, volumes and network."""
        running = [node for node in self._own.nodes.values() if not node.life.exited.is_set()]
        asked = [node for node in running if not node.life.paused and node.name in self.nodes]
        if asked:
            sends = (partial(self._own.send, node, "SIGTERM") for node in asked)
            await asyncio.gather(*(self._in_thread(send) for send in sends))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_GRACE_S):
                    for node in asked:
                        await node.life.exited.wait()
        left = await self._in_thread(lambda: leftovers.remove(self.engine.api, self.id))
        for node in running:
            # The end of its log is on its way.
            await within(node.life.exited, CALL_TIMEOUT_S)
        if left:
            raise BrokenError(
                "The engine would not remove all of the cluster.",
                why="\n".join(left),
                do="Run `harness cleanup`.",
            )
        # Nothing is there any more of which the ledger would have to tell.
        (self._host.where / ENGINE).unlink(missing_ok=True)

    async def _listens(self, spec: NodeSpec) -> bool:
        if self.state(spec.name) == "down":
            return False  # nobody has the address yet: to find that out takes the kernel seconds
        return all(
            await asyncio.gather(
                *(_accepts(self.address(spec.name), port) for port in spec.ports.values())
            )
        )

    def _pid(self, name: str) -> int | None:
        node = self._own.nodes.get(name)
        if node is None or node.life.exited.is_set() or not self.engine.local:
            return None
        return node.life.pid or None

    def _container(self, node: str) -> Container:
        self.address(node)  # raises for names that no node has
        return self._containers[node]

    def _is_container(self, name: str) -> bool:
        return name in self._containers or name == TOXIPROXY_NODE

    def _node(self, name: str) -> Node | None:
        node = self._own.nodes.get(name)
        if node is None:
            self.address(name)  # raises for names that no node has
        return node

    def _require_open(self, name: str) -> None:
        if self._closed:
            raise BrokenError(f"{name} cannot be started: the cluster is closed.")

    def _require_up(self, name: str, what: str) -> Node:
        node = self._node(name)
        if node is None or node.life.exited.is_set():
            raise BrokenError(
                f"{name} cannot be {what}: it is down.",
                do="Start it first, or aim faults at nodes that are up.",
            )
        return node

    async def _require_reachable(self, address: Address) -> None:
        """Clients and proofs connect to containers' own addresses. On this machine they can."""
        deadline = time.monotonic() + CALL_TIMEOUT_S
        while not await _accepts(*address):
            if time.monotonic() > deadline:
                raise MissingPartError(
                    f"The containers of the engine at {self.engine.where} cannot be reached from "
                    "here.",
                    why=f"Nothing answers at {address[0]}:{address[1]}. Networks of an engine in a "
                    "virtual machine, or on another one, have no route from this machine.",
                    do="Run pytest on the engine's own machine (or in it), or give this one a "
                    f"route to {self._own.subnet.cidr}.",
                )
            await asyncio.sleep(starting.POLL_S)

    async def _make(self, work: Callable[[], T]) -> T:
        """Do `work` in a thread, to its end even if cancelled. What it makes on the engine must be
        there before all is removed, or it would stay."""
        making = asyncio.ensure_future(self._in_thread(work))
        self._making.add(making)
        making.add_done_callback(self._making.discard)
        return await uninterrupted(making)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _prepare(
    containers: Mapping[str, Container], tell: Callable[[str], object]
) -> tuple[Engine, dict[str, str]]:
    engine = connect()
    made: dict[int, str] = {}
    for container in containers.values():
        if id(container.image) not in made:
            made[id(container.image)] = images.ensure(engine, container.image, tell)
    found = {name: made[id(container.image)] for name, container in containers.items()}
    return engine, {**found, TOXIPROXY_NODE: images.toxiproxy_image(engine, tell)}


async def _accepts(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_LISTEN_TIMEOUT_S):
            _reader, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def _id_inside(pid: int) -> int | None:
    """The id that a process of this machine has in its own container."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    line = next((one for one in status.splitlines() if one.startswith("NSpid:")), "")
    return int(line.split()[-1]) if line else None
