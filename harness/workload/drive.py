"""Driving a workload: the clients' loops, and how the end of a call becomes an outcome (D7)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from harness import seeds
from harness.errors import PROGRAMMING, UsageError, origin, with_place
from harness.history import MISMATCH, Op
from harness.record.recorder import FLUSH_INTERVAL_S, Recorder
from harness.target import Target
from harness.workload._requests import endless
from harness.workload.client import Client, Refused, Unavailable
from harness.workload.script import PlannedOp, call_note, stride
from harness.workload.workload import Observed, Request, Workload

_OPEN_RETRY_S = 0.02
"""Pause after a failed connection: a refusal takes no time, and a closed loop would spin."""

_IDLE_S = 0.05
"""The least pause between two reads of a client that waits."""

_LOOK_S = 0.02
"""How often the answers of the nodes are looked at while they are waited for."""

_FINAL_ROUND_S = 0.1
"""Pause between rounds of final reads while the nodes do not agree yet."""


@dataclass(frozen=True)
class Endpoint:
    """A node as clients reach it: its name and the address of the link from `client`."""

    node: str
    host: str


class Session:
    """One logical client: at most one connection, one open op, and a process id that is retired
    and replaced whenever nobody knows how an op ended."""

    def __init__(
        self,
        workload_client: type[Client],
        target: Target,
        endpoint: Endpoint,
        recorder: Recorder,
        *,
        number: int,
        stride: int,
        timeout_s: float,
        threads: ThreadPoolExecutor,
    ) -> None:
        self.endpoint = endpoint
        self._kind = workload_client
        self._target = target
        self._recorder = recorder
        self._process = number
        self._stride = stride
        self._timeout_s = timeout_s
        self._threads = threads
        self._client: Client | None = None
        self._memory: dict[str, Any] = {}

    async def call(
        self, request: Request, *, final: bool = False, observed: Observed | None = None
    ) -> Op:
        """Carry out one operation, record it, and return it. Never raises for how it ended,
        except for a method that is missing or a value that no history can hold. `observed` is
        what its client knows."""
        recorder, f = self._recorder, request.f
        call = call_note(request)
        request = request.bound(observed or {})
        op = recorder.invoke(
            self._process, f, request.key, request.value, self.endpoint.node, final, call
        )
        sent = False
        try:
            async with asyncio.timeout(self._timeout_s):
                client = self._client or await self._open()
                method = getattr(client, f)
                arguments = (
                    request.values if request.key is None else (request.key, *request.values)
                )
                named = request.named or {}
                sent = True
                if inspect.iscoroutinefunction(method):
                    answer = await method(*arguments, **named)
                else:
                    answer = await self._in_thread(method, *arguments, **named)
        except Refused:
            recorder.complete(op, "fail", request.value, MISMATCH)
        except Unavailable as unavailable:
            recorder.complete(op, "fail", request.value, f"unavailable: {unavailable}")
        except asyncio.CancelledError:
            self._lost(op, "the run ended first")
            raise
        except Exception as error:
            if _is_bug(error, self._kind):
                self._lost(op, f"client bug: {error}")
                raise _client_bug(self._kind, f, error) from error
            reason = "timeout" if isinstance(error, TimeoutError) else _reason(error)
            if not sent or f in self._kind.reads:
                recorder.complete(op, "fail", request.value, f"unavailable: {reason}")
            else:
                self._lost(op, reason)
            await self.close()
        else:
            told = answer is not None or f in self._kind.reads
            recorder.complete(op, "ok", answer if told else request.value)
        if not sent:
            await asyncio.sleep(_OPEN_RETRY_S)
        return op

    async def close(self) -> None:
        """Let go of the connection; the next call opens a new one."""
        client, self._client = self._client, None
        if client is None:
            return
        with contextlib.suppress(Exception):
            async with asyncio.timeout(self._timeout_s):
                if inspect.iscoroutinefunction(client.close):
                    await client.close()
                else:
                    await self._in_thread(client.close)

    def _lost(self, op: Op, reason: str) -> None:
        """Nobody knows how `op` ended: this process is never heard of again."""
        self._recorder.complete(op, "info", op.value, reason)
        self._process += self._stride

    async def _open(self) -> Client:
        client = self._kind(self._target, self.endpoint.node, self.endpoint.host)
        client.memory = self._memory
        self._client = client  # set first: a half-opened client is closed as well
        if inspect.iscoroutinefunction(client.open):
            await client.open()
        else:
            await self._in_thread(client.open)
        return client

    async def _in_thread(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        call = functools.partial(method, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


class Drive:
    """All sessions of a workload over the nodes of a cluster.

    Client *c* talks to node *c mod n* and to no other: what a cut-off node answers is seen. With a
    `script` the clients invoke its ops at their moments, and none else. With `by_hand` somebody
    else decides what is invoked, with `invoke` in the place of `run`.
    """

    def __init__(
        self,
        workload: Workload,
        target: Target,
        endpoints: list[Endpoint],
        recorder: Recorder,
        seed: int,
        dependencies: Sequence[Endpoint] = (),
        script: Sequence[PlannedOp] | None = None,
        *,
        by_hand: bool = False,
        keep_reading: bool = False,
    ) -> None:
        self._keep_reading = keep_reading
        self._unfinished = 0
        self._script_done = asyncio.Event()
        self._asks = by_hand or script is not None
        self._workload = workload
        self._endpoints = endpoints
        self._recorder = recorder
        self._seed = seed
        self._stopping = asyncio.Event()
        self._faults_began = asyncio.Event()
        self._faults_began_s = 0.0
        self._parts = None if script is None else by_client(script, workload.clients)
        numbers = range(workload.clients) if self._parts is None else sorted(self._parts)
        talked_to = [endpoints[n % len(endpoints)].node for n in numbers]
        self._answered: dict[str, int | None] = dict.fromkeys(talked_to)
        """Node → when the newest op that it answered began."""
        # Twice the clients: a thread that outlived its deadline must not block its successor.
        final_readers = [*endpoints, *dependencies]
        self._threads = ThreadPoolExecutor(2 * workload.clients + len(final_readers), "client")
        steps = stride(workload.clients, len(final_readers))

        def session(number: int, endpoint: Endpoint) -> Session:
            return Session(
                workload.client,
                target,
                endpoint,
                recorder,
                number=number,
                stride=steps,
                timeout_s=workload.op_timeout_s,
                threads=self._threads,
            )

        self._sessions = {
            number: session(number, endpoints[number % len(endpoints)]) for number in numbers
        }
        self._final_sessions = [
            session(workload.clients + number, endpoint)
            for number, endpoint in enumerate(final_readers)
        ]

    async def run(self) -> None:
        """Run all clients until `stop` is called; then each finishes the op it is in."""
        flusher = asyncio.create_task(self._flush())
        self._unfinished = len(self._sessions)
        try:
            async with asyncio.TaskGroup() as group:
                for number, session in self._sessions.items():
                    if self._parts is None:
                        work = self._client(number, session)
                    else:
                        work = self._follow(self._parts[number], session)
                    group.create_task(work)
                if not self._sessions:  # (of a script without ops)
                    await self._stopping.wait()
        finally:
            flusher.cancel()
            self._recorder.flush()

    async def invoke(self, client: int, request: Request, observed: Observed) -> Op:
        """One op of a client, which must have none open. `observed` is what it knows."""
        return await self._invoke(request, self._sessions[client], observed)

    def ask_finally(self, final: Sequence[Request]) -> None:
        """From now on the final reads are these."""
        self._workload = replace(self._workload, final=final)

    def stop(self) -> None:
        """Let the clients end, each after the op it is in."""
        self._stopping.set()
        self._faults_began.set()

    @property
    def scripted(self) -> bool:
        """Whether the clients follow a script."""
        return self._parts is not None

    async def script_done(self) -> None:
        """Wait until all clients have come to the end of their script, if there is one."""
        if self._parts:
            await self._script_done.wait()

    def faults_begin(self) -> None:
        """The faults' phase begins now: what the moments of a script count from."""
        self._faults_began_s = asyncio.get_running_loop().time()
        self._faults_began.set()

    async def answered_since(self, since: int, least_s: float, bound_s: float) -> list[str]:
        """Wait at least `least_s` seconds, and until every node that clients talk to has answered
        an op begun after `since` (nanoseconds of the run).

        Returns the nodes that did not within `bound_s` seconds; none is what is hoped for.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            silent = [
                node
                for node, answered in self._answered.items()
                if answered is None or answered < since
            ]
            waited_s = loop.time() - begun
            if waited_s >= least_s and (not silent or waited_s >= bound_s):
                return silent
            if self._asks and waited_s >= least_s:
                await self._ask(silent)
            await asyncio.sleep(_LOOK_S)

    async def final_reads(self, bound_s: float) -> list[str]:
        """Ask every node the workload's final reads, in rounds, until all answer the same or
        `bound_s` seconds have passed. Those with `at` are asked there alone. Then each client asks
        its own final reads, each until it is answered or that time is over.

        Returns which reads were not answered at last, in words. Whether the answers are right is
        not judged here: they are in the history, marked `final`.
        """
        deadline = asyncio.get_running_loop().time() + bound_s
        unanswered = await self._agreed(deadline)
        # Also of a cluster that does not agree: what each client knows shows why.
        return [*unanswered, *await self._own_finals(deadline)]

    async def _agreed(self, deadline: float) -> list[str]:
        """The rounds of final reads; which were not answered in the last one."""
        if not self._workload.final:
            return []
        shared = {request.f for request in self._workload.final if request.at is None}
        loop = asyncio.get_running_loop()
        while True:
            rounds = await asyncio.gather(*(self._read_all(s) for s in self._final_sessions))
            self._recorder.flush()
            lost = [op for ops in rounds for op in ops if op.outcome != "ok"]
            # One of a node says enough: the others fail for the same reason.
            by_node = {
                op.node: f"{op.node} did not answer {op.f} ({op.error})" for op in lost[::-1]
            }
            unanswered = list(by_node.values())[::-1]
            nodes = len(self._endpoints)
            results = [[op.result for op in ops if op.f in shared] for ops in rounds[:nodes]]
            if not unanswered and all(result == results[0] for result in results):
                return []
            if loop.time() >= deadline:
                return unanswered
            await asyncio.sleep(_FINAL_ROUND_S)

    async def _own_finals(self, deadline: float) -> list[str]:
        """The final reads of the clients themselves, all clients at the same time; which were not
        answered, one of each node."""
        own = self._workload.own_final
        if own is None:
            return []

        async def ask(session: Session, requests: Sequence[Request]) -> list[Op]:
            return [await self._until_answered(one, session, deadline) for one in requests]

        asked = await asyncio.gather(
            *(ask(session, own(number)) for number, session in self._sessions.items())
        )
        self._recorder.flush()
        lost = {op.node: op for ops in asked for op in ops if op.outcome != "ok"}
        return [f"{node} did not answer {op.f} ({op.error})" for node, op in lost.items()]

    async def _until_answered(self, request: Request, session: Session, deadline: float) -> Op:
        while True:
            op = await session.call(request, final=True)
            if op.outcome == "ok" or asyncio.get_running_loop().time() >= deadline:
                return op
            await asyncio.sleep(_FINAL_ROUND_S)

    async def close(self) -> None:
        """Close every connection."""
        sessions = (*self._sessions.values(), *self._final_sessions)
        await asyncio.gather(*(session.close() for session in sessions))
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _read_all(self, session: Session) -> list[Op]:
        node, members = session.endpoint.node, {endpoint.node for endpoint in self._endpoints}
        return [
            await session.call(request, final=True)
            for request in self._workload.final
            if request.at == node or (request.at is None and node in members)
        ]

    async def _client(self, number: int, session: Session) -> None:
        workload = self._workload
        rng = seeds.stream(self._seed, "workload", f"client-{number}")
        observed: Observed = {}
        requests = endless(workload, rng, number, observed)
        pace = self._pace(rng)
        while not self._stopping.is_set():
            await self._pause(next(pace))
            if not self._stopping.is_set():
                await self._invoke(next(requests), session, observed)

    async def _follow(self, ops: Sequence[PlannedOp], session: Session) -> None:
        """Invoke the ops of one client's script, each at its moment or as soon as the one before
        it has ended."""
        now = asyncio.get_running_loop().time
        observed: Observed = {}
        # Those before the faults keep their distances; the first begins at once.
        begun_s = now() + self._lead_s
        reads = [op.request for op in ops if op.request.f in self._workload.client.reads]
        for planned in ops:
            if planned.at_s >= 0:
                await self._idle(self._faults_began, reads, session, observed)
                begun_s = self._faults_began_s
            await self._pause(begun_s + planned.at_s - now())
            if self._stopping.is_set():
                return
            await self._invoke(planned.request, session, observed)
        self._unfinished -= 1
        if self._unfinished == 0:
            self._script_done.set()
        await self._idle(self._stopping, reads, session, observed)

    async def _idle(
        self, until: asyncio.Event, reads: Sequence[Request], session: Session, observed: Observed
    ) -> None:
        """Wait for an event. If the steady state is looked at meanwhile, which needs ops to look
        at, the client repeats its reads: they have no effect."""
        if not self._keep_reading or not reads:
            await until.wait()
            return
        rate = self._workload.rate
        interval_s = _IDLE_S if rate is None else max(_IDLE_S, self._workload.clients / rate)
        for request in itertools.cycle(reads):
            if await _came(until, interval_s):
                return
            await self._invoke(request, session, observed)

    async def _pause(self, wait_s: float) -> None:
        """Wait, at most until the clients are told to end."""
        if wait_s <= 0:
            # A client whose answers never wait would otherwise starve all others.
            await asyncio.sleep(0)
            return
        await _came(self._stopping, wait_s)

    @property
    def _lead_s(self) -> float:
        """How long before the faults' phase the script begins."""
        firsts = [ops[0].at_s for ops in (self._parts or {}).values()]
        return max(0.0, -min(firsts, default=0.0))

    async def _invoke(self, request: Request, session: Session, observed: Observed) -> Op:
        op = await session.call(request, observed=observed)
        if op.answered:
            self._answered[session.endpoint.node] = op.start
        if op.outcome == "ok":
            value = op.result
            observed[op.key] = value[1] if op.f == "cas" else value
        return op

    async def _ask(self, nodes: Sequence[str]) -> None:
        """Ask `nodes` for the first of the final reads: a script may have no more ops for them.
        Where the workload has none, that they serve must do."""
        shared = next((r for r in self._workload.final if r.at is None), None)
        for session in self._final_sessions:
            node = session.endpoint.node
            if node not in nodes:
                continue
            start = self._recorder.now()
            if shared is None or (await session.call(shared)).answered:
                self._answered[node] = start

    def _pace(self, rng: random.Random) -> Iterator[float]:
        """How long to wait before each op, in seconds. Turns that passed meanwhile are skipped."""
        rate = self._workload.rate
        if rate is None:
            while True:
                yield 0.0
        interval_s = self._workload.clients / rate
        now = asyncio.get_running_loop().time
        # Clients start spread over one interval, so that they do not fire in step.
        due = now() + rng.random() * interval_s
        while True:
            wait_s = due - now()
            yield wait_s
            due += interval_s
            behind = now() - due
            if behind > 0:
                due += interval_s * (behind // interval_s)

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_S)
            self._recorder.flush()


