"""How the end of a client's call becomes an outcome, and how a workload is driven."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness import Client, Refused, Target, Unavailable, Workload, registers
from harness.errors import BrokenError, UsageError
from harness.history import MISMATCH, History, Op
from harness.record.recorder import Recorder
from harness.workload.drive import Drive, Endpoint
from harness.workload.workload import Request


class Nothing(Target):
    name = "nothing"
    ports: ClassVar = {"none": 1}


def drive_of(
    kind: type[Client],
    folder: Path,
    *,
    nodes: int = 1,
    dependencies: tuple[str, ...] = (),
    **options: Any,
) -> tuple[Drive, Recorder]:
    recorder = Recorder(folder / "history.jsonl", time.monotonic_ns())
    endpoints = [Endpoint(f"node-{number + 1}", "127.0.0.1") for number in range(nodes)]
    workload = Workload(name="test", client=kind, **options)
    others = [Endpoint(name, "127.0.0.1") for name in dependencies]
    return Drive(workload, Nothing(), endpoints, recorder, 7, others), recorder


def once(*requests: Request) -> Any:
    """A workload of exactly these operations, then the same read for ever."""

    def stream(rng: Any, number: int, observed: Any) -> Any:
        yield from requests
        while True:
            yield Request("read", "k")

    return stream


def run_until(drive: Drive, recorder: Recorder, ops: int) -> list[Op]:
    """Run the clients until so many ops are complete; all ops they recorded."""

    async def run() -> None:
        running = asyncio.create_task(drive.run())
        async with asyncio.timeout(10):
            while sum(recorder.outcomes.values()) < ops and not running.done():
                await asyncio.sleep(0)
        drive.stop()
        try:
            await running
        finally:
            await drive.close()
            recorder.close()

    asyncio.run(run())
    return recorder.ops


class Scripted(Client):
    """Ends each operation as its name says."""

    async def read(self, key: str) -> int:
        return 1

    async def answer(self, key: str, value: int) -> int:
        return value + 1

    async def say_nothing(self, key: str, value: int) -> None:
        return None

    async def refuse(self, key: str, value: int) -> None:
        raise Refused

    async def be_unavailable(self, key: str, value: int) -> None:
        raise Unavailable("not leader")

    async def break_off(self, key: str, value: int) -> None:
        raise ConnectionResetError("gone")

    async def hang(self, key: str, value: int) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("f", "outcome", "result", "error"),
    [
        ("answer", "ok", 6, None),
        ("say_nothing", "ok", 5, None),
        ("refuse", "fail", 5, MISMATCH),
        ("be_unavailable", "fail", 5, "unavailable: not leader"),
        ("break_off", "info", None, "ConnectionResetError: gone"),
        ("hang", "info", None, "timeout"),
    ],
)
def test_the_end_of_a_call_decides_the_outcome(
    tmp_path: Path, f: str, outcome: str, result: Any, error: str | None
) -> None:
    drive, recorder = drive_of(
        Scripted, tmp_path, requests=once(Request(f, "k", (5,))), clients=1, op_timeout=0.05
    )
    first = run_until(drive, recorder, 2)[0]
    assert (first.outcome, first.result, first.error) == (outcome, result, error)


def test_a_process_is_never_heard_of_again_after_an_info_op(tmp_path: Path) -> None:
    drive, recorder = drive_of(
        Scripted,
        tmp_path,
        requests=once(Request("break_off", "k", (1,)), Request("break_off", "k", (2,))),
        clients=2,
    )
    ops = run_until(drive, recorder, 8)
    lost = {op.process for op in ops if op.outcome == "info"}
    assert len(lost) == 4
    for process in lost:
        assert [op.outcome for op in ops if op.process == process] == ["info"]
    # Pairing the records again accepts what was written.
    assert len(History.read(tmp_path / "history.jsonl")) == len(ops)


def test_a_failed_read_certainly_had_no_effect(tmp_path: Path) -> None:
    class Broken(Client):
        async def read(self, key: str) -> None:
            raise ConnectionResetError("gone")

    drive, recorder = drive_of(Broken, tmp_path, requests=once(), clients=1)
    ops = run_until(drive, recorder, 3)
    assert {op.outcome for op in ops} == {"fail"}
    assert {op.process for op in ops} == {0}


def test_what_was_never_sent_certainly_had_no_effect(tmp_path: Path) -> None:
    class Unreachable(Client):
        async def open(self) -> None:
            raise ConnectionRefusedError("nobody there")

        async def write(self, key: str, value: int) -> None:
            raise AssertionError("must not be called")

    drive, recorder = drive_of(
        Unreachable, tmp_path, requests=once(*[Request("write", "k", (1,))] * 3), clients=1
    )
    ops = run_until(drive, recorder, 3)
    assert {op.outcome for op in ops if op.f == "write"} == {"fail"}


def test_a_client_is_closed_and_opened_again_after_a_failure(tmp_path: Path) -> None:
    opened: list[str] = []

    class Counting(Scripted):
        async def open(self) -> None:
            opened.append("open")

        async def close(self) -> None:
            opened.append("close")

    drive, recorder = drive_of(
        Counting, tmp_path, requests=once(Request("break_off", "k", (1,))), clients=1
    )
    run_until(drive, recorder, 3)
    assert opened == ["open", "close", "open", "close"]


def test_plain_methods_run_in_threads_and_meet_their_deadline(tmp_path: Path) -> None:
    release = threading.Event()
    threads: set[str] = set()

    class Plain(Client):
        def read(self, key: str) -> int:
            threads.add(threading.current_thread().name)
            return 3

        def write(self, key: str, value: int) -> None:
            release.wait(5)

    drive, recorder = drive_of(
        Plain,
        tmp_path,
        requests=once(Request("write", "k", (1,))),
        clients=1,
        op_timeout=0.05,
    )
    try:
        ops = run_until(drive, recorder, 3)
    finally:
        release.set()
    assert [op.outcome for op in ops[:2]] == ["info", "ok"]
    assert ops[1].result == 3
    assert threads and threading.current_thread().name not in threads


def test_a_programming_error_in_a_client_ends_the_run_with_its_line(tmp_path: Path) -> None:
    class Wrong(Client):
        async def read(self, key: str) -> None:
            self.conection.read(key)  # type: ignore[attr-defined]

    drive, recorder = drive_of(Wrong, tmp_path, requests=once(), clients=1)
    with pytest.raises(ExceptionGroup) as raised:
        run_until(drive, recorder, 1)
    error = raised.value.exceptions[0]
    assert isinstance(error, UsageError)
    assert "Wrong" in str(error) and "test_drive.py" in str(error)


def test_a_wrong_signature_in_a_client_is_a_programming_error(tmp_path: Path) -> None:
    class Wrong(Client):
        async def read(self) -> None:  # the key is missing
            return None

    drive, recorder = drive_of(Wrong, tmp_path, requests=once(), clients=1)
    with pytest.raises(ExceptionGroup) as raised:
        run_until(drive, recorder, 1)
    assert isinstance(raised.value.exceptions[0], UsageError)


def raised_by(drive: Drive, recorder: Recorder) -> str:
    """The message that ends the run."""
    with pytest.raises(ExceptionGroup) as raised:
        run_until(drive, recorder, 10**9)
    error = raised.value.exceptions[0]
    assert isinstance(error, UsageError)
    return str(error)


def test_a_method_that_the_client_does_not_have_is_named_with_those_it_has(tmp_path: Path) -> None:
    class ShopClient(Client):
        prices: ClassVar[dict[str, int]] = {}

        async def catalog(self) -> None: ...

        def quote(self, key: str) -> None: ...

    drive, recorder = drive_of(ShopClient, tmp_path, requests=once(Request("catalogue")), clients=1)
    assert "ShopClient has no method catalogue; it has catalog, quote." in raised_by(
        drive, recorder
    )


def test_an_attribute_missing_in_a_method_of_the_client_is_no_missing_method(
    tmp_path: Path,
) -> None:
    class Wrong(Client):
        async def read(self, key: str) -> None:
            self.target.read(key)  # type: ignore[attr-defined]

    drive, recorder = drive_of(Wrong, tmp_path, requests=once(), clients=1)
    assert "programming error" in raised_by(drive, recorder)


def five(rng: Any, number: int, observed: Any) -> Any:
    yield from [Request("read", "k")] * 5


def failing(rng: Any, number: int, observed: Any) -> Any:
    yield Request("read", "k")
    raise ValueError("no more ideas")


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        (five, "The requests of client 0 of workload test ended after 5."),
        (failing, "ValueError: no more ideas"),
        (lambda rng, number, observed: None, "'NoneType' object is not iterable"),
        (lambda rng, number, observed: ["read"], "hold 'read', which is no Request"),
    ],
)
def test_wrong_requests_end_the_run_with_a_message(
    requests: Any, said: str, tmp_path: Path
) -> None:
    drive, recorder = drive_of(Scripted, tmp_path, requests=requests, clients=1)
    assert said in raised_by(drive, recorder)


def test_the_same_kind_of_error_inside_a_library_is_not_the_clients_fault(tmp_path: Path) -> None:
    class Fine(Client):
        async def read(self, key: str) -> None:
            json.loads(None)  # type: ignore[arg-type]

    drive, recorder = drive_of(Fine, tmp_path, requests=once(), clients=1)
    assert run_until(drive, recorder, 1)[0].outcome == "fail"


def test_a_value_that_is_no_json_is_refused(tmp_path: Path) -> None:
    class Odd(Client):
        async def read(self, key: str) -> object:
            return object()

    drive, recorder = drive_of(Odd, tmp_path, requests=once(), clients=1)
    with pytest.raises(ExceptionGroup) as raised:
        run_until(drive, recorder, 1)
    assert isinstance(raised.value.exceptions[0], BrokenError)


def test_clients_stay_with_their_node(tmp_path: Path) -> None:
    drive, recorder = drive_of(Scripted, tmp_path, requests=once(), clients=5, nodes=2)
    ops = run_until(drive, recorder, 40)
    nodes = {op.process: op.node for op in ops}
    assert nodes == {0: "node-1", 1: "node-2", 2: "node-1", 3: "node-2", 4: "node-1"}


def test_the_same_seed_asks_the_same(tmp_path: Path) -> None:
    class Memory(Client):
        async def read(self, key: str) -> int:
            return 1

        async def write(self, key: str, value: int) -> None:
            return None

    def asked(folder: str) -> list[tuple[Any, ...]]:
        (tmp_path / folder).mkdir()
        recorder = Recorder(tmp_path / folder / "history.jsonl", time.monotonic_ns())
        workload = registers(Memory, clients=3, cas=0, rate=None)
        drive = Drive(workload, Nothing(), [Endpoint("node-1", "127.0.0.1")], recorder, seed=11)
        ops = run_until(drive, recorder, 300)
        return [(op.f, op.key, op.value) for op in ops if op.process == 1][:50]

    assert asked("a") == asked("b")


def test_a_rate_is_kept(tmp_path: Path) -> None:
    drive, recorder = drive_of(Scripted, tmp_path, requests=once(), clients=4, rate=400)
    ops = run_until(drive, recorder, 80)
    took_s = (ops[-1].start - ops[0].start) / 1e9
    # 80 ops at 400/s are 0.2 s. A slow machine takes longer; it may never be much faster.
    assert took_s > 0.15


def test_nodes_that_never_answer_are_named(tmp_path: Path) -> None:
    class HalfDead(Client):
        async def read(self, key: str) -> int:
            if self.node == "node-2":
                raise ConnectionResetError
            return 1

    drive, recorder = drive_of(HalfDead, tmp_path, requests=once(), clients=2, nodes=2)

    async def run() -> list[str]:
        running = asyncio.create_task(drive.run())
        silent = await drive.answered_since(0, least_s=0, bound_s=0.2)
        drive.stop()
        await running
        await drive.close()
        return silent

    assert asyncio.run(run()) == ["node-2"]
    recorder.close()


def test_final_reads_are_repeated_until_the_nodes_agree(tmp_path: Path) -> None:
    asked = 0

    class Converging(Client):
        async def read(self, key: str) -> int:
            nonlocal asked
            asked += 1
            return 1 if self.node == "node-1" or asked > 6 else 0

    drive, recorder = drive_of(
        Converging, tmp_path, requests=once(), final=[Request("read", "k")], clients=1, nodes=2
    )

    async def run() -> list[str]:
        try:
            return await drive.final_reads(bound_s=5)
        finally:
            await drive.close()

    assert asyncio.run(run()) == []
    recorder.close()
    assert all(op.final for op in recorder.ops)
    assert {op.node: op.result for op in recorder.ops} == {"node-1": 1, "node-2": 1}
    assert len(recorder.ops) > 4


def test_a_final_read_of_a_dependency_is_asked_there_alone_and_its_answer_is_its_own(
    tmp_path: Path,
) -> None:
    class Ledgers(Client):
        reads = frozenset({"total", "ledger"})

        async def total(self, key: str) -> str:
            return "the same on all nodes"

        async def ledger(self) -> str:
            return self.node

    drive, recorder = drive_of(
        Ledgers,
        tmp_path,
        requests=once(),
        final=[
            Request("total", "k"),
            Request("ledger", at="store"),
            Request("ledger", at="node-2"),
        ],
        clients=1,
        nodes=2,
        dependencies=("store", "mail"),
    )

    async def read() -> list[str]:
        try:
            return await drive.final_reads(bound_s=5)
        finally:
            await drive.close()

    assert asyncio.run(read()) == []
    recorder.close()
    asked = sorted((op.f, op.node, op.result) for op in recorder.ops)
    assert asked == [
        ("ledger", "node-2", "node-2"),
        ("ledger", "store", "store"),
        ("total", "node-1", "the same on all nodes"),
        ("total", "node-2", "the same on all nodes"),
    ]


def test_what_is_not_answered_in_the_end_is_told_with_its_reason(tmp_path: Path) -> None:
    class Deaf(Client):
        async def read(self, key: str) -> int:
            raise OSError("no route to it")

    drive, recorder = drive_of(
        Deaf,
        tmp_path,
        requests=once(),
        final=[Request("read", "k"), Request("read", "l")],
        clients=1,
    )

    async def read() -> list[str]:
        try:
            return await drive.final_reads(bound_s=0.05)
        finally:
            await drive.close()

    assert asyncio.run(read()) == [
        "node-1 did not answer read (unavailable: OSError: no route to it)"
    ]
    recorder.close()


class Counting(Client):
    """One that fails now and then, and counts in its memory how often it was opened."""

    async def open(self) -> None:
        self.memory["opened"] = self.memory.get("opened", 0) + 1

    async def fail(self, key: str) -> None:
        raise OSError("cut off")

    async def read(self, key: str, user: int = 0) -> int:
        return int(self.memory["opened"])


def test_what_a_user_remembers_survives_its_connections(tmp_path: Path) -> None:
    requests = once(Request("fail", "k"), Request("read", "k"), Request("fail", "k"))
    drive, recorder = drive_of(Counting, tmp_path, requests=requests, clients=2)
    ops = run_until(drive, recorder, 10)
    recorder.close()
    assert [op.result for op in ops if op.f == "read" and op.process % 2 == 0][:2] == [2, 3]


def test_each_client_asks_its_own_final_reads_after_those_of_the_nodes(tmp_path: Path) -> None:
    drive, recorder = drive_of(
        Counting,
        tmp_path,
        requests=once(),
        final=[Request("read", "k")],
        own_final=lambda client: [Request("read", "k", (client,))],
        clients=3,
        nodes=2,
    )

    async def read() -> list[str]:
        try:
            return await drive.final_reads(bound_s=5)
        finally:
            await drive.close()

    assert asyncio.run(read()) == []
    recorder.close()
    assert [(op.value, op.node, op.final) for op in recorder.ops] == [
        (None, "node-1", True),
        (None, "node-2", True),
        (0, "node-1", True),
        (1, "node-2", True),
        (2, "node-1", True),
    ]


def test_own_final_reads_that_are_not_answered_are_told(tmp_path: Path) -> None:
    drive, recorder = drive_of(
        Counting,
        tmp_path,
        requests=once(),
        own_final=lambda client: [Request("fail", "k")],
        clients=1,
    )

    async def read() -> list[str]:
        try:
            return await drive.final_reads(bound_s=0)
        finally:
            await drive.close()

    assert asyncio.run(read()) == ["node-1 did not answer fail (OSError: cut off)"]
    recorder.close()
