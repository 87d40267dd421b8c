"""LISTEN on a connection of its own that notices when it is dead, and is made again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence

import psycopg
from psycopg import sql

from .backoff import Backoff
from .database import Address, UnavailableError, deadline

QUIET_S = 1.0
"""After so much silence the connection is asked whether it is alive."""

CHECK_S = 1.0
AGAIN = Backoff(base_s=0.1, cap_s=1.0)


class Listener:
    """Notifications are hints, and some are lost whenever the connection is: whoever listens must
    look for himself as well, if less often."""

    def __init__(self, address: Address, random: random.Random) -> None:
        self._address = address
        self._random = random

    async def notifications(self, channels: Sequence[str]) -> AsyncGenerator[tuple[str, str], None]:
        """Channel and payload of each, until the iteration is closed or cancelled."""
        failures = 0
        while True:
            try:
                connection = await self._address.connect()
            except UnavailableError:
                failures += 1
                await asyncio.sleep(AGAIN.delay_s(failures, self._random))
                continue
            try:
                for channel in channels:
                    with deadline(connection, CHECK_S):
                        await connection.execute(
                            sql.SQL("LISTEN {}").format(sql.Identifier(channel))
                        )
                failures = 0
                while True:
                    async for notification in connection.notifies(timeout=QUIET_S):
                        yield notification.channel, notification.payload
                    with deadline(connection, CHECK_S):
                        await connection.execute("SELECT 1")
            except psycopg.OperationalError:
                failures += 1
            finally:
                await connection.close()
            await asyncio.sleep(AGAIN.delay_s(failures, self._random))
