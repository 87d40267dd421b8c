"""Reads, writes and compare-and-sets of single keys through etcd's v3 API."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import aiohttp

from harness import Client, Refused, Target, Unavailable
from targets.etcd.target import Etcd


class EtcdClient(Client):
    """One client with one connection to one member. Values are anything that JSON can hold."""

    _session: aiohttp.ClientSession | None = None

    def __init__(self, target: Target, node: str, host: str) -> None:
        super().__init__(target, node, host)
        self._unanswered: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        # One connection, as one user has; the harness's deadline bounds every call.
        self._session = aiohttp.ClientSession(
            f"http://{self.host}:2379", connector=aiohttp.TCPConnector(limit=1)
        )
        # Behind a link a connection is accepted even if the member is down. Having asked it
        # something first makes it certain that an operation which fails here had no effect.
        async with self._session.get("/version") as response:
            await response.read()
            if response.status != 200:
                raise Unavailable(f"/version answered {response.status}")

    async def close(self) -> None:
        for task in self._unanswered:
            task.cancel()
        if self._session is not None:
            await self._session.close()

    async def read(self, key: str) -> Any:
        assert isinstance(self.target, Etcd)
        request = {"key": _encode(key), "serializable": self.target.stale_reads}
        answer = await self._ask("range", request)
        found = answer.get("kvs")
        return json.loads(_decode(found[0]["value"])) if found else None

    async def write(self, key: str, value: Any) -> None:
        writing = self._ask("put", {"key": _encode(key), "value": _encode(json.dumps(value))})
        if self.target.mutant == "acknowledges-early":
            task = asyncio.create_task(writing)
            self._unanswered.add(task)
            task.add_done_callback(self._forget)
        else:
            await writing

    async def cas(self, key: str, expected: Any, new: Any) -> None:
        compare: dict[str, Any] = {"key": _encode(key), "result": "EQUAL"}
        if expected is None:
            compare |= {"target": "CREATE", "create_revision": "0"}
        else:
            compare |= {"target": "VALUE", "value": _encode(json.dumps(expected))}
        put = {"request_put": {"key": _encode(key), "value": _encode(json.dumps(new))}}
        answer = await self._ask("txn", {"compare": [compare], "success": [put]})
        if not answer.get("succeeded"):
            raise Refused

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._unanswered.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not complain

    async def _ask(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        assert self._session is not None
        async with self._session.post(f"/v3/kv/{method}", json=request) as response:
            answer: dict[str, Any] = await response.json()
            if response.status != 200:
                # Also "no leader" and "request timed out": it may have been proposed already.
                raise EtcdError(f"{response.status}: {answer.get('message', answer)}")
            return answer


class EtcdError(Exception):
    """etcd answered with an error, which does not say whether the operation took effect."""


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decode(text: str) -> str:
    return base64.b64decode(text).decode()
