"""A mesh in one process on virtual time, whose links can be cut and whose nodes can stop or pause.

Everything that a node does runs in a context that names it, so that a paused node's timers and
callbacks wait until it goes on, and are overdue then, as those of a stopped process are. A node
that was killed is one that never goes on.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
from collections.abc import Callable, Coroutine, Iterable
from random import Random
from typing import Any, TypeVar

from primitives.mesh import Unreachable

from tests.support.virtual_time import VirtualLoop

T = TypeVar("T")

_NODE: contextvars.ContextVar[VirtualMesh | None] = contextvars.ContextVar("node", default=None)


class PausableLoop(VirtualLoop):
    """Keeps back what paused nodes would do."""

    def __init__(self) -> None:
        super().__init__()
        self.paused: dict[object, list[tuple[asyncio.Handle, Callable[..., Any], Any]]] = {}

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        made: list[asyncio.Handle] = []
        made.append(
            super().call_soon(self._unless_paused, made, callback, args, context=_own(context))
        )
        return made[0]

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        made: list[asyncio.Handle] = []
        made.append(
            super().call_at(when, self._unless_paused, made, callback, args, context=_own(context))
        )
        return made[0]

    def resume(self, node: object) -> None:
        for handle, callback, args in self.paused.pop(node, []):
            # A timer that was due may have been cancelled since by something due before it.
            self.call_soon(self._unless_cancelled, handle, callback, args, context=_context(handle))

    def _unless_paused(self, made: list[asyncio.Handle], callback: Any, args: Any) -> None:
        node = _NODE.get()
        if node in self.paused:
            self.paused[node].append((made[0], callback, args))
        else:
            callback(*args)

    def _unless_cancelled(self, handle: asyncio.Handle, callback: Any, args: Any) -> None:
        if not handle.cancelled():
            callback(*args)


def _own(context: contextvars.Context | None) -> contextvars.Context:
    return contextvars.copy_context() if context is None else context


def _context(handle: asyncio.Handle) -> contextvars.Context:
    context: contextvars.Context = handle._context  # type: ignore[attr-defined]
    return context


def run_pausably(work: Coroutine[Any, Any, T]) -> T:
    async def resuming() -> T:
        try:
            return await work
        finally:
            # Paused tasks could not be cancelled.
            for node in list(_loop().paused):
                _loop().resume(node)

    with asyncio.Runner(loop_factory=PausableLoop) as runner:
        return runner.run(resuming())


class VirtualNet:
    """The network between nodes of one test. Frames take `delay_s`, drawn per frame, in order."""

    def __init__(self, random: Random, delay_s: tuple[float, float] = (0.0005, 0.01)) -> None:
        self.random = random
        self._delay_s = delay_s
        self.nodes: dict[str, VirtualMesh] = {}
        self._cut: set[tuple[str, str]] = set()
        self._arrives: dict[tuple[str, str], float] = {}
        self._starts = 0

    def start(self, name: str) -> VirtualMesh:
        """A new start of a node, in place of any earlier one."""
        self.stop(name)
        self._starts += 1
        mesh = self.nodes[name] = VirtualMesh(self, name, self._starts)
        self._changed()
        return mesh

    def stop(self, name: str) -> None:
        """End a node as SIGKILL does: what it was doing never goes on."""
        mesh = self.nodes.pop(name, None)
        if mesh is not None:
            mesh.stopped = True
            _loop().paused.setdefault(mesh, [])
            self._changed()

    def pause(self, name: str) -> None:
        _loop().paused.setdefault(self.nodes[name], [])

    def resume(self, name: str) -> None:
        _loop().resume(self.nodes[name])

    def cut(self, ways: Iterable[tuple[str, str]]) -> None:
        """Nothing passes on these ways, in addition to those cut before."""
        self._cut |= set(ways)
        self._changed()

    def split(self, *sides: Iterable[str]) -> None:
        """A netsplit: only nodes of one side reach each other."""
        side = {name: place for place, names in enumerate(sides) for name in names}
        self._cut = {(a, b) for a in side for b in side if side[a] != side[b]}
        self._changed()

    def heal(self) -> None:
        self._cut = set()
        self._changed()

    def connected(self, name: str) -> frozenset[str]:
        # As in the real mesh a link needs both ways: heartbeats find out about one-way cuts.
        return frozenset(
            peer
            for peer in self.nodes
            if peer != name and not {(name, peer), (peer, name)} & self._cut
        )

    def passes(self, source: VirtualMesh, peer: str) -> bool:
        return (
            self.nodes.get(source.name) is source
            and peer in self.nodes
            and (source.name, peer) not in self._cut
        )

    def carry(self, source: VirtualMesh, peer: str, act: Callable[[VirtualMesh], object]) -> None:
        """Have `act` done at the peer after the delay, unless the link is cut by then."""
        target = self.nodes[peer]
        way = (source.name, peer)
        now = _loop().time()
        at = max(now + self.random.uniform(*self._delay_s), self._arrives.get(way, 0.0))
        self._arrives[way] = at

        def arrive() -> None:
            if not target.stopped and way not in self._cut:
                act(target)

        target.doing(_loop().call_at, at, arrive)

    def _changed(self) -> None:
        for mesh in list(self.nodes.values()):
            mesh.doing(_loop().call_soon, mesh.refresh)


class VirtualMesh:
    """A `primitives.mesh.Messenger`."""

    def __init__(self, net: VirtualNet, name: str, incarnation: int) -> None:
        self.name = name
        self.port = 0
        self.incarnation = incarnation
        self.connected: frozenset[str] = frozenset()
        self.stopped = False
        self._net = net
        self._handlers: dict[str, Any] = {}
        self._callbacks: list[Callable[[str, bool], object]] = []
        self._known: dict[str, int] = {}

    def doing(self, act: Callable[..., T], *args: Any) -> T:
        """Call `act` as something that this node does."""
        context = contextvars.copy_context()
        context.run(_NODE.set, self)
        return context.run(act, *args)

    def task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task of this node."""
        return self.doing(_loop().create_task, work)

    def handle(self, kind: str, handler: Any) -> None:
        assert kind not in self._handlers, kind
        self._handlers[kind] = handler

    def on_change(self, callback: Callable[[str, bool], object]) -> None:
        self._callbacks.append(callback)

    def add_peer(self, name: str, host: str, port: int) -> None:
        """Nothing to do: all nodes of a `VirtualNet` know each other."""

    def send(self, peer: str, kind: str, body: Any) -> bool:
        if peer not in self.connected:
            return False
        sent = json.dumps(body)
        if self._net.passes(self, peer):
            name = self.name
            self._net.carry(self, peer, lambda node: node.call(kind, name, json.loads(sent)))
        return True

    async def request(self, peer: str, kind: str, body: Any, timeout_s: float) -> Any:
        if peer not in self.connected:
            raise Unreachable(peer, "not connected")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        asking, sent = self, json.dumps(body)

        async def ask(node: VirtualMesh) -> None:
            result = node.call(kind, asking.name, json.loads(sent))
            if inspect.isawaitable(result):
                result = await result
            told = json.dumps(result)

            def settle(_: VirtualMesh) -> None:
                if not answer.done():
                    answer.set_result(json.loads(told))

            if self._net.passes(node, asking.name):
                self._net.carry(node, asking.name, settle)

        if self._net.passes(self, peer):
            tasks: set[asyncio.Task[None]] = set()
            self._net.carry(self, peer, lambda node: tasks.add(asyncio.create_task(ask(node))))
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise Unreachable(peer, "timeout") from None

    def call(self, kind: str, peer: str, body: Any) -> Any:
        return self._handlers[kind](peer, body)

    def refresh(self) -> None:
        """Notice links that came up or went down."""
        up = {name: self._net.nodes[name].incarnation for name in self._net.connected(self.name)}
        self.connected = frozenset(up)
        before, self._known = self._known, up
        for peer in sorted({*before, *up}):
            if before.get(peer) != up.get(peer):
                if peer in before:
                    self._tell(peer, False)
                if peer in up:
                    self._tell(peer, True)

    def _tell(self, peer: str, connected: bool) -> None:
        for callback in self._callbacks:
            callback(peer, connected)


def _loop() -> PausableLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, PausableLoop)
    return loop
