"""One user in one room, over as many connections as it takes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from random import Random
from typing import Any

from targets.chat.channels import ChannelsError, Disconnected, Payload, Refusal, Socket
from targets.chat.roster import Roster
from targets.chat.streamed import Streams

PAUSES_S = (0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0)
"""Before each try to connect again, as the stock client has them; the last one from then on."""

CONNECT_TIMEOUT_S = 5.0


class Unanswered(Exception):  # noqa: N818  it is not known whether anything failed
    """The server may or may not have done it."""


class Member:
    """What a user has of a room: a cursor, the messages that came and were not taken yet, who is
    there, the assistant's answers. It survives every connection. `attend` keeps one up."""

    def __init__(self, topic: str, user: str, *, random: Random, presence: bool = True) -> None:
        self.topic = topic
        self.user = user
        self.roster = Roster()
        self.streams = Streams()
        self.reconnects = 0
        self._presence = presence
        self._random = random
        # Everything from the beginning: whoever joins first must not depend on who was early.
        self._cursor: dict[str, int] = {}
        self._inbox: list[str] = []
        self._socket: Socket | None = None
        self._live = asyncio.Event()

    @property
    def live(self) -> bool:
        """Whether it is joined, and has all that was kept before."""
        return self._live.is_set()

    async def attend(self, host: str, gate: asyncio.Semaphore | None = None) -> None:
        """Connect, join, listen; again and again, until cancelled. Of those that share a `gate`
        only so many connect at the same time."""
        gate = gate or asyncio.Semaphore()
        tries = 0
        while True:
            try:
                tries = 0 if await self._once(host, gate) else tries + 1
            except (ChannelsError, TimeoutError):
                tries += 1
            pause_s = PAUSES_S[min(tries, len(PAUSES_S) - 1)]
            await asyncio.sleep(pause_s * self._random.uniform(0.5, 1.0))

    async def joined(self) -> None:
        """Wait until it is there."""
        await self._live.wait()

    async def up_to_date(self) -> None:
        """Wait until everything has come that the node had for it when it was asked. Raises
        `Disconnected`."""
        await self.joined()
        socket = self._socket
        if socket is None:
            raise Disconnected("the connection has just ended")
        await socket.heartbeat()

    def take(self) -> list[str]:
        """The ids of the messages that have come since this was last asked, in order."""
        taken, self._inbox = self._inbox, []
        return taken

    async def publish(self, id: str, body: str, *, times: int = 1) -> Payload:
        """Send a message, `times` times with the same id; after a lost connection it is repeated.
        Waits for as long as that takes. Raises `Refusal` if nothing was done, `Unanswered` if that
        is not certain."""
        payload = {"id": id, "body": body}
        answer = await self._until_answered("new_msg", payload)
        for _ in range(times - 1):
            # It is acknowledged already, whatever becomes of the others.
            with contextlib.suppress(ChannelsError):
                answer = await self._push("new_msg", payload)
        return answer

    async def ask(self, id: str, prompt: str, model: str) -> str:
        """Ask the assistant; the id of the stream that answers. Raises as `publish` does."""
        payload = {"id": id, "prompt": prompt, "model": model}
        return str((await self._until_answered("ask", payload))["stream"])

    async def typing(self, typing: bool) -> None:
        """Say that the user types, or has stopped. Raises `Refusal`, `Disconnected`."""
        await self._push("typing", {"typing": typing})

    async def _until_answered(self, event: str, payload: Mapping[str, Any]) -> Payload:
        perhaps = False
        while True:
            await self.joined()
            try:
                return await self._push(event, payload)
            except Disconnected as ended:
                if ended.restarting and not perhaps:
                    raise Refusal({"reason": "the node restarts"}) from ended
                perhaps = True
            except Refusal as refusal:
                if perhaps:
                    raise Unanswered(refusal.reason) from refusal
                raise

    async def _push(self, event: str, payload: Mapping[str, Any]) -> Payload:
        socket = self._socket
        if socket is None:
            raise Disconnected("not connected")
        try:
            return await socket.push(self.topic, event, payload)
        except Disconnected:
            if socket is self._socket:
                self._live.clear()  # whoever tries again is to wait for the next one
            raise

    async def _once(self, host: str, gate: asyncio.Semaphore) -> bool:
        """One connection, from its beginning to its end; whether it came to be joined."""
        async with gate:
            socket = await Socket.open(host, timeout_s=CONNECT_TIMEOUT_S)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._join(socket)
            self._socket = socket
            self._live.set()
            await socket.ended.wait()
            self.reconnects += 1
            return True
        finally:
            self._live.clear()
            self._socket = None
            with contextlib.suppress(Exception):
                await socket.close()

    async def _join(self, socket: Socket) -> None:
        self.roster.rejoined()
        payload = {"user": self.user, "cursor": self._cursor, "presence": self._presence}

        def event(name: str, payload: Payload) -> None:
            if name in ("phx_error", "phx_close"):
                # The room is closed to us: come back on a new connection.
                self._live.clear()
                socket.abort()
            else:
                self._event(name, payload)

        page = await socket.join(self.topic, payload, event, self._page)
        while page["more"]:
            page = await socket.push(self.topic, "history", {"cursor": self._cursor}, self._page)

    def _page(self, page: Payload) -> None:
        self._inbox += [message["id"] for message in page["messages"]]
        self._cursor = dict(page["cursor"])
        for stream in page.get("streams", ()):
            self.streams.restore(stream)

    def _event(self, event: str, payload: Payload) -> None:
        if event == "new_msg":
            self._inbox.append(payload["id"])
        elif event == "presence_state":
            self.roster.state(payload)
        elif event == "presence_diff":
            self.roster.diff(payload)
        else:
            self.streams.event(event, payload)
        if "seq" in payload:
            self._cursor[payload["origin"]] = payload["seq"]
