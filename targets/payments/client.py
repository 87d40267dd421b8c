"""One user of payments: charges, asks for charges, and reads the ledgers at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import aiohttp

from harness import Client, Refused, Unavailable
from targets.payments.app.settings import DEPENDENCY_PORTS, MEMBER_PORT


class PaymentsClient(Client):
    """One connection to one node: a member, or a dependency for the final reads."""

    reads: ClassVar[frozenset[str]] = frozenset(
        {"status", "effects", "notified", "undelivered", "keys"}
    )

    _session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        port = DEPENDENCY_PORTS.get(self.node, MEMBER_PORT)
        # The harness's deadline bounds every call.
        self._session = aiohttp.ClientSession(
            f"http://{self.host}:{port}",
            connector=aiohttp.TCPConnector(limit=1),
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def charge(self, key: str, account: str, amount: int) -> int:
        """The amount that was charged for the key, now or before.

        The node is asked first whether it is ready. What fails there had no effect for certain.
        """
        try:
            status, _ = await self._ask("/ready")
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"not ready: {error!r}") from error
        if status != 200:
            raise Unavailable(f"not ready: {status}")
        status, body = await self._ask(
            "/charges", {"account": account, "amount": amount}, {"Idempotency-Key": key}
        )
        if status in (200, 201):
            return int(body["amount"])
        if status == 422:
            raise Refused
        if body.get("charged") == "no":
            raise Unavailable(f"{status} {body.get('error')}")
        raise PaymentsError(f"{status} {body.get('error')}")

    async def status(self, key: str) -> int | None:
        """The amount charged for the key, None if there is no charge."""
        status, body = await self._ask(f"/charges/{key}")
        if status == 404:
            return None
        return int(_expect(status, body)["amount"])

    async def effects(self) -> list[list[Any]]:
        """The provider's ledger, asked of the provider: key, charge id and amount of each."""
        return list(_expect(*await self._ask("/ledger")))

    async def notified(self) -> list[list[Any]]:
        """The ledger of notifications, asked of notifications."""
        return list(_expect(*await self._ask("/ledger")))

    async def undelivered(self) -> int:
        """0, once nothing is left in the store's outbox. Until then the ledgers are not final."""
        waiting = int(_expect(*await self._ask("/stats"))["outbox"])
        if waiting:
            raise Unavailable(f"{waiting} notifications are still to be delivered")
        return waiting

    async def keys(self) -> int:
        """How many idempotency keys the store holds."""
        return int(_expect(*await self._ask("/stats"))["keys"])

    async def _ask(
        self, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        assert self._session is not None
        method = "GET" if body is None else "POST"
        async with self._session.request(method, path, json=body, headers=headers) as response:
            return response.status, await response.json()


class PaymentsError(Exception):
    """An answer that does not say whether the charge was made."""


def _expect(status: int, body: Any) -> Any:
    if status != 200:
        raise Unavailable(f"{status} {body.get('error') if isinstance(body, dict) else body}")
    return body
