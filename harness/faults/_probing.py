"""Probing links on behalf of proofs: only those whose answer would mean something."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from harness.network import Answer, Link, answer

if TYPE_CHECKING:
    from harness.nemesis import Site

SILENCE_S = 0.2
"""How long a cut link must stay silent. A healthy one on loopback answers in some milliseconds;
that it would have answered is shown by the probe after healing."""

PATIENCE_S = 5.0
"""How long a link may take until it answers, slowed or just healed, on a busy machine."""

CANARY_S = 2.0


async def ask(site: Site, links: Iterable[Link], timeout_s: float) -> dict[Link, Answer]:
    """The answers through those of `links` that have a probe and a node that serves behind them."""
    probes = site.cluster.target.probes
    asked = [link for link in site.cluster.reachable(links) if link.port in probes]
    answers = await asyncio.gather(
        *(answer(link, probes[link.port], timeout_s=timeout_s) for link in asked)
    )
    return dict(zip(asked, answers, strict=True))


async def answer_times(site: Site) -> Mapping[Link, float]:
    """Seconds until the first byte of an answer, for each link of the fault that answered."""
    answers = await ask(site, site.links, PATIENCE_S)
    return {link: said.latency_s for link, said in answers.items() if said.kind == "answered"}


async def all_answer(site: Site, links: Iterable[Link]) -> tuple[int, list[Link]]:
    """How many of `links` answer a probe, and those that do not after `PATIENCE_S` of asking."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    waiting = list(links)
    answered = 0
    while True:
        answers = await ask(site, waiting, timeout_s=1.0)
        good = [link for link, said in answers.items() if said.kind == "answered"]
        answered += len(good)
        waiting = [link for link in answers if link not in good]
        if not waiting or asyncio.get_running_loop().time() >= deadline:
            return answered, waiting
        await asyncio.sleep(0.02)


class Canaries:
    """A connection of the harness's own on each link, to see what becomes of it."""

    def __init__(self, links: Iterable[Link]) -> None:
        self._links = list(links)
        self._open: dict[Link, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(CANARY_S):
            for link in self._links:
                with contextlib.suppress(OSError):
                    self._open[link] = await asyncio.open_connection(*link.listen)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for _reader, writer in self._open.values():
            writer.close()

    async def endings(self) -> dict[str, str]:
        """How each connection ended: `reset`, `closed`, or `open` after `CANARY_S` seconds."""
        endings = await asyncio.gather(*(_ending(reader) for reader, _ in self._open.values()))
        return {link.name: end for link, end in zip(self._open, endings, strict=True)}


async def _ending(reader: asyncio.StreamReader) -> str:
    try:
        async with asyncio.timeout(CANARY_S):
            while await reader.read(4096):
                pass
    except ConnectionError:
        return "reset"
    except TimeoutError:
        return "open"
    return "closed"
