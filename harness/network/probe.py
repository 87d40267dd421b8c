"""Probes: what somebody who connects to a link sees, so that faults can be proved (D4)."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Literal, TypeAlias

from harness.network.links import Link
from harness.runtime.spec import Address

Kind: TypeAlias = Literal["answered", "connected", "silent", "refused", "reset", "closed"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a probe.

    `answered`: a byte came, `latency_s` seconds after the request was sent. `silent`: nothing
    came in time. `refused`: nobody listens. `reset` and `closed`: the connection ended without a
    byte. `connected`: without a request nothing more can be told.
    """

    kind: Kind
    latency_s: float = 0.0


async def answer(target: Link | Address, probe: bytes | None, timeout_s: float) -> Answer:
    """Connect, send `probe`, and wait for the first byte, all within `timeout_s` seconds.

    `probe` is what any healthy server of that port answers with at least one byte
    (`b"PING\\r\\n"`); None only connects, which through Toxiproxy succeeds as long as the link is
    not rejected. Never raises for what the network does. Probes may run concurrently.
    """
    host, port = target.listen if isinstance(target, Link) else target
    loop = asyncio.get_running_loop()
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            if probe is None:
                return Answer("connected")
            start = loop.time()
            writer.write(probe)
            await writer.drain()
            first = await reader.read(1)
            return Answer("answered", loop.time() - start) if first else Answer("closed")
    except TimeoutError:
        return Answer("silent")
    except ConnectionRefusedError:
        return Answer("refused")
    except OSError:
        return Answer("reset" if writer else "refused")
    finally:
        if writer is not None:
            # Abort: waiting for a good-bye through a cut link would outlast the time-out.
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
