"""The cluster: a started target, with its nodes, its links and who holds what down.

Several faults may hold one node: it is started again, or thawed, when the last of them lets go.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import PROGRAMMING, BrokenError, HarnessError, UsageError, with_place
from harness.network import Door, Link, Network, mesh, sockets
from harness.runtime import NodeSpec, Runtime
from harness.runtime.spec import CLIENT, TOXIPROXY_NODE, Address
from harness.target import Node, Target

API_PORT = 8474
HOLDERS_TIMEOUT_S = 2.0

FREEZE_S = 2.0
"""How long a try to pause a node may take; some milliseconds are usual. On a machine that is busy
with many processes, finding those of the node alone takes most of a second."""

FREEZE_TRIES = 5

T = TypeVar("T")


class Cluster:
    """One running cluster. Made by `start`; ended by `close`. `names` are its nodes, `all_names`
    those and their dependencies."""

    def __init__(self, target: Target, runtime: Runtime, network: Network) -> None:
        self.target = target
        self.runtime = runtime
        self.network = network
        self.names = target.node_names
        self.all_names = target.all_names
        self._specs = {name: self._spec(name) for name in (*self.all_names, *target.tasks)}
        self._down: dict[str, set[str]] = {name: set() for name in self.all_names}
        self._paused: dict[str, set[str]] = {name: set() for name in self.all_names}
        self._starts = dict.fromkeys(self.all_names, 1)
        self._locks = {name: asyncio.Lock() for name in self.all_names}
        self._serving: set[str] = set()
        self._watchers: set[asyncio.Task[None]] = set()
        self._under_way: set[asyncio.Task[Any]] = set()

    @classmethod
    async def start(
        cls, target: Target, runtime: Runtime, *, tell: Callable[[str], object] | None = None
    ) -> Cluster:
        """Start Toxiproxy, all links and all nodes, and wait until every node is ready. `tell`
        hears of it if Toxiproxy hangs and has to be replaced."""
        target = target.completed(runtime.exposed)
        sources = (*target.all_names, *target.tasks)
        links = mesh(sources, target.ports_of, runtime.address, runtime.link_address)
        doors = runtime.make_doors([link.listen for link in links if link.source == CLIENT])
        await runtime.start_toxiproxy(API_PORT)
        network = Network(
            runtime.api_address,
            API_PORT,
            links,
            escape=lambda: runtime.end_now(TOXIPROXY_NODE),
            restart=lambda: runtime.start_toxiproxy(API_PORT),
            tell=tell,
            process=runtime.toxiproxy_process,
            doors=[Door(f"door-{port}", ("0.0.0.0", port), link) for link, port in doors.items()],
        )
        cluster = cls(target, runtime, network)
        try:
            await network.open()
            for names in target.start_groups:
                specs = [cluster._specs[name] for name in names]
                await runtime.start_all(specs, in_turn=target.starts_in_turn)
        except BaseException:
            await network.close()  # nobody has the cluster yet, who could
            raise
        cluster._serving.update(cluster.all_names)
        return cluster

    async def close(self, *, keep: bool = False) -> None:
        """End everything, or leave it running with `keep`. Safe in every state, and twice."""
        await asyncio.gather(*self._under_way, return_exceptions=True)
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        if not keep:
            with contextlib.suppress(HarnessError):
                await self.network.close()
        await self.runtime.close(keep=keep)

    # Looking

    def node(self, name: str) -> Node:
        """The node as its own server sees itself."""
        runtime = self.runtime
        return Node(
            name,
            runtime.address(name),
            runtime.home(name),
            self.target.ports_of(name),
            runtime.image(name),
        )

    def client_host(self, name: str) -> str:
        """The address at which clients reach the node: that of the link from `client`."""
        return self.runtime.link_address(CLIENT, name)

    def state(self, name: str) -> str:
        """`running`, `paused` or `down`."""
        return self.runtime.state(name)

    def processes(self, name: str) -> tuple[int, ...]:
        return self.runtime.processes(name)

    def exit_status(self, name: str) -> int | None:
        """How the node's last main process ended (negative: by which signal); None while it
        runs."""
        return self.runtime.exit_status(name)

    def starts(self, name: str) -> int:
        """How often the node was started, whatever became of it then."""
        return self._starts[name]

    def held_down(self, name: str) -> bool:
        return bool(self._down[name])

    def held_paused(self, name: str) -> bool:
        return bool(self._paused[name])

    def serving(self, name: str) -> bool:
        """Whether the node was ready since its last start, runs, and is not paused."""
        return name in self._serving and self.state(name) == "running"

    def reachable(self, links: Iterable[Link]) -> list[Link]:
        """Those links that have a serving node behind them."""
        return [link for link in links if self.serving(link.node)]

    def log_tail(self, name: str, lines: int = 15) -> str:
        """The end of the node's log."""
        return self.runtime.log_tail(name, lines)

    def strays(self) -> dict[tuple[str, str], str]:
        """Connections between nodes that pass their links by, so that no fault on a link reaches
        them: (who dialled, whom) → what was seen. Empty for a target that uses host names."""
        network = self.network
        direct = {link.upstream: link.node for link in network.links()}
        links = {link.listen: link for link in network.links()}
        suspects = direct.keys() | links.keys()
        strays: dict[tuple[str, str], str] = {}
        for name, dialled in self._dialled(suspects).items():
            for remote in dialled:
                host, port = remote
                if remote in direct and direct[remote] != name:
                    what = f"{name} is connected to {host}:{port} itself, past the link"
                    strays[name, direct[remote]] = what
                elif remote in links and links[remote].source != name:
                    what = (
                        f"{name} is connected to {host}:{port}, which is the link {links[remote]}"
                    )
                    strays[name, links[remote].node] = what
        return strays

    def _dialled(self, suspects: Collection[Address]) -> dict[str, set[Address]]:
        """Which of the addresses `suspects` each node has connections to."""
        found: dict[str, set[Address]] = {}
        shared = None
        for name in self.all_names:
            if (near := self.runtime.own_network(name)) is not None:
                seen = sockets.connections(near)
                found[name] = {one.remote for one in seen if one.remote in suspects}
                continue
            if shared is None:
                shared = {c.inode: c.remote for c in sockets.connections() if c.remote in suspects}
            mine = [sockets.owned(pid, shared) for pid in self.processes(name)]
            found[name] = {shared[inode] for inode in set().union(*mine)}
        return found

    async def holders(self, role: str) -> tuple[str, ...]:
        """The running nodes and dependencies that hold `role` now, asked of the target; nobody if
        it does not say in time."""
        nodes = [self.node(name) for name in self.all_names if self.serving(name)]
        try:
            async with asyncio.timeout(HOLDERS_TIMEOUT_S):
                found = await self.target.holders(role, nodes)
        except (TimeoutError, OSError):
            return ()
        except HarnessError:
            raise
        except Exception as error:
            raise target_bug(self.target, "holders", error) from error
        return tuple(name for name in self.all_names if name in found)

    async def wait_serving(self, bound_s: float) -> list[str]:
        """Wait until all nodes serve; the names of those that still do not after `bound_s`."""
        deadline = asyncio.get_running_loop().time() + bound_s
        while True:
            missing = [name for name in self.all_names if not self.serving(name)]
            if not missing or asyncio.get_running_loop().time() >= deadline:
                return missing
            await asyncio.sleep(0.02)

    # Holding nodes down and paused, on behalf of faults

    async def kill(self, name: str, holder: str) -> None:
        """SIGKILL the node and keep it down until `revive`."""
        await self._finish(self._kill(name, holder))

    async def stop(self, name: str, holder: str) -> str:
        """SIGTERM the node and keep it down until `revive`; how it ended."""
        return await self._finish(self._stop(name, holder))

    async def kill_process(self, name: str, pid: int) -> bool:
        """SIGKILL one process of the node; False if it has none with that id."""
        return await self.runtime.kill_process(name, pid)

    async def revive(self, name: str, holder: str) -> None:
        """Let go of a node that `holder` keeps down; the last to let go starts it again. It is not
        waited for: whether it serves again is a matter of the cluster, not of the fault."""
        await self._finish(self._revive(name, holder))

    async def pause(self, name: str, holder: str) -> None:
        """Freeze the node until `resume`."""
        await self._finish(self._pause(name, holder))

    async def resume(self, name: str, holder: str) -> None:
        """Let go of a node that `holder` keeps paused; the last to let go thaws it."""
        await self._finish(self._resume(name, holder))

    async def settle(self, name: str) -> None:
        """Wait until nothing is being done to the node: then it is in the state it is held in."""
        async with self._locks[name]:
            pass

    # The same, one at a time for each node. A holder is struck off when the work is done, so that
    # it can be asked for again if it failed.

    async def _kill(self, name: str, holder: str) -> None:
        async with self._locks[name]:
            self._down[name].add(holder)
            self._serving.discard(name)
            await self.runtime.kill(name)

    async def _stop(self, name: str, holder: str) -> str:
        async with self._locks[name]:
            self._down[name].add(holder)
            self._serving.discard(name)
            if self.state(name) == "paused":
                # A frozen process cannot act on SIGTERM.
                await self.runtime.kill(name)
                return "was paused, killed"
            return await self.runtime.stop(name)

    async def _revive(self, name: str, holder: str) -> None:
        async with self._locks[name]:
            holders = self._down[name]
            if holder not in holders:
                return
            if holders == {holder}:
                if self.state(name) == "down":
                    # A watcher may have seen its last answer after it was killed.
                    self._serving.discard(name)
                    before = self.exit_status(name)
                    await self.runtime.spawn(self._specs[name])
                    # A new process has not ended yet, or in some way of its own.
                    if self.exit_status(name) is None or self.exit_status(name) != before:
                        self._starts[name] += 1
                    if self._paused[name]:
                        await self._unless_ended(name, self._freeze)
                if name not in self._serving:
                    self._watch(name)
            holders.discard(holder)

    async def _pause(self, name: str, holder: str) -> None:
        async with self._locks[name]:
            self._paused[name].add(holder)
            if self.state(name) == "running":
                await self._unless_ended(name, self._freeze)

    async def _resume(self, name: str, holder: str) -> None:
        async with self._locks[name]:
            if self._paused[name] == {holder} and self.state(name) != "down":
                await self._unless_ended(name, self.runtime.resume)
                if name not in self._serving:
                    # It was started while it was held paused, and could not get ready then.
                    self._watch(name)
            self._paused[name].discard(holder)

    # Helpers

    async def _freeze(self, name: str) -> None:
        """Pause the node. One that is just starting a child may be impossible to stop: between
        vfork and exec the kernel lets the parent wait for the child, which is stopped already."""
        for _ in range(FREEZE_TRIES):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FREEZE_S):
                    await self.runtime.pause(name)
                    return
            await self.runtime.resume(name)
        await self.runtime.pause(name)

    async def _unless_ended(self, name: str, work: Callable[[str], Awaitable[None]]) -> None:
        """Do `work` on the node. That it ends by itself meanwhile is no failure of the harness."""
        try:
            await work(name)
        except BrokenError:
            if self.state(name) != "down":
                raise

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`; if cancelled, it goes on to its end nevertheless, and whoever wants the
        same node next waits for it. A thread that kills cannot be called back."""
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_look_at)
            raise

    def _watch(self, name: str) -> None:
        async def until_ready() -> None:
            # That it exits, or never gets ready, is found out where all nodes are waited for.
            with contextlib.suppress(BrokenError):
                await self.runtime.wait_ready(self._specs[name])
                self._serving.add(name)

        task = asyncio.create_task(until_ready())
        self._watchers.add(task)
        task.add_done_callback(self._watchers.discard)

    def _spec(self, name: str) -> NodeSpec:
        target, runtime = self.target, self.runtime
        node = self.node(name)
        peers = [
            node
            if peer == name
            else Node(
                peer,
                runtime.link_address(name, peer),
                runtime.home(peer),
                target.ports_of(peer),
                runtime.image(peer),
            )
            for peer in self.all_names
        ]

        async def ready() -> bool:
            try:
                return bool(await target.ready(node))
            except (OSError, TimeoutError, HarnessError):
                return False
            except PROGRAMMING as error:
                raise target_bug(target, "ready", error) from error
            except Exception:
                # A server that is coming up may answer with anything.
                return False

        argv = _ask(target, "command", lambda: target.command(node, peers))
        if isinstance(argv, str) or not all(isinstance(word, (str, Path)) for word in argv):
            raise UsageError(
                f"Target {type(target).__name__}: command must return a list of words, "
                f"not {argv!r}.",
                do='Return ["server", "--port", "1234"].',
            )
        return NodeSpec(
            name=name,
            argv=tuple(str(word) for word in argv),
            ports=target.ports_of(name),
            env=dict(_ask(target, "environment", lambda: target.environment(node))),
            files=dict(_ask(target, "files", lambda: target.files(node, peers))),
            ready=ready,
            ready_timeout_s=target.ready_timeout_s,
            stop_timeout_s=target.stop_timeout_s,
            needs_names=target.needs_names,
            container=target.container(name),
            once=name in target.tasks,
        )


def _look_at(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # looked at, so that asyncio does not report it as forgotten


def _ask(target: Target, method: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except HarnessError:
        raise
    except Exception as error:
        raise target_bug(target, method, error) from error


def target_bug(target: Target, method: str, error: Exception) -> UsageError:
    """The error for a target whose own code failed, with the line where it did."""
    return UsageError(
        f"Target {type(target).__name__} failed in {method}().",
        why=with_place(error),
        do="Correct the target.",
    )
