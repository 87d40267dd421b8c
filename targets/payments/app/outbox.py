"""Notifications: delivered at once if possible, and by a relay until they are."""

from __future__ import annotations

import asyncio
import random

from .background import Background
from .guard import UnavailableError
from .logs import Clock
from .services import Services

INTERVAL_S = 0.5
PATIENCE_S = 0.5


class Outbox:
    """Each notification stands in the store until it was delivered at least once; the other side
    knows it by its id."""

    def __init__(
        self, services: Services, background: Background, clock: Clock, random: random.Random
    ) -> None:
        self._services = services
        self._background = background
        self._clock = clock
        self._random = random

    async def deliver(self, id: str, key: str, amount: int, deadline: float) -> bool:
        """Whether it was delivered before `deadline`. If not, a relay goes on with it."""
        body = {"id": id, "key": key, "amount": amount}
        try:
            await self._services.notifications.ask("/entries", body, deadline=deadline, key=key)
        except UnavailableError:
            return False
        store = self._services.store
        self._background.begin(store.delivered([id], self._clock() + PATIENCE_S))
        return True

    async def relay(self) -> None:
        """Deliver what nobody delivers, until cancelled. Each worker has one."""
        while True:
            if not await self._relay_some():
                await asyncio.sleep(INTERVAL_S * (0.5 + self._random.random()))

    async def _relay_some(self) -> bool:
        """Whether there was anything, all of it was delivered, and there may be more."""
        if self._services.notifications.guard.refuses:
            return False
        deadline = self._clock() + PATIENCE_S
        try:
            claimed = await self._services.store.claim(deadline)
        except UnavailableError:
            return False
        for id, key, amount in claimed:
            if not await self.deliver(id, key, amount, self._clock() + PATIENCE_S):
                return False
        return bool(claimed)
