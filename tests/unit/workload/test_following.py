"""Clients that follow a script: each op by its client, at its moment, and no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from harness import Client, Target, Workload
from harness.errors import UsageError
from harness.history import Op
from harness.record.recorder import Recorder
from harness.workload import SEEN, Request
from harness.workload.drive import Drive, Endpoint, by_client
from harness.workload.script import PlannedOp


class Nothing(Target):
    name = "nothing"
    ports: ClassVar = {"none": 1}


class Memory(Client):
    """Knows what was written last, by anybody."""

    held: ClassVar[dict[str, Any]] = {}

    async def read(self, key: str) -> Any:
        return self.held.get(key)

    async def write(self, key: str, value: Any) -> None:
        self.held[key] = value

    async def cas(self, key: str, expected: Any, new: Any) -> Any:
        self.held[key] = new
        return [expected, new]


def never(*_: Any) -> Any:
    raise AssertionError("a script draws nothing")
    yield


def followed(
    folder: Path,
    script: list[PlannedOp],
    work: Callable[[Drive], Awaitable[None]],
    *,
    clients: int = 3,
    **options: Any,
) -> list[Op]:
    """What was recorded while `work` went on beside the clients."""

    async def main() -> list[Op]:
        recorder = Recorder(folder / "history.jsonl", time.monotonic_ns())
        endpoints = [Endpoint(f"node-{number}", "127.0.0.1") for number in (1, 2)]
        workload = Workload(
            name="test", client=Memory, requests=never, clients=clients, **options.pop("more", {})
        )
        drive = Drive(workload, Nothing(), endpoints, recorder, 7, script=script, **options)
        running = asyncio.create_task(drive.run())
        try:
            async with asyncio.timeout(10):
                await work(drive)
                drive.stop()
                await running
        finally:
            running.cancel()
            await drive.close()
            recorder.close()
        return recorder.ops

    return asyncio.run(main())


async def to_the_end(drive: Drive) -> None:
    await asyncio.sleep(0.05)
    drive.faults_begin()
    await drive.script_done()


def test_each_op_is_invoked_by_its_client_at_its_moment(tmp_path: Path) -> None:
    begun = 0

    async def work(drive: Drive) -> None:
        nonlocal begun
        await asyncio.sleep(0.2)
        begun = drive._recorder.now()
        drive.faults_begin()
        await drive.script_done()

    script = [
        PlannedOp(2, 0.3, Request("write", "k", (3,))),
        PlannedOp(0, -0.1, Request("write", "k", (1,))),
        PlannedOp(2, 0.1, Request("write", "k", (2,))),
    ]
    ops = followed(tmp_path, script, work)
    assert [(op.process, op.value, op.node) for op in ops] == [
        (0, 1, "node-1"),
        (2, 2, "node-1"),
        (2, 3, "node-1"),
    ]
    assert ops[0].start < begun
    for op, at_s in zip(ops[1:], (0.1, 0.3), strict=True):
        assert op.start >= begun + at_s * 1e9 - 5e6


def test_what_a_client_had_seen_is_bound_anew(tmp_path: Path) -> None:
    Memory.held["k"] = 41
    script = [
        PlannedOp(0, 0.0, Request("cas", "k", (SEEN, 1))),
        PlannedOp(0, 0.01, Request("read", "k")),
        PlannedOp(0, 0.02, Request("cas", "k", (SEEN, 2))),
    ]
    Memory.held["k"] = 7
    ops = followed(tmp_path, script, to_the_end)
    assert [op.value for op in ops] == [[None, 1], None, [1, 2]]


def test_clients_that_wait_repeat_their_reads_if_they_are_asked_to(tmp_path: Path) -> None:
    script = [
        PlannedOp(0, -0.01, Request("read", "a")),
        PlannedOp(0, 0.0, Request("write", "a", (1,))),
        PlannedOp(1, 0.0, Request("write", "b", (2,))),
    ]

    async def work(drive: Drive) -> None:
        await asyncio.sleep(0.3)
        drive.faults_begin()
        await drive.script_done()
        await asyncio.sleep(0.3)

    more = {"rate": 60.0}
    ops = followed(tmp_path, script, work, keep_reading=True, more=more)
    assert sorted(op.value for op in ops if op.f == "write") == [1, 2]
    reads = [op for op in ops if op.f == "read"]
    assert len(reads) >= 5
    assert {(op.process, op.key) for op in reads} == {(0, "a")}
    assert any(op.start > ops[-1].start - 2e8 for op in reads)
    assert len(followed(tmp_path, script, work, more=more)) == 3


def test_a_script_without_ops_goes_on_until_it_is_told_to_end(tmp_path: Path) -> None:
    assert followed(tmp_path, [], to_the_end) == []


def test_a_client_that_the_workload_has_not_is_refused() -> None:
    with pytest.raises(UsageError, match="client 3"):
        by_client([PlannedOp(3, 0.0, Request("read", "a"))], clients=3)
