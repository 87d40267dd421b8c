"""The docker runtime: nodes as containers in a network of their own."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tarfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self, TypeVar

from harness.container import USER_ID, Container, Image
from harness.errors import BrokenError, UsageError
from harness.runtime import proc, starting
from harness.runtime.child import CLOSE_GRACE_S, LOG_LINES, describe, within
from harness.runtime.docker import images, leftovers
from harness.runtime.docker.cgroups import CgroupSampler, Group
from harness.runtime.docker.engine import Engine, connect
from harness.runtime.docker.labels import labels_of
from harness.runtime.docker.node import Life, Node, exit_status, follow
from harness.runtime.docker.subnet import MAX_NODES, Subnet, candidates, routes_here
from harness.runtime.process import ProcessRuntime
from harness.runtime.resources import Sample
from harness.runtime.spec import (
    CLIENT,
    TOXIPROXY_NODE,
    Address,
    NodeExit,
    NodeSpec,
    State,
    check_names,
)

if TYPE_CHECKING:
    from docker.errors import APIError

CALL_TIMEOUT_S = 5.0
"""For a container to stop, go on or be gone once the engine was told."""

DOOR_PORTS = 20000
"""The first of the ports at which Toxiproxy's container takes what comes from outside."""

_LISTEN_TIMEOUT_S = 0.5
_SUBNET_TRIES = 40

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
    ) -> None:
        self.engine = engine
        self.on_exit = on_exit
        self._api = engine.api
        self._host = host
        self._containers = containers
        self._image_ids = image_ids
        self._logs = logs
        self._run_id = run_id
        self._loop = asyncio.get_running_loop()
        self._nodes: dict[str, Node] = {}
        self._subnet = Subnet((0, 0), tuple(containers))
        self._doors: dict[Address, int] = {}
        self._stop_timeouts_s: dict[str, float] = {}
        self._closed = False
        # Threads of our own: the loop's may all be taken by clients that block on a cut link.
        self._threads = ThreadPoolExecutor(16, thread_name_prefix="harness-docker")

    @classmethod
    async def create(
        cls,
        containers: Mapping[str, Container],
        *,
        logs: Path,
        run_id: str,
        on_exit: Callable[[NodeExit], None] | None = None,
        tell: Callable[[str], object] = lambda _: None,
        doors: Sequence[tuple[str, int]] = (),
    ) -> Self:
        """Find the engine, make the images that are missing or stale (`tell` hears of it), and
        make the cluster's network; nothing runs yet.

        `containers` says what each node runs in. `doors` are the nodes and ports that get a
        published way in, on 127.0.0.1. Raises `MissingPartError` without an engine or an image,
        `UsageError` for impossible names, `BrokenError` if the engine fails.
        """
        check_names(list(containers), MAX_NODES)
        engine, image_ids = await asyncio.to_thread(_prepare, containers, tell)
        host = await ProcessRuntime.create(
            list(containers), logs=logs, run_id=run_id, on_exit=on_exit
        )
        runtime = cls(engine, host, containers, image_ids, logs, run_id, on_exit)
        try:
            await runtime._in_thread(lambda: leftovers.announce(host.where))
            await runtime._in_thread(runtime._make_network)
        except BaseException:
            await runtime.close()
            raise
        for number, (node, port) in enumerate(doors):
            runtime._doors[runtime.link_address(CLIENT, node), port] = DOOR_PORTS + number
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
        return self._subnet.toxiproxy

    def address(self, node: str) -> str:
        """Where `node` itself listens."""
        return self._subnet.address(node)

    def link_address(self, source: str, node: str) -> str:
        """Where the link from `source` (a node or `client`) to `node` listens."""
        return self._subnet.link_address(source, node)

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
        """Why a fault that needs `need` is not to be had, or None."""
        return None

    # Starting

    async def start(self, spec: NodeSpec) -> None:
        """Start a node, or start it again with the data it has, and wait until it is ready."""
        await starting.start(self, spec)

    async def start_all(self, specs: Sequence[NodeSpec], *, in_turn: bool = False) -> None:
        """Start nodes at the same time, or each as soon as the one before it listens on its ports.
        If one fails, all of them are ended, and its error (the first one) is raised."""
        if in_turn:
            # What can be done beforehand is: only the starts themselves wait for one another.
            await asyncio.gather(*(self._in_thread(partial(self._make, spec)) for spec in specs))
        await starting.start_all(self, specs, self._listens if in_turn else None)

    async def spawn(self, spec: NodeSpec) -> None:
        """Start a node's container and return at once.

        Raises `BrokenError` if the engine cannot, `UsageError` if it runs already.
        """
        self._require_open(spec.name)
        node = self._nodes.get(spec.name)
        if node is not None and not node.life.exited.is_set():
            raise UsageError(f"{spec.name} is already running.")
        await self._finish(self._in_thread(lambda: self._spawn(spec)))

    async def wait_ready(self, spec: NodeSpec) -> None:
        """Wait until a node that was spawned is ready. It is left as it is if it does not get so.

        Raises `BrokenError` with the end of its log if it ends first or is not ready within
        `ready_timeout_s`.
        """
        node = self._node(spec.name)
        if node is None:
            raise UsageError(f"{spec.name} has not been started.")
        life = node.life

        def ended() -> BrokenError:
            return BrokenError(
                f"{spec.name} ended before it was ready: {describe(life.status)}.",
                why=node.log_tail(LOG_LINES),
                do=f"The whole log is {node.log}.",
            )

        def late(said: str) -> BrokenError:
            return BrokenError(
                f"{spec.name} was not ready within {spec.ready_timeout_s:g} s.",
                why=f"Last: {said}.\n{node.log_tail(LOG_LINES)}",
                do=f"The whole log is {node.log}. It must listen on its own address "
                f"({self.address(spec.name)}) or on the wildcard address.",
            )

        await starting.until_ready(spec, life.exited, ended, late)
        life.up = True

    async def start_toxiproxy(self, port: int) -> None:
        """Start Toxiproxy in its container, with its interface at `api_address`, or start it again
        after it ended. It holds all addresses of links, and no right that it does not need."""
        node = self._nodes.get(TOXIPROXY_NODE)
        if node is not None:
            await within(node.life.exited, CALL_TIMEOUT_S)
        await self._finish(self._in_thread(lambda: self._spawn_toxiproxy(port)))

    def toxiproxy_process(self) -> int | None:
        """The process of Toxiproxy, where it is one of this machine's."""
        return self._pid(TOXIPROXY_NODE)

    def own_network(self, name: str) -> int | None:
        """A process in the network that is the node's own, while it runs on this machine."""
        return self._pid(name)

    def door_ports(self) -> dict[Address, int]:
        """The ports of Toxiproxy's container that are published: the address of the link that each
        leads to → the port."""
        return dict(self._doors)

    def published(self) -> dict[Address, Address]:
        """Where links are published on this machine, by their addresses, while Toxiproxy runs."""
        node = self._nodes.get(TOXIPROXY_NODE)
        if node is None or not self._doors:
            return {}
        ports = self._api.inspect_container(node.id)["NetworkSettings"]["Ports"]
        places = {link: ports.get(f"{port}/tcp") for link, port in self._doors.items()}
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
            await self._finish(self._kill(node))

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
        elif (node := self._nodes.get(name)) is not None:
            node.life.asked = True
            self._send(node, "SIGKILL")

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
        return await self._finish(self._stop(node))

    async def pause(self, name: str) -> None:
        """Freeze all processes of a node, at one moment.

        Raises `BrokenError` if the node is down.
        """
        node = self._require_up(name, "paused")
        if not node.life.paused:
            await self._finish(self._in_thread(lambda: self._told(node, "pause")))
            node.life.paused = True

    async def resume(self, name: str) -> None:
        """Let a paused node go on. Raises `BrokenError` if the node is down."""
        node = self._require_up(name, "resumed")
        if node.life.paused:
            await self._finish(self._in_thread(lambda: self._told(node, "unpause")))
            node.life.paused = False

    # Looking

    def state(self, name: str) -> State:
        """What is known of the node's container now."""
        node = self._node(name)
        if node is None or node.life.exited.is_set():
            return "down"
        return "paused" if node.life.paused else "running"

    def processes(self, name: str) -> tuple[int, ...]:
        """The ids, as the engine's machine has them, of all live processes of a node, its main
        process first. From the kernel where that is this machine's; else one question to the
        engine, which takes it 20 ms."""
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
            table = self._api.top(node.id, ps_args="-eo pid,ppid,stat")["Processes"]
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
            for name, node in list(self._nodes.items()):
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
        return await self._in_thread(lambda: self._run(node.id, argv, user))

    async def close(self, keep: bool = False) -> None:
        """End everything and remove all traces. Nodes have half a second to obey SIGTERM, paused
        ones none. `keep` leaves everything running for a person to look at, until
        `harness cleanup`. May be called again, and after a cancellation. Raises `BrokenError` if
        something would not go."""
        if self._closed:
            return
        self._closed = True
        for node in self._nodes.values():
            node.life.asked = True
        try:
            if not keep:
                await self._finish(self._remove())
        finally:
            self._threads.shutdown(wait=False)
            await self._host.close(keep=keep)

    # How it is done

    def _make_network(self) -> None:
        """A network of its own, in a subnet that the engine and this machine's routes leave free.
        The engine decides between workers that want the same one."""
        from docker.errors import APIError
        from docker.types import IPAMConfig, IPAMPool

        routes = routes_here() if self.engine.local else []
        tried = []
        for subnet in candidates(self.nodes, routes):
            pool = IPAMPool(subnet=subnet.cidr, gateway=subnet.gateway)
            try:
                self._api.create_network(
                    self._name(),
                    driver="bridge",
                    ipam=IPAMConfig(pool_configs=[pool]),
                    labels=labels_of(self.id, self._run_id),
                    check_duplicate=True,
                )
            except APIError as error:
                tried.append(f"{subnet.cidr}: {error.explanation or error}")
                if "overlap" in str(error) and len(tried) < _SUBNET_TRIES:
                    continue
                break
            self._subnet = subnet
            return
        raise BrokenError(
            "The engine makes no network for the cluster.",
            why="\n".join(tried) or "This machine's routes leave no private /16 free.",
            do="Look at `docker network ls`; `harness cleanup` removes what is left of clusters.",
        )

    def _spawn(self, spec: NodeSpec) -> None:
        self._run_node(self._make(spec), spec.name)

    def _make(self, spec: NodeSpec) -> Node:
        """The node's container, with its files in place: what there is, or a new one."""
        self._stop_timeouts_s[spec.name] = spec.stop_timeout_s
        if spec.name in self._nodes:
            return self._nodes[spec.name]
        container = self._containers[spec.name]
        limits = container.limits
        volumes = {self._volume(spec.name, ""): container.home}
        for number, path in enumerate(container.volumes, start=1):
            volumes[self._volume(spec.name, f"-{number}")] = path
        for volume in volumes:
            self._api.create_volume(volume, labels=labels_of(self.id, self._run_id, spec.name))
        binds = [f"{volume}:{path}" for volume, path in volumes.items()]
        binds += [f"{here}:{path}:ro" for path, here in container.mounts.items()]
        names = {o: self.link_address(spec.name, o) for o in self.nodes if o != spec.name}
        from docker.types import Ulimit

        files = limits.open_files
        node = self._create(
            spec.name,
            self._image_ids[spec.name],
            self.address(spec.name),
            command=list(spec.argv) or None,
            environment=dict(spec.env),
            entrypoint=None if container.entrypoint is None else list(container.entrypoint),
            user=container.user,
            working_dir=container.working_dir,
            host_config={
                "binds": binds,
                "extra_hosts": names,
                "mem_limit": limits.memory_bytes,
                "memswap_limit": limits.memory_bytes,
                "nano_cpus": None if limits.cpus is None else int(limits.cpus * 1e9),
                "pids_limit": limits.processes,
                "ulimits": files and [Ulimit(name="nofile", soft=files, hard=files)],
                "tmpfs": dict.fromkeys(container.tmpfs, "") or None,
                "init": True,
            },
        )
        if spec.files:
            self._api.put_archive(node.id, container.home, _archive(spec.files))
        return node

    def _spawn_toxiproxy(self, port: int) -> None:
        node = self._nodes.get(TOXIPROXY_NODE)
        if node is None:
            doors = sorted(self._doors.values())
            node = self._create(
                TOXIPROXY_NODE,
                self._image_ids[TOXIPROXY_NODE],
                self._subnet.toxiproxy,
                environment={"LINKS": self._subnet.links, "PORT": str(port)},
                ports=[(door, "tcp") for door in doors],
                host_config={
                    "cap_drop": ["ALL"],
                    "cap_add": ["NET_ADMIN", "SETUID", "SETGID", "SETPCAP"],
                    "port_bindings": dict.fromkeys(doors, ("127.0.0.1", None)),
                },
            )
        self._run_node(node, TOXIPROXY_NODE)
        node.life.up = True

    def _create(
        self, name: str, image: str, address: str, host_config: dict[str, Any], **options: Any
    ) -> Node:
        from docker.errors import APIError

        network = self._name()
        endpoint = self._api.create_endpoint_config(ipv4_address=address)
        try:
            made = self._api.create_container(
                image,
                name=self._name(name),
                hostname=name,
                labels=labels_of(self.id, self._run_id, name),
                host_config=self._api.create_host_config(network_mode=network, **host_config),
                networking_config={"EndpointsConfig": {network: endpoint}},
                **{option: value for option, value in options.items() if value is not None},
            )
        except APIError as error:
            raise _refused(f"{name} cannot be made", error) from None
        life = Life()
        life.exited.set()
        self._nodes[name] = Node(name, made["Id"], self._logs / f"{name}.log", life)
        return self._nodes[name]

    def _run_node(self, node: Node, name: str) -> None:
        """Start the container, with its output on the way to the log and its end awaited."""
        from docker.errors import APIError

        begin = node.log.stat().st_size if node.log.exists() else 0
        life = Life(log_begin=begin)
        output = self._api.attach(node.id, stdout=True, stderr=True, stream=True)
        life.reader = follow(node.log, output, lambda: self._await_end(node, life))
        try:
            self._api.start(node.id)
            life.pid = self._api.inspect_container(node.id)["State"]["Pid"]
        except APIError as error:
            life.asked = True
            with contextlib.suppress(APIError, OSError):
                output.close()
            raise _refused(f"{name} cannot be started", error) from None
        finally:
            node.life = life

    def _await_end(self, node: Node, life: Life) -> None:
        """In the thread of the log: hear how the container ended, and tell the loop."""
        import requests
        from docker.errors import DockerException

        status: int | None = None
        with contextlib.suppress(DockerException, requests.RequestException, OSError):
            status = exit_status(int(self._api.wait(node.id)["StatusCode"]))
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
            self._loop.call_soon_threadsafe(self._ended, node, life, status)

    def _ended(self, node: Node, life: Life, status: int | None) -> None:
        life.status = status
        life.exited.set()
        if life.up and not life.asked and self.on_exit is not None:
            self.on_exit(NodeExit(node.name, status))

    async def _kill(self, node: Node) -> None:
        node.life.asked = True
        if node.life.exited.is_set():
            return
        await self._in_thread(lambda: self._send(node, "SIGKILL"))
        await within(node.life.exited, CALL_TIMEOUT_S)
        if not node.life.exited.is_set():
            raise BrokenError(
                f"The container of {node.name} would not end within {CALL_TIMEOUT_S:g} s of "
                "SIGKILL.",
                do=f"Look at it with `docker inspect {node.id[:12]}`.",
            )

    async def _stop(self, node: Node) -> str:
        life = node.life
        life.asked = True
        timeout_s = self._stop_timeouts_s.get(node.name, CLOSE_GRACE_S)
        if life.paused:
            await self._in_thread(lambda: self._told(node, "unpause"))
            life.paused = False
        config = await self._in_thread(lambda: self._api.inspect_container(node.id)["Config"])
        word = config.get("StopSignal") or "SIGTERM"
        await self._in_thread(lambda: self._send(node, word))
        await within(life.exited, timeout_s)
        obeyed = life.exited.is_set()
        await self._kill(node)
        if obeyed:
            return describe(life.status)
        return f"did not obey {word} within {timeout_s:g} s: {describe(life.status)}"

    def _send(self, node: Node, word: str) -> None:
        """Send a signal; a container that has ended is none to complain about."""
        from docker.errors import APIError

        with contextlib.suppress(APIError):
            self._api.kill(node.id, word)

    def _told(self, node: Node, what: str) -> None:
        from docker.errors import APIError

        try:
            getattr(self._api, what)(node.id)
        except APIError as error:
            raise _refused(f"{node.name}: {what} failed", error) from None

    def _run(self, id: str, argv: Sequence[str], user: str) -> tuple[int, str]:
        from docker.errors import APIError

        try:
            made = self._api.exec_create(id, list(argv), user=user)["Id"]
            said = self._api.exec_start(made).decode(errors="replace")
            return int(self._api.exec_inspect(made)["ExitCode"] or 0), said.strip()
        except APIError as error:
            raise _refused(f"{argv[0]} cannot be run in a container", error) from None

    async def _remove(self) -> None:
        """Ask all to end, then remove containers, volumes and network."""
        running = [node for node in self._nodes.values() if not node.life.exited.is_set()]
        asked = [node for node in running if not node.life.paused and node.name in self.nodes]
        if asked:
            sends = (partial(self._send, node, "SIGTERM") for node in asked)
            await asyncio.gather(*(self._in_thread(send) for send in sends))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_GRACE_S):
                    for node in asked:
                        await node.life.exited.wait()
        left = await self._in_thread(lambda: leftovers.remove(self._api, self.id))
        for node in running:
            # The end of its log is on its way.
            await within(node.life.exited, CALL_TIMEOUT_S)
        if left:
            raise BrokenError(
                "The engine would not remove all of the cluster.",
                why="\n".join(left),
                do="Run `harness cleanup`.",
            )

    async def _listens(self, spec: NodeSpec) -> bool:
        return all(
            await asyncio.gather(
                *(_accepts(self.address(spec.name), port) for port in spec.ports.values())
            )
        )

    def _pid(self, name: str) -> int | None:
        node = self._nodes.get(name)
        if node is None or node.life.exited.is_set() or not self.engine.local:
            return None
        return node.life.pid or None

    def _name(self, part: str = "") -> str:
        return f"harness-{self.id}" + (f"-{part}" if part else "")

    def _volume(self, node: str, which: str) -> str:
        return self._name(node) + which

    def _container(self, node: str) -> Container:
        self.address(node)  # raises for names that no node has
        return self._containers[node]

    def _is_container(self, name: str) -> bool:
        return name in self._containers or name == TOXIPROXY_NODE

    def _node(self, name: str) -> Node | None:
        node = self._nodes.get(name)
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

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _finish(self, work: Awaitable[T]) -> T:
        """Await `work`; if cancelled, wait for its end first: a thread cannot be called back."""
        task = asyncio.ensure_future(work)
        cancelled = False
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                cancelled = True
            except Exception:
                break
        if cancelled:
            with contextlib.suppress(Exception):
                task.result()
            raise asyncio.CancelledError
        return task.result()


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


def _archive(files: Mapping[str, str]) -> bytes:
    """A tar file with `files`, which belong to the user of our images."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folders = {parent for name in files for parent in PurePosixPath(name).parents}
        for folder in sorted(folders - {PurePosixPath(".")}):
            entry = tarfile.TarInfo(str(folder))
            entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o755, USER_ID, USER_ID
            archive.addfile(entry)
        for name, text in files.items():
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.gid = len(data), 0o644, USER_ID, USER_ID
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


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


def _refused(what: str, error: APIError) -> BrokenError:
    return BrokenError(f"{what}.", why=str(error.explanation or error).strip())
