"""One person with many windows: a member of several rooms on one node, and a visitor of others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from random import Random
from typing import Any, ClassVar

import aiohttp

from harness import Client, Unavailable
from targets.chat.channels import PORT, ChannelsError, Disconnected, Refusal, Socket
from targets.chat.letters import author, body, times
from targets.chat.member import Member

JOINED_WITHIN_S = 0.5
"""How long an operation waits for its member to be connected before it says that it is not."""

CONNECTING = 3
"""How many sockets of one person connect at the same time. (RFC 6455, section 4.1, has browsers
make one after the other.)"""

STREAM_PATIENCE_S = 1.0
"""How long `streams` waits for answers that have not ended. It is asked when no node is at work on
any, so that nothing more can come but what is on its way."""

MODEL = "markov"
PROMPT_LENGTH = 40

READER = "reader"
"""How the names of those begin who only look who is there; they are not counted."""


class ChatClient(Client):
    """One WebSocket for each room that it is a member of, and one for each visit. Members stay what
    they are (cursor, inbox) when the connections end, and come back by themselves."""

    reads: ClassVar[frozenset[str]] = frozenset(
        {"attend", "deliver", "present", "presence", "streams", "history", "have", "quiet"}
    )

    _gate: asyncio.Semaphore
    _attending: dict[tuple[str, str], asyncio.Task[None]]
    _visits: dict[tuple[str, str], Socket]
    _http: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        self._gate = asyncio.Semaphore(CONNECTING)
        self._attending = {}
        self._visits = {}
        for member in self._members.values():
            self._attend(member)

    async def close(self) -> None:
        tasks = list(self._attending.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(
            *tasks, *(visit.close() for visit in self._visits.values()), return_exceptions=True
        )
        if self._http is not None:
            await self._http.close()

    # Members

    async def attend(
        self, topics: list[str], user: str, watched: list[str], body_bytes: int
    ) -> list[str]:
        """Join all these rooms and stay; in the `watched` ones presence is looked at. Answers the
        rooms when it is in all of them; if that takes long, it goes on beside what comes next.
        What this user writes has so many characters."""
        self.memory["body_bytes"] = body_bytes
        members = [self._member(topic, user, presence=topic in watched) for topic in topics]
        try:
            async with asyncio.timeout(JOINED_WITHIN_S):
                await asyncio.gather(*(member.joined() for member in members))
        except TimeoutError:
            live = sum(member.live for member in members)
            raise Unavailable(f"{live} of {len(members)} are connected yet") from None
        return topics

    async def publish(self, topic: str, id: str) -> str:
        """Send a message, and again as often as its id says; the id when it was acknowledged."""
        member = await self._joined(topic, author(id))
        try:
            await member.publish(id, body(id, self._body_bytes), times=times(id))
        except Refusal as refusal:
            raise Unavailable(refusal.reason) from refusal
        return id

    async def deliver(self, topic: str, user: str) -> list[str]:
        """The ids of the messages that have come since it was last asked."""
        member = await self._joined(topic, user)
        await _up_to_date(member)
        return member.take()

    async def present(self, topic: str, user: str) -> list[str]:
        """Who is in the room, as this member sees it now."""
        member = await self._joined(topic, user)
        await _up_to_date(member)
        return _people(_users(member))

    async def typing(self, topic: str, user: str, typing: bool) -> None:
        """Tell the room that one types, or has stopped."""
        member = await self._joined(topic, user)
        try:
            await member.typing(typing)
        except ChannelsError as error:
            raise Unavailable(error) from error  # nothing of it is kept

    # The assistant

    async def ask(self, topic: str, id: str) -> str:
        """Ask the assistant; the id of the stream in which it answers."""
        member = await self._joined(topic, author(id))
        try:
            return await member.ask(id, body(id, PROMPT_LENGTH), MODEL)
        except Refusal as refusal:
            raise Unavailable(refusal.reason) from refusal

    async def streams(self, topic: str, user: str) -> list[list[str]]:
        """Every answer of the assistant that this member has seen anything of, and what became of
        it."""
        member = await self._joined(topic, user)
        await _up_to_date(member)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STREAM_PATIENCE_S):
                await member.streams.settled.wait()
        return member.streams.states

    # Visits

    async def enter(self, topic: str, user: str) -> str:
        """Enter a room as a visitor, who does not come back if the connection ends."""
        await self._end_visit(topic, user)
        try:
            socket = await Socket.open(self.host)
        except Disconnected as error:
            raise Unavailable(error) from error
        self._visits[topic, user] = socket
        try:
            await socket.join(topic, {"user": user, "cursor": None}, _nothing)
        except Refusal as refusal:
            raise Unavailable(refusal.reason) from refusal
        return user

    async def leave(self, topic: str, user: str) -> str:
        """Leave it again. Unavailable if the visit had ended before: nobody knows when."""
        socket = self._visits.get((topic, user))
        if socket is None or socket.ended.is_set():
            await self._end_visit(topic, user)
            raise Unavailable("the visit is over already")
        await socket.leave(topic)
        await self._end_visit(topic, user)
        return user

    # What a node says of itself

    async def history(self, topic: str) -> list[str]:
        """The ids of all messages of the room in the order in which everybody is shown them."""
        shown = await self._get(f"/export/{topic}?format=json")
        return [entry["id"] for entry in shown["entries"] if entry["kind"] == "message"]

    async def have(self) -> dict[str, int]:
        """How far the node has the log of every node."""
        return dict((await self._get("/have"))["have"])

    async def quiet(self) -> int:
        """0, once the assistant is at work for nobody on this node."""
        running = await metric(self._session(), "chat_streams_running")
        if running:
            raise Unavailable(f"{running:g} streams are still running")
        return 0

    async def presence(self, topic: str) -> list[str]:
        """Who is in the room, as who enters it now is told."""
        member = self._member(topic, f"{READER}-{self.node}", presence=True)
        await member.joined()
        await _up_to_date(member)
        return _people(_users(member))

    # Within

    @property
    def _body_bytes(self) -> int:
        return int(self.memory.get("body_bytes", PROMPT_LENGTH))

    @property
    def _members(self) -> dict[tuple[str, str], Member]:
        members: dict[tuple[str, str], Member] = self.memory.setdefault("members", {})
        return members

    def _member(self, topic: str, user: str, *, presence: bool = False) -> Member:
        known = self._members.get((topic, user))
        if known is None:
            random = Random(f"{topic} {user}")
            known = Member(topic, user, random=random, presence=presence)
            self._members[topic, user] = known
            self._attend(known)
        return known

    def _attend(self, member: Member) -> None:
        task = asyncio.create_task(member.attend(self.host, self._gate))
        self._attending[member.topic, member.user] = task

    async def _joined(self, topic: str, user: str) -> Member:
        """A member that is there. Raises `Unavailable` if it is not soon."""
        member = self._member(topic, user)
        if not member.live:
            try:
                async with asyncio.timeout(JOINED_WITHIN_S):
                    await member.joined()
            except TimeoutError:
                raise Unavailable("not connected") from None
        return member

    async def _end_visit(self, topic: str, user: str) -> None:
        socket = self._visits.pop((topic, user), None)
        if socket is not None:
            await socket.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            # The harness's deadline bounds every call.
            self._http = aiohttp.ClientSession(
                f"http://{self.host}:{PORT}",
                connector=aiohttp.TCPConnector(limit=1),
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._http

    async def _get(self, path: str) -> Any:
        async with self._session().get(path) as response:
            if response.status != 200:
                raise Unavailable(f"{response.status} {await response.text()}")
            return await response.json()


async def metric(session: aiohttp.ClientSession, name: str) -> float:
    """The sum of what a node says of itself under that name at /metrics."""
    async with session.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    found = [line for line in lines if line.partition(" ")[0].partition("{")[0] == name]
    return sum(float(line.rpartition(" ")[2]) for line in found)


async def _up_to_date(member: Member) -> None:
    try:
        await member.up_to_date()
    except Disconnected as error:
        raise Unavailable(error) from error


def _users(member: Member) -> list[str]:
    if not member.roster.synced:
        raise Unavailable("not told yet who is there")
    return member.roster.users


def _people(users: Iterable[str]) -> list[str]:
    return [user for user in users if not user.startswith(READER)]


def _nothing(event: str, payload: object) -> None:
    """A visitor does not listen."""
