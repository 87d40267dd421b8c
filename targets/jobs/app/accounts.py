"""Accounts: created, changed, deleted softly, restored, and purged when nobody wants them back.

Everything that reads accounts for somebody reads `live_accounts`, and everything that changes one
says `LIVE` in its condition, or that it means deleted ones. There is no other way to reach the
table in this module, and no other module touches it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from psycopg.errors import UniqueViolation

from .audit import Audit, Entry, Who
from .database import Connection, Database
from .settings import Settings

LIVE = "deleted_at IS NULL"
MOST_LISTED = 1000
PURGED_AT_ONCE = 200


@dataclass(frozen=True)
class Account:
    id: str
    name: str
    version: int

    def body(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "version": self.version}


class RefusedError(Exception):
    """It cannot be done, because of what there is. Nothing was changed."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Change:
    """What a change answered. `repeated`: the same request had done it before."""

    account: Account
    repeated: bool


class Accounts:
    """All that can be done with accounts. Each change is one transaction with its audit row."""

    def __init__(self, database: Database, audit: Audit, settings: Settings) -> None:
        self._database = database
        self._audit = audit
        self._mutant = settings.mutant

    async def create(self, id: str, name: str, who: Who) -> Change:
        async def work(connection: Connection) -> tuple[Account | None, Account]:
            cursor = await connection.execute(
                "INSERT INTO accounts (id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING "
                "RETURNING id, name, version",
                [id, name],
            )
            row = await cursor.fetchone()
            if row is None:
                # Also if it is deleted: what is restored one day must not meet another one.
                raise RefusedError(409, f"the id {id} is taken")
            return None, Account(*row)

        return await self._once("account.created", id, who, work)

    async def rename(self, id: str, name: str, who: Who) -> Change:
        return await self._changed(
            "account.updated", id, who, "name = %s", [name], where=LIVE, absent=404
        )

    async def delete(self, id: str, who: Who) -> Change:
        return await self._changed(
            "account.deleted", id, who, "deleted_at = now()", [], where=LIVE, absent=404
        )

    async def restore(self, id: str, who: Who) -> Change:
        return await self._changed(
            "account.restored", id, who, "deleted_at = NULL", [], where=f"NOT {LIVE}", absent=409
        )

    async def get(self, id: str) -> Account | None:
        row = await self._database.fetch_one(
            "SELECT id, name, version FROM live_accounts WHERE id = %s", id
        )
        return None if row is None else Account(*row)

    async def page(self, prefix: str) -> list[Account]:
        rows = await self._database.fetch_all(
            "SELECT id, name, version FROM live_accounts WHERE starts_with(id, %s) "
            "ORDER BY id LIMIT %s",
            prefix,
            MOST_LISTED,
        )
        return [Account(*row) for row in rows]

    async def search(self, name: str) -> list[Account]:
        # Mutant: one path that goes around the scope.
        scope = "accounts" if self._mutant == "soft-delete-leaks" else "live_accounts"
        rows = await self._database.fetch_all(
            f"SELECT id, name, version FROM {scope} WHERE starts_with(name, %s) "
            "ORDER BY id LIMIT %s",
            name,
            MOST_LISTED,
        )
        return [Account(*row) for row in rows]

    async def count(self, prefix: str) -> int:
        row = await self._database.fetch_one(
            "SELECT count(*) FROM live_accounts WHERE starts_with(id, %s)", prefix
        )
        return 0 if row is None else int(row[0])

    async def purge(self, older_than_s: float, who: Who) -> int:
        """Remove accounts that were deleted more than `older_than_s` ago; how many. Their audit
        rows stay."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute(
                "DELETE FROM accounts WHERE id IN (SELECT id FROM accounts WHERE deleted_at < "
                "now() - make_interval(secs => %s) LIMIT %s FOR UPDATE SKIP LOCKED) "
                "RETURNING id, name, version",
                [older_than_s, PURGED_AT_ONCE],
            )
            gone = [Account(*row) for row in await cursor.fetchall()]
            for account in gone:
                entry = Entry(who, "account.purged", account.id, account.body(), None)
                await self._audit.record(connection, entry)
        return len(gone)

    async def _changed(
        self,
        action: str,
        id: str,
        who: Who,
        change: str,
        values: list[Any],
        *,
        where: str,
        absent: int,
    ) -> Change:
        async def work(connection: Connection) -> tuple[Account, Account]:
            cursor = await connection.execute(
                "SELECT id, name, version FROM accounts "
                f"WHERE id = %s AND {where} FOR UPDATE".encode(),
                [id],
            )
            row = await cursor.fetchone()
            if row is None:
                raise RefusedError(absent, f"there is no such account {id} to be changed so")
            cursor = await connection.execute(
                f"UPDATE accounts SET {change}, version = version + 1 WHERE id = %s "
                "RETURNING id, name, version".encode(),
                [*values, id],
            )
            after = await cursor.fetchone()
            assert after is not None
            return Account(*row), Account(*after)

        return await self._once(action, id, who, work)

    async def _once(
        self,
        action: str,
        id: str,
        who: Who,
        work: Callable[[Connection], Awaitable[tuple[Account | None, Account]]],
    ) -> Change:
        """The change and its audit row, or what the same request did before. That it did is known
        by the audit row, whose index lets one of two that come at once wait for the other."""
        with contextlib.suppress(UniqueViolation):
            async with self._database.transaction() as connection:
                known = await self._audit.find(connection, who, action, id)
                if known is None:
                    try:
                        before, after = await work(connection)
                    except RefusedError:
                        known = await self._audit.find(connection, who, action, id)
                        if known is None:
                            raise
                    else:
                        old = None if before is None else before.body()
                        entry = Entry(who, action, id, old, after.body())
                        await self._audit.record(connection, entry)
                        return Change(after, repeated=False)
            return Change(_account(known), repeated=True)
        async with self._database.transaction() as connection:
            known = await self._audit.find(connection, who, action, id)
        return Change(_account(known), repeated=True)


def _account(body: Any) -> Account:
    return Account(str(body["id"]), str(body["name"]), int(body["version"]))
