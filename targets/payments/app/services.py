"""The dependencies as a worker sees them: one guarded HTTP client each."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from .guard import FailedError, Guard, Policy, policy_of
from .logs import Clock, Log
from .settings import Settings


class Service:
    """JSON over HTTP to one dependency, on connections of its own that are kept."""

    def __init__(self, base_url: str, guard: Guard) -> None:
        self.guard = guard
        self._session = aiohttp.ClientSession(
            base_url,
            connector=aiohttp.TCPConnector(limit=0),  # the bulkhead is the limit
            timeout=aiohttp.ClientTimeout(total=None),  # the guard bounds every attempt
        )

    async def ask(
        self, path: str, body: Any = None, *, deadline: float, key: str | None = None
    ) -> Any:
        """POST `body`, or GET if there is none. Raises `UnavailableError` or `UnknownError`."""
        return await self.guard.call(lambda: self.send(path, body), deadline=deadline, key=key)

    async def send(self, path: str, body: Any = None) -> Any:
        """The same once, with no guard at all."""
        method = "GET" if body is None else "POST"
        data = None if body is None else json.dumps(body).encode()
        async with self._session.request(method, path, data=data) as response:
            text = await response.read()
            if response.status != 200:
                raise FailedError(f"status {response.status}")
            return json.loads(text)

    async def close(self) -> None:
        await self._session.close()


class Store:
    """The store of idempotency keys and the outbox; see `dependencies.keys` for what each means."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        self._settings = settings

    async def begin(
        self, key: str, fingerprint: str, charge_id: str, owner: str, deadline: float
    ) -> Mapping[str, Any]:
        body = {
            "key": self._name(key),
            "fingerprint": fingerprint,
            "charge_id": charge_id,
            "owner": owner,
        }
        return dict(await self._service.ask("/begin", body, deadline=deadline))

    async def finish(
        self,
        key: str,
        fingerprint: str,
        charge_id: str,
        outcome: Mapping[str, Any],
        deadline: float,
    ) -> Mapping[str, Any]:
        body = {
            "key": self._name(key),
            "fingerprint": fingerprint,
            "charge_id": charge_id,
            "outcome": outcome,
        }
        return dict(await self._service.ask("/finish", body, deadline=deadline))

    async def release(self, key: str, owner: str, deadline: float) -> None:
        await self._service.ask(
            "/release", {"key": self._name(key), "owner": owner}, deadline=deadline
        )

    async def find(self, key: str, deadline: float) -> Mapping[str, Any] | None:
        found = await self._service.ask(f"/keys/{self._name(key)}", deadline=deadline)
        return None if found is None else dict(found)

    async def claim(self, deadline: float) -> Sequence[tuple[str, str, int]]:
        return [tuple(row) for row in await self._service.ask("/claim", {}, deadline=deadline)]

    async def delivered(self, ids: Sequence[str], deadline: float) -> None:
        await self._service.ask("/delivered", {"ids": list(ids)}, deadline=deadline)

    def _name(self, key: str) -> str:
        if self._settings.mutant == "key-on-one-node":  # Mutant: as if each node had a store.
            return f"{self._settings.name}.{key}"
        return key


class Services:
    """All dependencies of one worker. `addresses` maps their names to where they are reached."""

    def __init__(
        self,
        settings: Settings,
        addresses: Mapping[str, str],
        clock: Clock,
        random: random.Random,
        log: Log,
    ) -> None:
        def service(name: str) -> Service:
            policy: Policy = policy_of(name, settings.mutant)
            return Service(addresses[name], Guard(name, policy, clock, random, log))

        self.provider = service("provider")
        self.notifications = service("notifications")
        self.analytics = service("analytics")
        self._store = service("store")
        self.store = Store(self._store, settings)

    async def close(self) -> None:
        for service in (self.provider, self.notifications, self.analytics, self._store):
            await service.close()
