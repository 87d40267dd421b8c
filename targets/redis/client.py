"""Adds to one set, and reads of it, on one node."""

from __future__ import annotations

import redis.asyncio
from redis.exceptions import BusyLoadingError, ResponseError

from harness import Client, Unavailable
from targets.redis.target import PORT, connection, send

KEY = "elements"


class RedisClient(Client):
    """One connection to the server of one node. While that believes to be the primary it takes
    adds; it always answers reads."""

    _redis: redis.asyncio.Redis | None = None

    async def open(self) -> None:
        self._redis = connection(self.host, PORT)  # the harness's deadline bounds every call
        # Behind a link a connection is accepted even if the server is down. Having asked it
        # something first makes it certain that an add which fails here had no effect.
        await send(self._redis, "PING")

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()

    async def add(self, element: int) -> None:
        """SADD. An error that the server answers with (READONLY from a replica, NOREPLICAS from a
        primary that misses its replicas) means that nothing was done. A connection that ends
        before the answer says nothing."""
        assert self._redis is not None
        try:
            await send(self._redis, "SADD", KEY, element)
        except (ResponseError, BusyLoadingError) as error:
            raise Unavailable(error) from error

    async def read(self) -> list[int]:
        """SMEMBERS: what this node holds, which may be behind the primary's."""
        assert self._redis is not None
        return sorted(map(int, await send(self._redis, "SMEMBERS", KEY)))
