"""What the harness costs per recorded op: a workload with a client that does nothing.

Budget: at most 20 µs per op, at least 20 000 ops/s on one core. Everything is counted: drawing the
operation, the deadline, the call, two records as JSON, the file.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from harness import Client, registers
from harness.record.recorder import Recorder
from harness.target import Target
from harness.workload.drive import Drive, Endpoint

RUN_S = 2.0
BUDGET_US = 20.0


class NoOp(Client):
    async def read(self, key: str) -> int:
        return 1

    async def write(self, key: str, value: int) -> None:
        return None

    async def cas(self, key: str, expected: int | None, new: int) -> None:
        return None


class Nothing(Target):
    name = "nothing"
    ports = {"none": 1}  # noqa: RUF012


async def measure(path: Path, clients: int) -> tuple[float, int]:
    """CPU microseconds per op, and the ops recorded."""
    recorder = Recorder(path, time.monotonic_ns())
    workload = registers(NoOp, clients=clients, rate=None)
    drive = Drive(workload, Nothing(), [Endpoint("node-1", "127.0.0.1")], recorder, seed=1)
    cpu = time.process_time()
    running = asyncio.create_task(drive.run())
    await asyncio.sleep(RUN_S)
    drive.stop()
    await running
    used_s = time.process_time() - cpu
    await drive.close()
    recorder.close()
    return used_s / len(recorder.ops) * 1e6, len(recorder.ops)


def main() -> None:
    print("clients  CPU µs/op  of budget    ops/s")
    for clients in (1, 10, 100):
        with tempfile.TemporaryDirectory() as folder:
            cost_us, ops = asyncio.run(measure(Path(folder) / "history.jsonl", clients))
        print(f"{clients:7}  {cost_us:9.1f}  {cost_us / BUDGET_US:8.2f}×  {ops / RUN_S:8.0f}")


if __name__ == "__main__":
    main()
