"""A Toxiproxy that hangs is replaced under a running cluster, and the run hears of it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from fixtures.registers import Registers
from harness.cluster import Cluster
from harness.errors import MissingPartError
from harness.network import Drop, Latency, answer
from harness.runtime import proc
from harness.runtime.process import ProcessRuntime
from tests.support.toxiproxy import poll

pytestmark = pytest.mark.live


def test_the_run_goes_on_with_what_was_in_force(tmp_path: Path) -> None:
    told: list[str] = []

    async def work() -> None:
        target = Registers(nodes=2)
        async with await ProcessRuntime.create(
            target.node_names, logs=tmp_path, run_id="replaced"
        ) as runtime:
            cluster = await Cluster.start(target, runtime, tell=told.append)
            network = cluster.network
            network.server.deadline_s = 0.5
            cut, other = network.links("client")
            await network.hold("f", {cut: [Drop()]})
            (pid,) = runtime.processes("toxiproxy")
            os.kill(pid, signal.SIGSTOP)
            poll(lambda: (now := proc.status(pid)) is not None and now.stopped)
            await network.hold("g", {cut: [Drop("to")], other: [Latency(1)]})
            assert told == ["Toxiproxy hung and was replaced: all connections were closed."]
            assert runtime.processes("toxiproxy") != (pid,)
            assert await network.verify() == []
            assert (await answer(cut, b"{}\n", 0.2)).kind == "silent"
            assert (await answer(other, b"{}\n", 5)).kind != "refused"
            await network.release("f")
            await network.release("g")
            assert (await answer(cut, b"{}\n", 5)).kind != "silent"
            assert [cluster.state(name) for name in cluster.names] == ["running", "running"]
            await cluster.close()

    try:
        asyncio.run(work())
    except MissingPartError as error:
        pytest.skip(str(error))
