"""The two colours as the gate reaches them, and what it knows of their health."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from . import metrics
from .http import ACTOR, REQUEST_ID
from .logs import Log
from .rollout import Rollout
from .settings import WEB_PORT

CONNECT_S = 0.5
ANSWER_S = 3.0
"""For an answer, beside the time that the request itself says it may wait."""

CHECK_S = 1.0
PROBE_PAUSE_S = 0.2
BAD_PROBES = 2
"""After so many bad probes in a row a colour is not healthy; after one good one it is again."""

CONNECTIONS = 512


@dataclass(frozen=True)
class Reply:
    """What a colour answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def good(self) -> bool:
        return self.status < 500

    @property
    def certain(self) -> bool:
        """Whether a request that was answered so certainly had no effect."""
        try:
            return not self.good and json.loads(self.body)["effect"] == "no"
        except (ValueError, KeyError, TypeError):
            return False


class NoReplyError(Exception):
    """A colour did not answer. `certain`: the request was never sent."""

    def __init__(self, why: str, *, certain: bool) -> None:
        super().__init__(why)
        self.certain = certain


class Colours:
    """The two colours as they are reached from here. `ended` of the rollout hears of every request
    that was sent on somebody's behalf."""

    def __init__(
        self, addresses: Mapping[str, str], actor: str, random: random.Random, log: Log
    ) -> None:
        self._actor = actor
        self._random = random
        self._log = log
        self._bad = dict.fromkeys(addresses, 0)
        self.rollout: Rollout | None = None
        self._sessions = {
            colour: aiohttp.ClientSession(
                f"http://{address}:{WEB_PORT}",
                connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                timeout=aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=CONNECT_S),
                auto_decompress=False,
            )
            for colour, address in addresses.items()
        }

    def good(self, colour: str) -> bool:
        """Whether the colour was healthy when it was last probed."""
        return self._bad[colour] < BAD_PROBES

    async def send(
        self,
        colour: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        wait_s: float = 0.0,
    ) -> Reply:
        """Raises `NoReplyError`."""
        reply: Reply | None = None
        try:
            async with self._sessions[colour].request(
                method,
                path,
                headers=headers,
                data=body or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=ANSWER_S + wait_s, sock_connect=CONNECT_S),
            ) as response:
                reply = Reply(response.status, response.headers, await response.read())
                return reply
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            certain = isinstance(
                error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError
            )
            raise NoReplyError(f"{colour}: {type(error).__name__}", certain=certain) from error
        finally:
            status = "none" if reply is None else f"{reply.status // 100}xx"
            metrics.forwarded(colour, status)
            if self.rollout is not None:
                self.rollout.ended(colour, reply is not None and reply.good)

    async def healthy(self, colour: str) -> str | None:
        for path in ("/ready", "/smoke"):
            try:
                async with asyncio.timeout(CHECK_S):
                    async with self._sessions[colour].get(path) as response:
                        await response.read()
                        if response.status != 200:
                            return f"{path} answers {response.status}"
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                return f"{path}: {type(error).__name__}"
        return None

    async def ordinary(self, colour: str) -> None:
        try:
            async with asyncio.timeout(CHECK_S):
                await self.send(colour, "GET", "/queues", self._own_headers(), b"")
        except (NoReplyError, TimeoutError):
            return  # it was counted

    async def audit(self, colour: str, action: str, before: str, to: str, reason: str) -> bool:
        body = {"action": action, "from": before, "to": to, "reason": reason}
        try:
            async with asyncio.timeout(CHECK_S):
                async with self._sessions[colour].post(
                    "/deployments", json=body, headers=self._own_headers()
                ) as response:
                    await response.read()
                    return response.status in (200, 201)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def probe(self, colour: str) -> None:
        """Look after one colour until cancelled."""
        while True:
            was = self.good(colour)
            wrong = await self.healthy(colour)
            self._bad[colour] = 0 if wrong is None else self._bad[colour] + 1
            if self.good(colour) != was:
                self._log.info("colour", colour=colour, good=not was, why=wrong)
            await asyncio.sleep(PROBE_PAUSE_S)

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    def _own_headers(self) -> dict[str, str]:
        return {REQUEST_ID: f"{self._random.getrandbits(128):032x}", ACTOR: self._actor}
