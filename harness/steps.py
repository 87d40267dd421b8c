"""Step-by-step experiments: the cluster, the nemesis and a client as plain objects for tests."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from harness import faults
from harness.check.verdict import Check, Result, Verdict
from harness.engine import Run
from harness.errors import UsageError
from harness.faults import Fault
from harness.history import History, Op
from harness.portal import Portal
from harness.seeds import stream
from harness.target import Node
from harness.workload.client import Client
from harness.workload.drive import Endpoint, Session
from harness.workload.workload import Request

OP_TIMEOUT_S = 5.0

DRAWN_S = 60.0
"""For how long a varying fault has its values drawn; nobody knows how long a block will take."""


class ClusterSteps:
    """The started cluster."""

    def __init__(self, run: Run, portal: Portal) -> None:
        self.run = run
        self._portal = portal

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the nodes."""
        return self.run.cluster.names

    @property
    def history(self) -> History:
        """The ops of the `client` fixture so far."""
        return self.run.history

    def node(self, name: str) -> Node:
        """A node: its real address, ports and home."""
        return self.run.cluster.node(name)

    def host(self, name: str) -> str:
        """The address at which clients reach the node, through its link."""
        return self.run.cluster.client_host(name)

    def state(self, name: str) -> str:
        """`running`, `paused` or `down`."""
        return self.run.cluster.state(name)

    def holders(self, role: str) -> tuple[str, ...]:
        """The nodes that hold a role now; may be empty."""
        return self._portal.call(self.run.cluster.holders(role))

    def wait_serving(self, within_s: float = 15.0) -> None:
        """Wait until every node serves. Raises `AssertionError` naming those that do not."""
        missing = self._portal.call(self.run.cluster.wait_serving(within_s))
        assert not missing, f"{', '.join(missing)} did not serve within {within_s:g} s"

    def expect(self, check: Check, *, verdict: Result = "valid") -> Verdict:
        """Judge the ops of the `client` fixture so far; see `run.expect`."""
        return self.run.expect(check, verdict=verdict)


class NemesisSteps:
    """Faults as context managers: in force inside the `with` block, proved and healed."""

    def __init__(self, run: Run, portal: Portal) -> None:
        self._run = run
        self._portal = portal
        self._count = 0

    @contextmanager
    def inject(self, fault: Fault) -> Iterator[tuple[str, ...]]:
        """Any fault, e.g. `faults.pause(who="leader")`; gives the nodes that were hit."""
        members = faults.Members.of(self._run.cluster.target)
        self._count += 1
        id = f"f{self._count}"
        resolved = fault.resolve(stream(self._run.plan.seed, "steps", id), members, DRAWN_S)
        site = self._portal.call(self._run.nemesis.inject(id, resolved))
        try:
            yield site.nodes
        finally:
            self._portal.call(self._run.nemesis.heal(site))

    @contextmanager
    def netsplit(self, *groups: set[str] | list[str], how: str = "drop") -> Iterator[None]:
        """Cut every link between different `groups` of nodes."""
        split = faults.netsplit("groups", groups=[sorted(group) for group in groups], how=how)  # type: ignore[arg-type]
        with self.inject(split):
            yield

    @contextmanager
    def kill(self, who: str = "random") -> Iterator[tuple[str, ...]]:
        """SIGKILL; started again at the end of the block."""
        with self.inject(faults.kill(who=who)) as nodes:
            yield nodes

    @contextmanager
    def pause(self, who: str = "random") -> Iterator[tuple[str, ...]]:
        """SIGSTOP; thawed at the end of the block."""
        with self.inject(faults.pause(who=who)) as nodes:
            yield nodes


class ClientSteps:
    """A recorded client. Any method call is an operation: `client.write("r1", 7)` returns the
    `Op` with its `outcome` (`ok`, `fail`, `info`), `result` and `error`; it never raises for them.
    """

    def __init__(self, run: Run, portal: Portal, kind: type[Client], number: int = 0) -> None:
        self._run = run
        self._portal = portal
        self._kind = kind
        names = run.cluster.names
        self._threads = ThreadPoolExecutor(2, "client")
        self._session = Session(
            kind,
            run.experiment.target,
            Endpoint(names[number], run.cluster.client_host(names[number])),
            run.recorder,
            number=number,
            stride=len(names),
            timeout_s=OP_TIMEOUT_S,
            threads=self._threads,
        )
        self._others: dict[str, ClientSteps] = {names[number]: self}

    def on(self, node: str) -> ClientSteps:
        """The client that is connected to `node`. The first one is on `node-1`."""
        names = self._run.cluster.names
        if node not in names:
            raise UsageError(f"There is no node {node!r}.", do=f"Nodes: {', '.join(names)}.")
        if node not in self._others:
            other = ClientSteps(self._run, self._portal, self._kind, names.index(node))
            other._others = self._others
            self._others[node] = other
        return self._others[node]

    def __getattr__(self, f: str) -> Any:
        if f.startswith("_") or not callable(getattr(self._kind, f, None)):
            raise AttributeError(f"{self._kind.__name__} has no operation {f!r}")

        def operation(key: Any = None, *values: Any, **named: Any) -> Op:
            return self._portal.call(self._session.call(Request(f, key, values, named or None)))

        return operation

    def close(self) -> None:
        """Close the connections of this client and of those on other nodes."""
        for one in self._others.values():
            self._portal.call(one._session.close())
            one._threads.shutdown(wait=False, cancel_futures=True)
