"""bandwidth: so many bytes cannot come sooner."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from harness import faults
from tests.support.live_cluster import ANSWER_S, HEALED, Live, abort, on_cluster, until

pytestmark = pytest.mark.live

RATE_KB = 20
QUESTIONS = 200


async def took_s(live: Live, source: str, node: str) -> float:
    """Seconds that 200 answers take on one connection, about 4 kB."""
    reader, writer = await asyncio.open_connection(*live.link(source, node).listen)
    try:
        start = time.monotonic()
        writer.write(b'{"f": "ping"}\n' * QUESTIONS)
        async with asyncio.timeout(ANSWER_S):
            for _ in range(QUESTIONS):
                await reader.readline()
        return time.monotonic() - start
    finally:
        await abort(writer)


def test_bytes_come_at_no_more_than_the_rate(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        size = len('{"value": "node-1"}\n') * QUESTIONS
        least_s = size / (RATE_KB * 1000)
        site = await live.inject(faults.bandwidth(RATE_KB, who="node-1"))
        proof = live.proof()
        assert (proof["by"], proof["links"], proof["probed"]) == ("probe", 4, 4)
        assert proof["took_ms"] >= 50
        assert await took_s(live, "node-2", "node-1") >= least_s

        async def fast(source: str) -> bool:
            return await took_s(live, source, "node-1") < least_s

        await until(lambda: fast("client"))  # not concerned
        await live.nemesis.heal(site)
        assert live.proof(step="healed") == {"by": "probe", "links": 4, "answered": 4}
        await until(lambda: fast("node-2"))
        await live.assert_sound()
        assert live.steps() == list(HEALED)

    on_cluster(tmp_path, work)


@pytest.mark.parametrize(("rate", "by"), [(1, "probe"), (500, "probe"), (100_000, "toxiproxy")])
def test_rates_that_can_be_measured_are(tmp_path: Path, rate: int, by: str) -> None:
    async def work(live: Live) -> None:
        site = await live.inject(faults.bandwidth(rate, who="node-2"))
        assert live.proof()["by"] == by
        await live.nemesis.heal(site)
        assert live.proof(step="healed")["by"] == by
        await live.assert_sound()

    on_cluster(tmp_path, work)
