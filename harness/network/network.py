"""The network of one cluster: holds effects on links for several holders, and lets go of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote

from harness.errors import BrokenError, FaultError, UsageError
from harness.network import sockets
from harness.network.effects import Drop, Effect, Reject, ToxicState
from harness.network.links import Link
from harness.network.toxiproxy import (
    DEADLINE_S,
    Toxiproxy,
    ToxiproxyError,
    add_proxy,
    add_toxic,
    refuse,
    remove_proxy,
    remove_toxic,
    set_enabled,
    update_toxic,
)
from harness.network.transport import Call, ToxiproxyGone, ToxiproxyHangs

OPEN_DEADLINE_S = 10.0
"""How long a server that was just started may take until its API answers; usually 30 ms."""

_POLL_S = 0.01
_STALL_LOOK_S = 0.05  # a receiver that is only busy takes something within that time
_STALL_END_S = 0.5  # how long Toxiproxy may take to notice that a connection was reset

_DIAL_S = 0.1  # on one machine a node is reached in less than a millisecond

T = TypeVar("T")

Holders = Mapping[str, Mapping[Link, tuple[Effect, ...]]]


@dataclass(frozen=True, slots=True)
class LinkState:
    """What is on one link: whether it listens, and its toxics by name."""

    enabled: bool = True
    toxics: Mapping[str, ToxicState] = field(default_factory=dict)


MISSING = LinkState(enabled=False)
"""Stands, by identity, for a link that Toxiproxy does not know."""

Change: TypeAlias = tuple[LinkState, LinkState]
"""What is on a link, and what is wanted there."""


class Network:
    """All links of a cluster, on the Toxiproxy server whose API is at `host` and `port`.

    Faults hold effects on links under a name of their own. Several may hold the same link: their
    latencies, bandwidths and so on add up in Toxiproxy, while a drop or a rejection lasts until
    the last of them lets go. `escape` must end the server's process at once; it is called, at most
    once, if the server hangs, and from then on the network is dead: `release` and `close` return
    at once, everything else raises `BrokenError`.

    The server hangs, and stays so, if a toxic is changed while some receiver does not read (some
    7 MB wait for it then). Connections in that state are therefore reset first, where that is
    possible (see `sockets`): those of the links concerned, and those that Toxiproxy has to the
    same ports of the same nodes, for it cannot be seen which link they belong to.

    It also hangs, or crashes soon after, if one of several toxics is removed while a connection is
    just ending. So where more than one toxic acts on the same direction of a link and any of them
    is taken away, the link is made anew instead, which ends its connections.

    Use it from one event loop. Cancelling a call does not leave it half done: it is finished in
    the background, and the next call waits for it.
    """

    def __init__(
        self,
        host: str,
        port: int,
        links: Iterable[Link],
        *,
        escape: Callable[[], None] | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.server = Toxiproxy(host, port, deadline_s=deadline_s)
        self._address = (host, port)
        self._links = {link.name: link for link in links}
        self._escape = escape
        self._holders: dict[str, Mapping[Link, tuple[Effect, ...]]] = {}
        # What is believed to be on each link. After a failure it is asked for anew.
        self._known: dict[Link, LinkState] = {link: LinkState() for link in self._links.values()}
        self._dead: str | None = None
        self._pid: int | None = None
        self._lock = asyncio.Lock()
        # Threads of our own: the loop's may all be taken by clients that block on a cut link.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="harness-network")

    async def open(self) -> None:
        """Wait until the API answers, then create all links in one request.

        Raises `BrokenError` if it does not answer within 10 s or a link cannot listen.
        """
        await self._finish(self._open())

    async def close(self) -> None:
        """Remove all links from the server. Never raises for what the server does; twice is fine.

        The server itself goes on; whoever started it ends it.
        """
        await self._finish(self._close())

    def links(
        self, source: str | None = None, node: str | None = None, port: str | None = None
    ) -> tuple[Link, ...]:
        """The links with that source, node and port name, in the order given at construction."""
        return tuple(
            link
            for link in self._links.values()
            if source in (None, link.source)
            and node in (None, link.node)
            and port in (None, link.port)
        )

    def held(self, link: Link) -> bool:
        """Whether anybody holds an effect on `link`."""
        return any(link in effects for effects in self._holders.values())

    async def hold(self, holder: str, effects: Mapping[Link, Sequence[Effect]]) -> None:
        """Put effects on links, all at once, in the name of `holder`.

        If a part fails, all of it is undone and `FaultError` raised. Raises `UsageError` if
        `holder` holds something already or a link is unknown.
        """
        if holder in self._holders:
            raise UsageError(
                f"{holder} already holds effects on links.", do="Release them first, or update."
            )
        await self._finish(self._replace(holder, effects))

    async def update(self, holder: str, effects: Mapping[Link, Sequence[Effect]]) -> None:
        """Put other effects in the place of those `holder` has.

        Toxics that only have other numbers are changed in place: no connection notices, but bytes
        on their way through them are passed on at once. Raises like `hold`.
        """
        if holder not in self._holders:
            raise UsageError(f"{holder} holds no effects on links.", do="Use hold.")
        await self._finish(self._replace(holder, effects))

    async def release(self, holder: str) -> None:
        """Take away what `holder` holds; what others hold on the same links stays.

        Does nothing if it holds nothing. Raises `FaultError` if something could not be taken away;
        unless the server is gone it can be called again then.
        """
        await self._finish(self._release(holder))

    async def connections(self) -> dict[Link, int]:
        """How many connections each link carries now, by one question to the kernel. Links
        without any are left out, and so are all where Toxiproxy is not in this network."""
        if self._dead is not None:
            return {}
        found = await self._in_thread(sockets.connections)
        counts = Counter(connection.local for connection in found)
        return {link: counts[link.listen] for link in self._known if counts[link.listen]}

    async def state(self) -> dict[Link, LinkState]:
        """What Toxiproxy itself says is on each link now. A link it does not know is left out."""
        return await self._finish(self._state())

    async def verify(self) -> list[str]:
        """How the links differ from what all holders together want; empty if all is well."""
        return await self._finish(self._verify())

    # The same, one at a time under the lock

    async def _open(self) -> None:
        async with self._lock:
            ends = time.monotonic() + OPEN_DEADLINE_S
            while True:
                try:
                    await self._in_thread(self.server.version)
                    break
                except (ToxiproxyGone, ToxiproxyHangs) as error:
                    if time.monotonic() > ends:
                        raise BrokenError(
                            f"Toxiproxy did not answer within {OPEN_DEADLINE_S:g} s.",
                            why=error.why,
                            do="Look at its log; something else may have the address.",
                        ) from None
                await asyncio.sleep(_POLL_S)
            proxies = [_proxy(link) for link in self._links.values()]
            try:
                await self._api(lambda: self.server.populate(proxies))
            except ToxiproxyError as error:
                raise BrokenError(
                    f"Toxiproxy could not create the {len(proxies)} links.",
                    why=error.title,
                    do="If an address is in use, see who has it with `ss -ltnp`.",
                ) from None
            self._pid = await self._in_thread(self._find_process)

    async def _close(self) -> None:
        async with self._lock:
            self._holders.clear()
            if self._dead is None:
                calls = [remove_proxy(name) for name in self._links]
                # Those that are not there are refused; where the server is gone, all are.
                with contextlib.suppress(BrokenError), self._ending_dials(self._known):
                    await self._api(lambda: self.server.batch(calls))
            self._dead = self._dead or "it was closed"
            self.server.close()
            self._threads.shutdown(wait=False)

    async def _replace(self, holder: str, effects: Mapping[Link, Sequence[Effect]]) -> None:
        for link in effects:
            if link not in self._known:
                raise UsageError(f"The network has no link {link.name}.")
        async with self._lock:
            self._require_alive()
            before = self._holders
            after = {**before, holder: {link: tuple(some) for link, some in effects.items()}}
            try:
                await self._bring_to(after, {*effects, *before.get(holder, {})})
            except ToxiproxyError as error:
                await self._undo(error, before)
                raise FaultError(
                    f"{holder} could not disturb its links; they are as they were before.",
                    why=str(error),
                ) from None
            self._holders = after

    async def _release(self, holder: str) -> None:
        async with self._lock:
            if holder not in self._holders:
                return
            links = set(self._holders[holder])
            after = {name: held for name, held in self._holders.items() if name != holder}
            if self._dead is not None:
                self._holders = after
                return
            try:
                await self._bring_to(after, links)
            except ToxiproxyError as error:
                await self._look_again()
                raise FaultError(
                    f"What {holder} did to its links could not be undone.", why=str(error)
                ) from None
            except BrokenError:
                self._holders = after  # with the server its toxics have gone
                raise
            self._holders = after

    async def _state(self) -> dict[Link, LinkState]:
        async with self._lock:
            self._require_alive()
            return await self._ask_state()

    async def _verify(self) -> list[str]:
        async with self._lock:
            self._require_alive()
            real = await self._ask_state()
            return [
                difference
                for link in self._known
                for difference in _differences(link, _wanted(self._holders, link), real.get(link))
            ]

    # How it is done

    async def _bring_to(self, holders: Holders, links: Iterable[Link]) -> None:
        """Make `links` what `holders` want. Raises the first refusal, with `_known` outdated."""
        changes = {}
        for link in links:
            change = (self._known[link], _wanted(holders, link))
            if change[0] is MISSING or change[0] != change[1]:
                changes[link] = change
        if not changes:
            return
        await self._api(lambda: self._carry_out(changes))
        self._known.update({link: wanted for link, (_, wanted) in changes.items()})

    def _carry_out(self, changes: Mapping[Link, Change]) -> None:
        anew = [link for link, change in changes.items() if _needs_making(*change)]
        rest = {link: change for link, change in changes.items() if link not in anew}
        touched = [link for link, (now, wanted) in rest.items() if now.toxics != wanted.toxics]
        self._end_stalled(touched)
        # Their connections end with the drop, but with an end of file, as if nothing were missing.
        self._reset([link for link in touched if _undrops(*rest[link])])
        self._batch([call for link in touched for call in _toxic_calls(link, *rest[link])])
        self._make_anew(anew, changes)

        resets = [link for link, (now, wanted) in rest.items() if _resets(now, wanted)]
        closing = [link for link, (now, wanted) in rest.items() if now.enabled > wanted.enabled]
        opening = [link for link, (now, wanted) in rest.items() if now.enabled < wanted.enabled]
        if self._pid is None:
            # Second best, end of file: closing a proxy ends its connections.
            again = [link for link in resets if rest[link][1].enabled]
            closing += again
            opening += again
        self._reset([*resets, *closing])
        with self._ending_dials(closing):
            self._batch([set_enabled(link.name, False) for link in closing])
        self._batch([set_enabled(link.name, True) for link in opening])

    def _make_anew(self, links: Sequence[Link], changes: Mapping[Link, Change]) -> None:
        """Replace the proxies of `links` by new ones. They listen when they have their toxics."""
        calls = []
        for link in links:
            now, wanted = changes[link]
            if now is not MISSING:
                calls.append(remove_proxy(link.name))
            calls.append(add_proxy({**_proxy(link), "enabled": False}))
            calls += _toxic_calls(link, MISSING, wanted)
            if wanted.enabled:
                calls.append(set_enabled(link.name, True))
        self._reset(links)
        with self._ending_dials(links):
            self._batch(calls)

    def _batch(self, calls: Sequence[Call]) -> None:
        if not calls:
            return
        for call, reply in zip(calls, self.server.batch(calls), strict=True):
            if not reply.ok:
                refuse(call, reply)

    async def _undo(self, error: ToxiproxyError, holders: Holders) -> None:
        try:
            await self._look_again()
            await self._bring_to(holders, list(self._known))
        except ToxiproxyError as failure:
            raise FaultError(
                "A fault did not land, and what was done of it could not be undone.",
                why=f"{error}\n{failure}",
            ) from None

    async def _look_again(self) -> None:
        real = await self._ask_state()
        self._known = {link: real.get(link, MISSING) for link in self._known}

    async def _ask_state(self) -> dict[Link, LinkState]:
        proxies = await self._api(self.server.proxies)
        return {
            self._links[name]: LinkState(
                enabled=proxy.enabled,
                toxics={
                    toxic.name: ToxicState(
                        toxic.type, toxic.stream, toxic.attributes, float(toxic.toxicity)
                    )
                    for toxic in proxy.last_toxics.values()
                },
            )
            for name, proxy in proxies.items()
            if name in self._links
        }

    def _find_process(self) -> int | None:
        pid = sockets.listening_process(self._address)
        return pid if pid is not None and sockets.borrowable(pid) else None

    def _reset(self, links: Sequence[Link]) -> None:
        """Reset every connection on `links`, as their sources see it."""
        if self._pid is None or not links:
            return
        addresses = {link.listen for link in links}
        found = {c.inode for c in sockets.connections() if c.local in addresses}
        sockets.reset(self._pid, found)

    def _end_stalled(self, links: Sequence[Link]) -> None:
        """Reset connections whose receiver does not read: Toxiproxy would wait for it for ever."""
        if self._pid is None:
            return
        suspects = self._stalled(links)
        if not suspects:
            return
        time.sleep(_STALL_LOOK_S)
        later = self._stalled(links)
        inodes = {inode for inode, queued in suspects.items() if later.get(inode) == queued}
        sockets.reset(self._pid, inodes)
        ends = time.monotonic() + _STALL_END_S
        while sockets.owned(self._pid, inodes) and time.monotonic() < ends:
            time.sleep(_POLL_S)

    @contextlib.contextmanager
    def _ending_dials(self, links: Iterable[Link]) -> Iterator[None]:
        """End attempts of Toxiproxy to reach the nodes behind `links`, should it be stuck in one.

        It stops listening only after the node's machine took its connection, and that of a paused
        node takes none any more once enough of them wait.
        """
        pid = self._pid
        if pid is None or not links:
            yield
            return
        nodes = {link.upstream for link in links}
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_DIAL_S):
                stuck = {one.inode for one in sockets.dials() if one.remote in nodes}
                sockets.reset(pid, stuck)

        watcher = threading.Thread(target=watch, name="harness-network-dials", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _stalled(self, links: Sequence[Link]) -> dict[int, int]:
        near = {link.listen for link in links}
        far = {link.upstream for link in links}
        return {
            c.inode: c.queued_bytes
            for c in sockets.connections()
            if c.stalled and c.queued_bytes and (c.local in near or c.remote in far)
        }

    async def _api(self, work: Callable[[], T]) -> T:
        """Do `work` on the server; if it hangs, end it."""
        try:
            return await self._in_thread(work)
        except ToxiproxyHangs as error:
            self._dead = error.what
            if self._escape is None:
                raise
            self._escape()
            raise BrokenError(
                "Toxiproxy hung and was killed; all links of the cluster are gone.",
                why=str(error),
                do="Run it again. If it repeats, let receivers read while links change.",
            ) from None
        except ToxiproxyGone as error:
            self._dead = error.what
            raise FaultError(
                "Toxiproxy is gone, and all links of the cluster with it.",
                why=error.why,
                do=error.do,
            ) from None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`; if cancelled, it goes on to its end nevertheless."""
        task = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_look_at)
            raise

    def _require_alive(self) -> None:
        if self._dead is not None:
            raise BrokenError("The network of the cluster is dead.", why=self._dead)


