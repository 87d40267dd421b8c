"""The schema, and how it comes to be: migrations that are applied once, whoever comes first.

Each file in `migrations` is applied in a transaction of its own together with the row that says so,
under an advisory lock that the transaction holds: a node that dies, or is paused, in the middle of
one leaves nothing behind, and the next one begins where the last commit was. The first is the
schema of procrastinate itself. All of it belongs to the owner of the database; the user that serves
gets what `GRANTS` says, and so can neither change nor delete a row of the audit log."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Mapping, Sequence
from importlib import resources

import psycopg
from procrastinate.schema import SchemaManager
from psycopg import sql

from .backoff import Backoff
from .database import Address, Connection, Database, UnavailableError, deadline
from .logs import Log
from .settings import Settings

LOCK = 7_203_311
"""The advisory lock of migrations; any number will do that nobody else uses in this database."""

MIGRATION_S = 10.0
READY = "ready"
WAITING = Backoff(base_s=0.1, cap_s=1.0)

GRANTS: Mapping[str, str] = {
    "procrastinate_jobs": "SELECT, INSERT, UPDATE, DELETE",
    "procrastinate_events": "SELECT, INSERT, UPDATE, DELETE",
    "procrastinate_workers": "SELECT, INSERT, UPDATE, DELETE",
    "procrastinate_periodic_defers": "SELECT, INSERT, UPDATE, DELETE",
    "queues": "SELECT, INSERT, UPDATE",
    "job_keys": "SELECT, INSERT, UPDATE, DELETE",
    "effects": "SELECT, INSERT",
    "accounts": "SELECT, INSERT, UPDATE, DELETE",
    "live_accounts": "SELECT",
    "audit": "SELECT, INSERT",
    "leases": "SELECT, INSERT, UPDATE",
    "cron_state": "SELECT, INSERT, UPDATE",
    "cron_runs": "SELECT, INSERT",
    "schema_migrations": "SELECT",
}
"""What the user that serves may do."""


@functools.cache
def migrations() -> Sequence[tuple[int, str, str]]:
    """Number, name and text of each, in order."""
    found = [(0, "procrastinate", str(SchemaManager.get_schema()))]
    folder = resources.files(__package__) / "migrations"
    for file in folder.iterdir():
        if file.name.endswith(".sql"):
            number, name = file.name.removesuffix(".sql").split("_", 1)
            found.append((int(number), name, file.read_text(encoding="utf-8")))
    return sorted(found)


async def migrate(owner: Address, settings: Settings, log: Log) -> None:
    """Apply what is missing. Raises `UnavailableError`; it can be called again."""
    connection = await owner.connect()
    try:
        with deadline(connection, MIGRATION_S):
            for number, name, text in migrations():
                if await _apply(connection, number, name, text):
                    log.info("migrated", number=number, name=name)
            await _settle(connection, settings)
    except psycopg.OperationalError as error:
        raise UnavailableError(f"the schema: {error}", certain=False) from error
    finally:
        await connection.close()


async def state(database: Database) -> str:
    """`READY` if the database answers and has the newest schema; else what is the matter."""
    newest, _, _ = migrations()[-1]
    try:
        row = await database.fetch_one("SELECT max(number) FROM schema_migrations")
    except UnavailableError as error:
        return f"no database: {error}"
    except psycopg.Error:
        return "no schema"  # nor may we look at it
    number = -1 if row is None or row[0] is None else int(row[0])
    return READY if number >= newest else f"schema {number}, {newest} is needed"


async def _apply(connection: Connection, number: int, name: str, text: str) -> bool:
    async with connection.transaction():
        await _alone(connection)
        done = await connection.execute(
            "SELECT 1 FROM schema_migrations WHERE number = %s", [number]
        )
        if await done.fetchone() is not None:
            return False
        await connection.execute(text.encode())
        await connection.execute(
            "INSERT INTO schema_migrations (number, name) VALUES (%s, %s)", [number, name]
        )
    return True


async def _settle(connection: Connection, settings: Settings) -> None:
    """What is no migration because it follows the settings: grants, and the queues' limits."""
    user = sql.Identifier(settings.user)
    async with connection.transaction():
        await _alone(connection)
        for table, privileges in GRANTS.items():
            await connection.execute(
                sql.SQL("GRANT {} ON {} TO {}").format(
                    sql.SQL(privileges), sql.Identifier(table), user
                )
            )
        await connection.execute(
            sql.SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {}").format(user)
        )
        # Also from what an older grant, or a careless one, may have given.
        await connection.execute(
            sql.SQL("REVOKE UPDATE, DELETE, TRUNCATE ON audit FROM PUBLIC, {}").format(user)
        )
        for queue, most in settings.queues.items():
            await connection.execute(
                "INSERT INTO queues (name, most) VALUES (%s, %s) "
                "ON CONFLICT (name) DO UPDATE SET most = excluded.most",
                [queue, most],
            )
        if settings.mutant == "audit-can-be-changed":  # Mutant: as if nobody had thought of it.
            await connection.execute("ALTER TABLE audit DISABLE TRIGGER USER")
            await connection.execute(sql.SQL("GRANT ALL ON audit TO {}").format(user))


async def _alone(connection: Connection) -> None:
    """The lock is the transaction's: it goes when that ends, however it ends."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations (number integer PRIMARY KEY, "
        "name text NOT NULL, at timestamptz NOT NULL DEFAULT now())"
    )


async def migrate_when_possible(
    owner: Address, settings: Settings, log: Log, random: random.Random
) -> None:
    """Try until the database is there. What is no matter of availability is raised."""
    attempt = 0
    while True:
        try:
            await migrate(owner, settings, log)
        except UnavailableError as error:
            attempt += 1
            log.warning("waiting-for-database", attempt=attempt, error=str(error))
            await asyncio.sleep(WAITING.delay_s(attempt, random))
        else:
            return
