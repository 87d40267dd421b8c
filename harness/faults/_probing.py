"""Probing links on behalf of proofs: only those whose answer would mean something.

Machines are busy, so no proof relies on anything being fast in time. That a fault is in force is
shown by what cannot be faster than some bound; that it is gone by one of many tries that is.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from harness.errors import FaultError
from harness.network import Answer, Link, answer
from harness.runtime.spec import Address

if TYPE_CHECKING:
    from harness.nemesis import Site

SILENCE_S = 0.2
"""How long a cut link must stay silent. A healthy one on loopback answers in some milliseconds;
that it would have answered is shown by the probe after healing."""

PATIENCE_S = 5.0
"""How long a link may take until it answers, slowed or just healed, on a busy machine."""

TRIES = 4
"""How often a link that is too fast is sounded. Once proves nothing: Toxiproxy lets go of what it
holds back at the moment when another fault adds a toxic to the same link or takes one away."""

ANSWER_S = 1.0
"""A link that answers within this is open. Shorter ones would be missed on a busy machine."""

TELLING_S = 0.02
"""Slower than this can be told from fast on a busy machine."""

CANARY_S = 2.0

SOUND_S = 0.05
"""What a sounding of a bandwidth should take: long for a machine, short for a person."""

MAX_PROBES = 1000


@dataclass(frozen=True, slots=True)
class Sounding:
    """What something took through a link, and the least that it takes under the fault."""

    took_s: float
    least_s: float

    @property
    def free(self) -> bool:
        """Whether it was faster than the fault allows."""
        return self.took_s < self.least_s


Sound: TypeAlias = Callable[[Address, bytes], Awaitable[Sounding | None]]
"""Sends the probe to an address and sees what it takes; None if nothing can be told."""


async def ask(site: Site, links: Iterable[Link], timeout_s: float) -> dict[Link, Answer]:
    """The answers through those of `links` that have a probe and a node behind them that served
    all the while."""
    probes = site.cluster.target.probes
    asked = _with_probe(site, links)
    answers = await asyncio.gather(
        *(answer(link, probes[link.port], timeout_s=timeout_s) for link in asked)
    )
    serving = set(site.cluster.reachable(asked))
    return {
        link: said
        for link, said in zip(asked, answers, strict=True)
        # An answer always means something; silence only from a node that could have spoken.
        if said.kind == "answered" or link in serving
    }


async def prove_slow(site: Site, links: Iterable[Link], sound: Sound) -> dict[Link, float]:
    """Seconds that soundings took, for each of `links` where one can be made.

    Raises `FaultError` if one is faster than the fault allows, time after time.
    """
    took: dict[Link, float] = {}
    waiting: Sequence[Link] = _with_probe(site, links)
    for _ in range(TRIES):
        soundings = await _sound(site, waiting, sound)
        took.update({link: said.took_s for link, said in soundings.items()})
        waiting = [link for link, said in soundings.items() if said.free]
        if not waiting:
            return took
    first = soundings[waiting[0]]
    raise FaultError(
        f"{site.id}: {waiting[0].name} took {first.took_s * 1000:.0f} ms, although the fault makes "
        f"it take at least {first.least_s * 1000:.0f} ms."
    )


async def prove_free(site: Site, links: Iterable[Link], sound: Sound) -> int:
    """How many of `links` showed that the fault is gone, out of those that no fault disturbs now.

    Raises `FaultError` if one does not for `PATIENCE_S`, while its node is fast without the link.
    """
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    waiting = list(links)
    free = 0
    while waiting := _with_probe(site, _undisturbed(site, waiting)):
        soundings = await _sound(site, waiting, sound)
        free += sum(said.free for said in soundings.values())
        waiting = [link for link in waiting if link not in soundings or not soundings[link].free]
        if asyncio.get_running_loop().time() >= deadline:
            break
        await asyncio.sleep(0.02)
    # The last round may have taken all the time, for a link that was cut while it was asked; what
    # another fault did meanwhile to the others is no answer of theirs.
    waiting = _with_probe(site, _undisturbed(site, waiting))
    soundings = await _sound(site, waiting, sound)
    free += sum(said.free for said in soundings.values())
    waiting = [link for link in waiting if link not in soundings or not soundings[link].free]
    probes = site.cluster.target.probes
    directly = await asyncio.gather(*(sound(link.upstream, probes[link.port]) for link in waiting))
    for link, direct in zip(waiting, directly, strict=True):
        # Otherwise it is the node that is slow, which is no matter of the fault.
        if direct is not None and direct.free and _with_probe(site, _undisturbed(site, [link])):
            raise FaultError(
                f"{site.id}: {link.name} is healed, but for {PATIENCE_S:g} s no probe through it "
                f"was answered as fast as it should be, while {link.node} itself answers."
            )
    return free


async def free_links(site: Site, links: Iterable[Link], sound: Sound) -> list[Link]:
    """Those of `links` that are fast now, and that no fault disturbs."""
    waiting = _with_probe(site, _undisturbed(site, links))
    soundings = await _sound(site, waiting, sound)
    return [link for link, said in soundings.items() if said.free]


async def sound_answer(address: Address, probe: bytes, least_s: float) -> Sounding | None:
    """The time from sending the probe to the first byte of its answer."""
    said = await answer(address, probe, timeout_s=PATIENCE_S)
    return Sounding(said.latency_s, least_s) if said.kind == "answered" else None


async def sound_open(address: Address, probe: bytes) -> Sounding | None:
    """Free if there is an answer within `ANSWER_S`."""
    said = await answer(address, probe, timeout_s=ANSWER_S)
    return Sounding(said.latency_s, ANSWER_S) if said.kind == "answered" else None


async def sound_rate(address: Address, probe: bytes, bytes_per_s: float) -> Sounding | None:
    """The time that as many answers take as should keep the link busy for `SOUND_S`.

    All probes but the first are sent at once. However the answers come, so many bytes cannot have
    come sooner. None if even `MAX_PROBES` of them would take less than `TELLING_S`.
    """
    loop = asyncio.get_running_loop()
    writer: asyncio.StreamWriter | None = None
    start = loop.time()
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(probe)
            received = size = len(await reader.read(65536))
            if not size or size * MAX_PROBES < bytes_per_s * TELLING_S:
                return None
            missing = bytes_per_s * SOUND_S - received
            count = max(0, min(MAX_PROBES, math.ceil(missing / size)))
            writer.write(probe * count)
            while received < size * (count + 1):
                data = await reader.read(65536)
                if not data:
                    return None
                received += len(data)
    except (OSError, TimeoutError):
        return None
    finally:
        if writer is not None:
            await _abort(writer)
    return Sounding(loop.time() - start, received / bytes_per_s)


async def sound_end(address: Address, probe: bytes, within_s: float) -> Sounding | None:
    """The time from before the connection is made until the node's end of file, which follows
    upon ours after an answer; at most `within_s` are waited for."""
    loop = asyncio.get_running_loop()
    writer: asyncio.StreamWriter | None = None
    answered = False
    start = loop.time()
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(probe)
            answered = bool(await reader.read(1))
            writer.write_eof()
        async with asyncio.timeout(within_s):
            while await reader.read(4096):
                pass
    except TimeoutError:
        # From here on: that it has not come by now.
        return Sounding(within_s, within_s) if answered else None
    except OSError:
        return None
    finally:
        if writer is not None:
            await _abort(writer)
    return Sounding(loop.time() - start, within_s) if answered else None


class Canaries:
    """A connection of the harness's own on each of the links that answer, to see how it ends.

    Each was answered once, so that Toxiproxy is known to have taken it.
    """

    def __init__(self, site: Site, links: Iterable[Link]) -> None:
        self._links = _with_probe(site, _undisturbed(site, links))
        self._probes = site.cluster.target.probes
        self._open: dict[Link, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def __aenter__(self) -> Canaries:
        try:
            await asyncio.gather(*(self._send(link) for link in self._links))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        opened, self._open = self._open, {}
        for _reader, writer in opened.values():
            await _abort(writer)

    async def endings(self) -> dict[str, str]:
        """How each connection ended: `reset`, `closed`, or `open` after `CANARY_S` seconds."""
        endings = await asyncio.gather(*(_ending(reader) for reader, _ in self._open.values()))
        return {link.name: end for link, end in zip(self._open, endings, strict=True)}

    async def _send(self, link: Link) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CANARY_S):
                reader, writer = await asyncio.open_connection(*link.listen)
                self._open[link] = reader, writer
                writer.write(self._probes[link.port])
                if await reader.read(1):
                    return
        if link in self._open:
            await _abort(self._open.pop(link)[1])


def _with_probe(site: Site, links: Iterable[Link]) -> list[Link]:
    probes = site.cluster.target.probes
    return [link for link in site.cluster.reachable(links) if link.port in probes]


def _undisturbed(site: Site, links: Iterable[Link]) -> list[Link]:
    return [link for link in links if not site.cluster.network.held(link)]


async def _sound(site: Site, links: Sequence[Link], sound: Sound) -> dict[Link, Sounding]:
    probes = site.cluster.target.probes
    soundings = await asyncio.gather(*(sound(link.listen, probes[link.port]) for link in links))
    return {link: said for link, said in zip(links, soundings, strict=True) if said is not None}


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


async def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
