"""The network of one cluster: holds effects on links for several holders, and lets go of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from harness.errors import BrokenError, FaultError, HarnessError, UsageError
from harness.network import sockets
from harness.network.effects import Effect, ToxicState
from harness.network.links import Door, Link
from harness.network.resets import Resetter
from harness.network.state import (
    MISSING,
    Change,
    Holders,
    LinkState,
    differences,
    needs_making,
    proxy_fields,
    resets,
    toxic_calls,
    undrops,
    wanted_on,
)
from harness.network.toxiproxy import (
    DEADLINE_S,
    Toxiproxy,
    ToxiproxyError,
    add_proxy,
    refuse,
    remove_proxy,
    set_enabled,
)
from harness.network.transport import Call, ToxiproxyGone, ToxiproxyHangs

OPEN_DEADLINE_S = 10.0
"""How long a server that was just started may take until its API answers; usually 30 ms."""

REOPEN_DEADLINE_S = 2.0
"""The same for one that replaces a hung one, while a fault waits for it."""

MAX_REPLACEMENTS = 3
"""How many hung servers are replaced. Hanging is rare; more than that has a cause to be found."""

_POLL_S = 0.01

T = TypeVar("T")


class _Replaced(Exception):  # noqa: N818
    """The server hung; a new one runs, with all links closed and nothing on them."""


class Network:
    """All links of a cluster, on the Toxiproxy server whose API is at `host` and `port`.

    Faults hold effects on links under a name of their own. Several may hold the same link: their
    latencies, bandwidths and so on add up in Toxiproxy, while a drop or a rejection lasts until
    the last of them lets go.

    If the server hangs, `escape` is called, which must end its process at once, then `restart`,
    which must start it again at the same address. All that is held is put into force again and
    looked at, and `tell` hears what happened: every connection was closed. After three times, or
    without `restart`, the network is dead instead: `release` and `close` return at once,
    everything else raises `BrokenError`.

    `process` says which process of this machine the server is, where it cannot be found by the
    address that it listens on. `doors` are further proxies, which lead to links and never have
    toxics: where somebody outside the cluster's network gets in.

    The server hangs, and stays so, if a toxic is changed while some receiver does not read (some
    7 MB wait for it then). Connections in that state are therefore reset first, where that is
    possible (see `sockets`): those of the links concerned, and those that Toxiproxy has to the
    same ports of the same nodes, for it cannot be seen which link they belong to.

    It also hangs, or crashes soon after, if one of several toxics is removed while a connection is
    just ending. So where more than one toxic acts on the same direction of a link and any of them
    is taken away, the link is made anew instead, which ends its connections.

    One way to hang remains. When a receiver resets its connection, the goroutine that writes to it
    ends and only then asks for the lock of the proxy's toxics, to strike the connection off. A
    change that has the lock first waits for the connection's toxics, which wait for that writer.
    The kernel does not show that state, and a change may be what it happens in: it cannot be
    avoided from outside, hence `restart`.

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
        restart: Callable[[], Awaitable[None]] | None = None,
        tell: Callable[[str], object] | None = None,
        process: Callable[[], int | None] | None = None,
        doors: Sequence[Door] = (),
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.server = Toxiproxy(host, port, deadline_s=deadline_s)
        self._address = (host, port)
        self._links = {link.name: link for link in links}
        self._escape = escape
        self._restart = restart
        self._tell = tell
        self._process = process
        self._doors = tuple(doors)
        self._replacements = 0
        self._holders: dict[str, Mapping[Link, tuple[Effect, ...]]] = {}
        # What is believed to be on each link. After a failure it is asked for anew.
        self._known: dict[Link, LinkState] = {link: LinkState() for link in self._links.values()}
        self._dead: str | None = None
        self._resetter = Resetter(None)
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
        where = self._process() if self._process is not None else None
        found = await self._in_thread(lambda: sockets.connections(where))
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
            await self._create_links(OPEN_DEADLINE_S, enabled=True)

    async def _close(self) -> None:
        async with self._lock:
            self._holders.clear()
            if self._dead is None:
                calls = [remove_proxy(name) for name in self._links]
                # Those that are not there are refused; where the server is gone, all are.
                with contextlib.suppress(BrokenError), self._resetter.ending_dials(self._known):
                    await self._in_thread(lambda: self.server.batch(calls))
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
            return _all_differences(self._known, self._holders, real)

    # How it is done

    async def _create_links(self, deadline_s: float, *, enabled: bool) -> None:
        ends = time.monotonic() + deadline_s
        while True:
            try:
                await self._in_thread(self.server.version)
                break
            except (ToxiproxyGone, ToxiproxyHangs) as error:
                if time.monotonic() > ends:
                    raise BrokenError(
                        f"Toxiproxy did not answer within {deadline_s:g} s.",
                        why=error.why,
                        do="Look at its log; something else may have the address.",
                    ) from None
            await asyncio.sleep(_POLL_S)
        proxies = [{**proxy_fields(link), "enabled": enabled} for link in self._links.values()]
        proxies += [proxy_fields(door) for door in self._doors]
        try:
            await self._in_thread(lambda: self.server.populate(proxies))
        except ToxiproxyError as error:
            raise BrokenError(
                f"Toxiproxy could not create the {len(proxies)} links.",
                why=error.title,
                do="If an address is in use, see who has it with `ss -ltnp`.",
            ) from None
        self._resetter = await self._in_thread(self._find_resetter)

    def _find_resetter(self) -> Resetter:
        if self._process is None:
            return Resetter.of_listener(self._address)
        return Resetter.of_process(self._process())

    async def _bring_to(self, holders: Holders, links: Iterable[Link]) -> None:
        """Make `links` what `holders` want. Raises the first refusal, with `_known` outdated."""
        try:
            await self._change(self._changes(holders, links))
        except _Replaced:
            await self._restore(holders)

    async def _restore(self, holders: Holders) -> None:
        """Make all links of a server that was just replaced what `holders` want, and look."""
        while True:
            try:
                await self._change(self._changes(holders, self._known))
                wrong = _all_differences(self._known, holders, await self._ask_once())
                break
            except _Replaced:
                continue  # ends with BrokenError after MAX_REPLACEMENTS
        if wrong:
            raise BrokenError("A new Toxiproxy is not as it should be.", why="\n".join(wrong))

    def _changes(self, holders: Holders, links: Iterable[Link]) -> dict[Link, Change]:
        changes = {link: (self._known[link], wanted_on(holders, link)) for link in links}
        return {
            link: (now, wanted)
            for link, (now, wanted) in changes.items()
            if now is MISSING or now != wanted
        }

    async def _change(self, changes: Mapping[Link, Change]) -> None:
        if changes:
            await self._api(lambda: self._carry_out(changes))
            self._known.update({link: wanted for link, (_, wanted) in changes.items()})

    def _carry_out(self, changes: Mapping[Link, Change]) -> None:
        anew = [link for link, change in changes.items() if needs_making(*change)]
        rest = {link: change for link, change in changes.items() if link not in anew}
        touched = [link for link, (now, wanted) in rest.items() if now.toxics != wanted.toxics]
        self._resetter.end_stalled(touched)
        # Their connections end with the drop, but with an end of file, as if nothing were missing.
        self._resetter.reset([link for link in touched if undrops(*rest[link])])
        self._batch([call for link in touched for call in toxic_calls(link, *rest[link])])
        self._make_anew(anew, changes)

        resetting = [link for link, (now, wanted) in rest.items() if resets(now, wanted)]
        closing = [link for link, (now, wanted) in rest.items() if now.enabled > wanted.enabled]
        opening = [link for link, (now, wanted) in rest.items() if now.enabled < wanted.enabled]
        if self._resetter.pid is None:
            # Second best, end of file: closing a proxy ends its connections.
            again = [link for link in resetting if rest[link][1].enabled]
            closing += again
            opening += again
        self._resetter.reset([*resetting, *closing])
        with self._resetter.ending_dials(closing):
            self._batch([set_enabled(link.name, False) for link in closing])
        self._batch([set_enabled(link.name, True) for link in opening])

    def _make_anew(self, links: Sequence[Link], changes: Mapping[Link, Change]) -> None:
        """Replace the proxies of `links` by new ones. They listen when they have their toxics."""
        calls = []
        for link in links:
            now, wanted = changes[link]
            if now is not MISSING:
                calls.append(remove_proxy(link.name))
            calls.append(add_proxy({**proxy_fields(link), "enabled": False}))
            calls += toxic_calls(link, MISSING, wanted)
            if wanted.enabled:
                calls.append(set_enabled(link.name, True))
        self._resetter.reset(links)
        with self._resetter.ending_dials(links):
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
        while True:
            try:
                return await self._ask_once()
            except _Replaced:
                await self._restore(self._holders)

    async def _ask_once(self) -> dict[Link, LinkState]:
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

    async def _api(self, work: Callable[[], T]) -> T:
        """Do `work` on the server. Raises `_Replaced` if it hung and another took its place."""
        try:
            return await self._in_thread(work)
        except ToxiproxyHangs as error:
            await self._replace_server(error)
            raise _Replaced from None
        except ToxiproxyGone as error:
            self._dead = error.what
            raise FaultError(
                "Toxiproxy is gone, and all links of the cluster with it.",
                why=error.why,
                do=error.do,
            ) from None

    async def _replace_server(self, error: ToxiproxyHangs) -> None:
        """End the server that hangs and start another, all of whose links are bare and closed."""
        self._dead = error.what
        if self._escape is None:
            raise error
        self._escape()
        if self._restart is None or self._replacements == MAX_REPLACEMENTS:
            raise BrokenError(
                "Toxiproxy hung and was killed; all links of the cluster are gone.",
                why=str(error),
                do="Run it again. If it repeats, let receivers read while links change.",
            ) from None
        self._replacements += 1
        self.server.close()
        try:
            await self._restart()
            await self._create_links(REOPEN_DEADLINE_S, enabled=False)
        except HarnessError as failure:
            raise BrokenError(
                "Toxiproxy hung and was killed, and another could not be started.",
                why=f"{error.what}\n{failure}",
            ) from None
        # They do not listen until they have their toxics: nothing slips through a partition.
        self._known = {link: LinkState(enabled=False) for link in self._known}
        self._dead = None
        if self._tell is not None:
            self._tell("Toxiproxy hung and was replaced: all connections were closed.")

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


def _look_at(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()  # looked at, so that asyncio does not report it as forgotten


def _all_differences(
    links: Iterable[Link], holders: Holders, real: Mapping[Link, LinkState]
) -> list[str]:
    return [
        difference
        for link in links
        for difference in differences(link, wanted_on(holders, link), real.get(link))
    ]