def _wanted(holders: Holders, link: Link) -> LinkState:
    """What `link` must be for all holders together."""
    enabled = True
    toxics: dict[str, ToxicState] = {}
    for holder, held in holders.items():
        for number, effect in enumerate(held.get(link, ())):
            if isinstance(effect, Reject):
                enabled = False
            # One drop is as good as many: it has no holder's name, and stays with the last one.
            prefix = "drop" if isinstance(effect, Drop) else f"{quote(holder, safe='')}:{number}"
            for toxic in effect.toxics():
                toxics[f"{prefix}:{toxic.type}:{toxic.stream}"] = toxic
    return LinkState(enabled, toxics)


def _toxic_calls(link: Link, now: LinkState, wanted: LinkState) -> list[Call]:
    """The calls that change the toxics of `link`."""
    calls = []
    for name, toxic in now.toxics.items():
        new = wanted.toxics.get(name)
        if new is None or (new.type, new.stream) != (toxic.type, toxic.stream):
            calls.append(remove_toxic(link.name, name))
    for name, new in wanted.toxics.items():
        old = now.toxics.get(name)
        if old is None or (old.type, old.stream) != (new.type, new.stream):
            calls.append(
                add_toxic(link.name, name, new.type, new.stream, new.attributes, new.toxicity)
            )
        elif old != new:
            calls.append(update_toxic(link.name, name, new.attributes, new.toxicity))
    return calls


