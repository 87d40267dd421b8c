"""Resource samples of real processes."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import psutil
import pytest

from harness.runtime.process import ProcessRuntime
from harness.runtime.resources import Sampler, record
from tests.support.nodes import ask, node_spec, wait_until

pytestmark = pytest.mark.live

NODES = ("node-1", "node-2")


def test_samples_of_all_nodes_are_written_until_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "resources.jsonl"

    async def main() -> None:
        runtime = await ProcessRuntime.create(NODES, logs=tmp_path, run_id="test")
        async with runtime:
            await runtime.start_all([node_spec(runtime, node) for node in NODES])
            ask(runtime.address("node-1"), "spawn plain")
            start = time.monotonic_ns()
            recording = asyncio.create_task(record(runtime.sampler(), path, start, 0.05))
            await asyncio.to_thread(wait_until, lambda: path.exists() and len(lines()) >= 4)
            await runtime.kill("node-2")
            await asyncio.to_thread(wait_until, lambda: lines()[-2]["node"] == "node-1")
            recording.cancel()
            with pytest.raises(asyncio.CancelledError):
                await recording

    def lines() -> list[dict[str, float]]:
        return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]

    asyncio.run(main())
    first, second = lines()[:2]
    assert (first["node"], second["node"]) == NODES
    assert (first["processes"], second["processes"]) == (2, 1)
    assert set(first) == {
        "time",
        "node",
        "processes",
        "cpu_s",
        "cpu_percent",
        "rss_bytes",
        "open_files",
        "threads",
    }
    assert first["rss_bytes"] > 1_000_000
    assert second["open_files"] >= 4
    assert second["threads"] == 1
    times = [line["time"] for line in lines() if line["node"] == "node-1"]
    assert times == sorted(set(times))


def test_cpu_time_is_what_was_used_and_never_falls() -> None:
    sampler = Sampler()
    own = psutil.Process().pid
    before = sampler.sample({"own": [own]}, 0)[0]
    assert before.cpu_percent == 0.0
    begin = time.process_time()
    while time.process_time() - begin < 0.2:
        pass
    after = sampler.sample({"own": [own]}, 400_000_000)[0]
    assert 0.15 < after.cpu_s - before.cpu_s < 0.6
    assert after.cpu_percent == pytest.approx(100 * (after.cpu_s - before.cpu_s) / 0.4, abs=1)
    assert sampler.sample({"own": [own]}, 500_000_000)[0].cpu_s >= after.cpu_s


def test_a_process_that_vanished_is_left_out() -> None:
    process = psutil.Popen(["true"])
    process.wait()
    assert Sampler().sample({"gone": [process.pid]}, 0) == []
    both = Sampler().sample({"both": [process.pid, psutil.Process().pid]}, 0)
    assert [sample.processes for sample in both] == [1]