def by_client(script: Sequence[PlannedOp], clients: int) -> dict[int, list[PlannedOp]]:
    """The ops of each client of a script, in order. Raises `UsageError` if one names a client that
    the workload has not."""
    parts: dict[int, list[PlannedOp]] = {}
    for op in sorted(script, key=lambda op: op.at_s):
        if not 0 <= op.client < clients:
            raise UsageError(
                f"The plan lists an op of client {op.client}.",
                why=f"Its workload has the clients 0 to {clients - 1}.",
                do="Correct the client of the op, or `clients` in the plan's workload.",
            )
        parts.setdefault(op.client, []).append(op)
    return parts


async def _came(event: asyncio.Event, within_s: float) -> bool:
    """Whether an event came within so many seconds, which are waited for."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
    return event.is_set()


def _reason(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_bug(error: Exception, kind: type[Client]) -> bool:
    """Whether the client itself is wrong."""
    if not isinstance(error, PROGRAMMING):
        return False
    return origin(error)[0] in (inspect.getfile(kind), __file__)


def _client_bug(kind: type[Client], f: str, error: Exception) -> UsageError:
    if isinstance(error, AttributeError) and error.name == f and origin(error)[0] == __file__:
        return UsageError(
            f"{kind.__name__} has no method {f}; it has {', '.join(_methods(kind)) or 'none'}.",
            do=f"Define `async def {f}(self, …)`, or correct the Request that names it.",
        )
    return UsageError(
        f"Client {kind.__name__} failed in {f!r} with a programming error.",
        why=with_place(error),
        do="Correct the client; errors of the system under test are other exceptions.",
    )


def _methods(kind: type[Client]) -> list[str]:
    """The operations that a client defines."""
    return [
        name
        for name in dir(kind)
        if not name.startswith("_") and not hasattr(Client, name) and callable(getattr(kind, name))
    ]
