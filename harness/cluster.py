"""The cluster: a started target, with its nodes, its links and who holds what down.

Several faults may hold one node: it is started again, or thawed, when the last of them lets go.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import BrokenError, HarnessError, UsageError
from harness.network import Link, Network, mesh
from harness.parts import toxiproxy_binary
from harness.runtime import NodeSpec, Runtime
from harness.target import Node, Target

API_PORT = 8474
HOLDERS_TIMEOUT_S = 2.0

T = TypeVar("T")


class Cluster:
    """One running cluster. Made by `start`; ended by `close`."""

    def __init__(self, target: Target, runtime: Runtime, network: Network) -> None:
        self.target = target
        self.runtime = runtime
        self.network = network
        self.names = target.node_names
        self._specs = {name: self._spec(name) for name in self.names}
        self._down: dict[str, set[str]] = {name: set() for name in self.names}
        self._paused: dict[str, set[str]] = {name: set() for name in self.names}
        self._locks = {name: asyncio.Lock() for name in self.names}
        self._serving: set[str] = set()
        self._watchers: set[asyncio.Task[None]] = set()

    @classmethod
    async def start(cls, target: Target, runtime: Runtime) -> Cluster:
        """Start Toxiproxy, all links and all nodes, and wait until every node is ready."""
        api_host = runtime.api_address
        # May fetch it, which takes minutes: not in the loop's thread.
        toxiproxy = await asyncio.to_thread(toxiproxy_binary)
        await runtime.start_tool(
            "toxiproxy", [str(toxiproxy), "-host", api_host, "-port", str(API_PORT)]
        )
        links = mesh(target.node_names, target.ports, runtime.address, runtime.link_address)
        network = Network(api_host, API_PORT, links, escape=lambda: runtime.end_now("toxiproxy"))
        cluster = cls(target, runtime, network)
        await network.open()
        await runtime.start_all([cluster._specs[name] for name in cluster.names])
        cluster._serving.update(cluster.names)
        return cluster

    async def close(self, *, keep: bool = False) -> None:
        """End everything, or leave it running with `keep`. Safe in every state, and twice."""
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
        return Node(name, runtime.address(name), runtime.home(name), self.target.ports)

    def client_host(self, name: str) -> str:
        """The address at which clients reach the node: that of the link from `client`."""
        return self.runtime.link_address("client", name)

    def state(self, name: str) -> str:
        """`running`, `paused` or `down`."""
        return self.runtime.state(name)

    def processes(self, name: str) -> tuple[int, ...]:
        return self.runtime.processes(name)

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

    async def holders(self, role: str) -> tuple[str, ...]:
        """The running nodes that hold `role` now, asked of the target; nobody if it does not say
        in time."""
        nodes = [self.node(name) for name in self.names if self.serving(name)]
        try:
            async with asyncio.timeout(HOLDERS_TIMEOUT_S):
                found = await self.target.holders(role, nodes)
        except (TimeoutError, OSError):
            return ()
        except HarnessError:
            raise
        except Exception as error:
            raise target_bug(self.target, "holders", error) from error
        return tuple(name for name in self.names if name in found)

    async def wait_serving(self, bound_s: float) -> list[str]:
        """Wait until all nodes serve; the names of those that still do not after `bound_s`."""
        deadline = asyncio.get_running_loop().time() + bound_s
        while True:
            missing = [name for name in self.names if not self.serving(name)]
            if not missing or asyncio.get_running_loop().time() >= deadline:
                return missing
            await asyncio.sleep(0.02)

    # Holding nodes down and paused, on behalf of faults

    async def kill(self, name: str, holder: str) -> None:
        """SIGKILL the node and keep it down until `revive`."""
        async with self._locks[name]:
            self._down[name].add(holder)
            self._serving.discard(name)
            await self.runtime.kill(name)

    async def stop(self, name: str, holder: str) -> str:
        """SIGTERM the node and keep it down until `revive`; how it ended."""
        async with self._locks[name]:
            self._down[name].add(holder)
            self._serving.discard(name)
            if self.state(name) == "paused":
                # A frozen process cannot act on SIGTERM.
                await self.runtime.kill(name)
                return "was paused, killed"
            return await self.runtime.stop(name)

    async def revive(self, name: str, holder: str) -> None:
        """Let go of a node that `holder` keeps down; the last to let go starts it again. It is not
        waited for: whether it serves again is a matter of the cluster, not of the fault."""
        async with self._locks[name]:
            if holder not in self._down[name]:
                return
            self._down[name].discard(holder)
            if self._down[name] or self.state(name) != "down":
                return
            await self.runtime.spawn(self._specs[name])
            if self._paused[name]:
                await self.runtime.pause(name)
            self._watch(name)

    async def pause(self, name: str, holder: str) -> None:
        """Freeze the node until `resume`."""
        async with self._locks[name]:
            self._paused[name].add(holder)
            if self.state(name) == "running":
                await self.runtime.pause(name)

    async def resume(self, name: str, holder: str) -> None:
        """Let go of a node that `holder` keeps paused; the last to let go thaws it."""
        async with self._locks[name]:
            self._paused[name].discard(holder)
            if not self._paused[name] and self.state(name) == "paused":
                await self.runtime.resume(name)
                if name not in self._serving:
                    # It was started while it was held paused, and could not get ready then.
                    self._watch(name)

    # Helpers

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
            else Node(peer, runtime.link_address(name, peer), runtime.home(peer), target.ports)
            for peer in self.names
        ]

        async def ready() -> bool:
            try:
                return bool(await target.ready(node))
            except (OSError, TimeoutError, HarnessError):
                return False
            except (AttributeError, NameError, TypeError) as error:
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
            ports=target.ports,
            env=dict(_ask(target, "environment", lambda: target.environment(node))),
            files=dict(_ask(target, "files", lambda: target.files(node, peers))),
            ready=ready,
            ready_timeout_s=target.ready_timeout_s,
            stop_timeout_s=target.stop_timeout_s,
            needs_names=target.needs_names,
        )


def _ask(target: Target, method: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except HarnessError:
        raise
    except Exception as error:
        raise target_bug(target, method, error) from error


def target_bug(target: Target, method: str, error: Exception) -> UsageError:
    """The error for a target whose own code failed, with the line where it did."""
    trace: Any = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace else ""
    return UsageError(
        f"Target {type(target).__name__} failed in {method}().",
        why=f"{type(error).__name__}: {error}{place}",
        do="Correct the target.",
    )
