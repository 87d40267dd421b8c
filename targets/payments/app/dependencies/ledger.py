"""An append-only ledger in which each id stands once: what the provider and notifications keep."""

from __future__ import annotations

import sqlite3


class Ledger:
    """`add` runs inside a transaction that the caller commits."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        connection.execute(
            "CREATE TABLE IF NOT EXISTS entries (n INTEGER PRIMARY KEY,"
            " id TEXT UNIQUE NOT NULL, key TEXT NOT NULL, amount INTEGER NOT NULL)"
        )

    def add(self, id: str, key: str, amount: int) -> bool:
        """False if the id was there already; then nothing happens."""
        added = self._db.execute(
            "INSERT OR IGNORE INTO entries (id, key, amount) VALUES (?, ?, ?)", (id, key, amount)
        )
        return added.rowcount == 1

    def entries(self) -> list[tuple[str, str, int]]:
        """Key, id and amount of all, in the order in which they were added."""
        return self._db.execute("SELECT key, id, amount FROM entries ORDER BY n").fetchall()
