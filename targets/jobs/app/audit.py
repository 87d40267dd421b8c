"""The audit log: who changed what, written in the transaction that changes it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from .database import Connection, Database, UnavailableError
from .settings import Settings

MOST_ROWS = 5000
LATER_S = 0.5

NAMES = (
    "id",
    "at",
    "action",
    "subject",
    "actor",
    "request_id",
    "deployment",
    "node",
    "before",
    "after",
)
"""What a row is read as; `at` in seconds of Unix time."""


@dataclass(frozen=True)
class Who:
    """Who asked for a change. Workers ask in their own name, with the job's run as the request."""

    actor: str
    request_id: str


@dataclass(frozen=True)
class Entry:
    """One change. `before` and `after` are what the subject was and is, None if it was not."""

    who: Who
    action: str
    subject: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class Audit:
    """Of one node. Rows are appended; the database refuses everything else."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._later: list[Entry] = []

    async def record(self, connection: Connection, entry: Entry) -> None:
        """Append a row in the transaction of `connection`. Raises `UniqueViolation` if the same
        request has changed that subject in the same way before."""
        if self._settings.mutant == "audit-outside-transaction":  # Mutant: `write_later` does it.
            self._later.append(entry)
            return
        await self._insert(connection, entry)

    async def find(self, connection: Connection, who: Who, action: str, subject: str) -> Any:
        """What the subject was after that request changed it; None if it did not."""
        cursor = await connection.execute(
            "SELECT after FROM audit WHERE request_id = %s AND action = %s AND subject = %s",
            [who.request_id, action, subject],
        )
        row = await cursor.fetchone()
        return None if row is None else row[0]

    async def page(
        self, database: Database, after: int, limit: int, subject: str | None
    ) -> list[dict[str, Any]]:
        """Up to `limit` rows with ids above `after`, in order of their ids."""
        rows = await database.fetch_all(
            "SELECT id, extract(epoch FROM at)::float8, action, subject, actor, request_id, "
            "deployment, node, before, after FROM audit "
            "WHERE id > %s AND (%s::text IS NULL OR subject = %s) ORDER BY id LIMIT %s",
            after,
            subject,
            subject,
            min(limit, MOST_ROWS),
        )
        return [dict(zip(NAMES, row, strict=True)) for row in rows]

    async def write_later(self, database: Database) -> None:
        """The background task of the mutant: what it has not written when the node dies is lost."""
        while True:
            await asyncio.sleep(LATER_S)
            entries, self._later = self._later, []
            for entry in entries:
                with contextlib.suppress(UnavailableError):
                    async with database.transaction() as connection:
                        await self._insert(connection, entry)

    async def _insert(self, connection: Connection, entry: Entry) -> None:
        before = None if entry.before is None else Jsonb(dict(entry.before))
        after = None if entry.after is None else Jsonb(dict(entry.after))
        await connection.execute(
            "INSERT INTO audit (action, subject, actor, request_id, deployment, node, before, "
            "after) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                entry.action,
                entry.subject,
                entry.who.actor,
                entry.who.request_id,
                self._settings.deployment,
                self._settings.name,
                before,
                after,
            ],
        )