def _needs_making(now: LinkState, wanted: LinkState) -> bool:
    """Whether the link does not exist, or one of several toxics on one stream is removed."""
    removed = {now.toxics[name].stream for name in now.toxics.keys() - wanted.toxics.keys()}
    counts = Counter(toxic.stream for toxic in now.toxics.values())
    return now is MISSING or any(counts[stream] > 1 for stream in removed)


def _undrops(now: LinkState, wanted: LinkState) -> bool:
    return any(
        toxic.type == "timeout" and name not in wanted.toxics for name, toxic in now.toxics.items()
    )


def _resets(now: LinkState, wanted: LinkState) -> bool:
    return any(
        toxic.type == "reset_peer" and name not in now.toxics
        for name, toxic in wanted.toxics.items()
    )


def _differences(link: Link, wanted: LinkState, real: LinkState | None) -> list[str]:
    if real is None:
        return [f"{link.name} does not exist"]
    found = []
    if real.enabled != wanted.enabled:
        found.append(f"{link.name} is {'' if real.enabled else 'not '}accepting connections")
    for name in sorted({*wanted.toxics, *real.toxics}):
        should, does = wanted.toxics.get(name), real.toxics.get(name)
        if should != does:
            found.append(f"{link.name} has {does or 'nothing'} instead of {should or 'nothing'}")
    return found


def _proxy(link: Link) -> dict[str, Any]:
    return {
        "name": link.name,
        "listen": "{}:{}".format(*link.listen),
        "upstream": "{}:{}".format(*link.upstream),
        "enabled": True,
    }


def _look_at(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()  # looked at, so that asyncio does not report it as forgotten
