"""One user of the cluster: workers, limits, topics, and what a node believes."""

from __future__ import annotations

from typing import Any, ClassVar

import aiohttp

from harness import Client, Refused, Unavailable
from targets.cluster.app.settings import HTTP_PORT


class ClusterClient(Client):
    """One connection to one node."""

    reads: ClassVar[frozenset[str]] = frozenset(
        {"owners", "running", "members", "conflicts", "settled", "deliver", "heads"}
    )

    _session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        # The harness's deadline bounds every call.
        self._session = aiohttp.ClientSession(
            f"http://{self.host}:{HTTP_PORT}",
            connector=aiohttp.TCPConnector(limit=1),
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def ensure(self, worker: str, at: str = "placement") -> str:
        """Have a worker run: `at` this node ("here"), or where it belongs. Its owner."""
        status, body = await self._ask("PUT", f"/workers/{worker}?at={at}")
        return str(_expect(status, body, 200, 201)["owner"])

    async def owners(self) -> dict[str, str | None]:
        """Worker → owner, as the node sees it."""
        return dict(_expect(*await self._ask("GET", "/workers"), 200))

    async def running(self, node: str | None = None) -> dict[str, str]:
        """Worker → instance, of those that truly run on the node, which may be named."""
        assert node in (None, self.node)
        return dict(_expect(*await self._ask("GET", "/running"), 200))

    async def conflicts(self, node: str | None = None) -> dict[str, Any]:
        """The journal of the node, which may be named: `open` and `resolved` conflicts."""
        assert node in (None, self.node)
        return dict(_expect(*await self._ask("GET", "/conflicts"), 200))

    async def settled(self) -> bool:
        """True, once the node knows of no open conflict. Until then the other answers are not
        final."""
        waiting = (await self.conflicts())["open"]
        if waiting:
            raise Unavailable(f"{len(waiting)} conflicts are open")
        return True

    async def members(self) -> list[str]:
        """Those whom the node takes for alive."""
        told = _expect(*await self._ask("GET", "/members"), 200)["members"]
        return sorted(name for name, member in told.items() if member["status"] == "alive")

    async def request(self, key: str, mode: str) -> None:
        """One request to the limiter: admitted, `Refused` because of the limit, or unavailable."""
        status, body = await self._ask("POST", f"/limit/{key}?mode={mode}")
        if status == 429:
            raise Refused
        _expect(status, body, 200)

    async def publish(self, topic: str, message: str) -> None:
        """Publish a message, through this node."""
        status, body = await self._ask("POST", f"/topics/{topic}", message)
        if status != 201:
            raise ClusterError(f"{status} {body}")

    async def deliver(self, topic: str, subscriber: str) -> list[str]:
        """Every message of the topic that the node was given, in its order. `subscriber` is the
        node's own name: it is the subscriber."""
        assert subscriber == self.node
        return list(_expect(*await self._ask("GET", f"/topics/{topic}"), 200)["messages"])

    async def heads(self) -> dict[str, dict[str, int]]:
        """Topic → publisher → number of its next message, as far as the node was given them."""
        return dict(_expect(*await self._ask("GET", "/topics"), 200))

    async def _ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        assert self._session is not None
        async with self._session.request(method, path, json=body) as response:
            return response.status, await response.json()


class ClusterError(Exception):
    """An answer that does not say whether anything was done."""


def _expect(status: int, body: Any, *good: int) -> Any:
    if status not in good:
        raise Unavailable(f"{status} {body.get('reason') or body.get('error') or ''}".strip())
    return body
