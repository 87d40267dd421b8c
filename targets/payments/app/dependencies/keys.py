"""Idempotency keys and the outbox of notifications: the rules, on one SQLite connection.

A key has a record from its first request until its lifetime ends. The record holds the charge's id,
made once, and while a request works on it the lease of that request. All methods run inside a
transaction that the caller commits, except those that only look: `find`, `due`, `expired` and
`counts`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..logs import Clock

LEASE_S = 1.0
"""Longer than a request may take, so that nobody works on a key after losing its lease; if somebody
does nevertheless, the provider knows the charge by its id."""

_TABLES = """
CREATE TABLE IF NOT EXISTS keys (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, charge_id TEXT NOT NULL,
    created REAL NOT NULL, expires REAL NOT NULL,
    owner TEXT, lease_until REAL NOT NULL, outcome TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS keys_by_expiry ON keys (expires);
CREATE TABLE IF NOT EXISTS outbox (
    id TEXT PRIMARY KEY, key TEXT NOT NULL, amount INTEGER NOT NULL,
    created REAL NOT NULL, claimed_until REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS outbox_by_claim ON outbox (claimed_until);
"""


@dataclass(frozen=True)
class Begun:
    """What a request is told of its key. `mine`: go on with `charge_id`; `busy`: somebody else
    does; `done`: here is the outcome; `other`: the key belongs to another payload."""

    state: Literal["mine", "busy", "done", "other"]
    charge_id: str = ""
    outcome: Mapping[str, Any] | None = None
    notified: bool = False


class Keys:
    """All times are seconds of `clock`, which goes on where it stopped when the store restarts."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock, lifetime_s: float) -> None:
        self._db = connection
        self._lifetime_s = lifetime_s
        connection.executescript(_TABLES)
        # Neither the wall clock nor the loop's can be trusted over a restart. Counted on from the
        # last record, a key may live longer by the time the store was down, and never shorter.
        created = "SELECT max(created) AS at FROM keys UNION ALL SELECT max(created) FROM outbox"
        (base,) = connection.execute(f"SELECT coalesce(max(at), 0) FROM ({created})").fetchone()
        self._clock = clock
        self._offset: float = base - clock()

    def begin(self, key: str, fingerprint: str, charge_id: str, owner: str) -> Begun:
        """Take the key for the request `owner`, or say why not. `charge_id` is what the charge will
        be called if the key is new. The same owner may ask again."""
        now = self._now()
        row = self._db.execute(
            "SELECT fingerprint, charge_id, owner, lease_until, outcome FROM keys"
            " WHERE key = ? AND expires > ?",
            (key, now),
        ).fetchone()
        if row is None:
            self._db.execute(
                "INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                (key, fingerprint, charge_id, now, now + self._lifetime_s, owner, now + LEASE_S),
            )
            return Begun("mine", charge_id)
        known, charge_id, holder, lease_until, outcome = row
        if known != fingerprint:
            return Begun("other")
        if outcome is not None:
            return Begun("done", charge_id, json.loads(outcome), self._notified(charge_id))
        if holder not in (None, owner) and lease_until > now:
            return Begun("busy")
        self._db.execute(
            "UPDATE keys SET owner = ?, lease_until = ? WHERE key = ?", (owner, now + LEASE_S, key)
        )
        return Begun("mine", charge_id)

    def finish(
        self, key: str, fingerprint: str, charge_id: str, outcome: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The charge was made: keep the outcome, and its notification in the outbox, claimed by the
        caller. Returns the outcome that stands. May be told twice."""
        now = self._now()
        row = self._db.execute(
            "SELECT charge_id, outcome FROM keys WHERE key = ?", (key,)
        ).fetchone()
        if row is not None and row[1] is not None:
            return dict(json.loads(row[1]))
        text = json.dumps(outcome)
        if row is None:
            # It expired while it was worked on. The charge was made all the same.
            self._db.execute(
                "INSERT INTO keys VALUES (?, ?, ?, ?, ?, NULL, 0, ?)",
                (key, fingerprint, charge_id, now, now + self._lifetime_s, text),
            )
        else:
            self._db.execute(
                "UPDATE keys SET outcome = ?, charge_id = ?, owner = NULL WHERE key = ?",
                (text, charge_id, key),
            )
        self._db.execute(
            "INSERT OR IGNORE INTO outbox VALUES (?, ?, ?, ?, ?)",
            (charge_id, outcome["key"], outcome["amount"], now, now + LEASE_S),
        )
        return outcome

    def release(self, key: str, owner: str) -> None:
        """The owner gives up, and does not know whether the charge was made: whoever asks next goes
        on with the same id."""
        self._db.execute(
            "UPDATE keys SET owner = NULL WHERE key = ? AND owner = ? AND outcome IS NULL",
            (key, owner),
        )

    def find(self, key: str) -> Begun | None:
        """What is known of a key: `done`, `busy` (begun, no outcome yet), or nothing."""
        row = self._db.execute(
            "SELECT charge_id, outcome FROM keys WHERE key = ? AND expires > ?", (key, self._now())
        ).fetchone()
        if row is None:
            return None
        charge_id, outcome = row
        if outcome is None:
            return Begun("busy", charge_id)
        return Begun("done", charge_id, json.loads(outcome), self._notified(charge_id))

    def due(self) -> bool:
        """Whether `claim` would find anything."""
        found = self._db.execute(
            "SELECT 1 FROM outbox WHERE claimed_until <= ? LIMIT 1", (self._now(),)
        ).fetchone()
        return found is not None

    def claim(self, limit: int) -> list[tuple[str, str, int]]:
        """Up to `limit` notifications (id, key, amount) that nobody is delivering, the longest
        waiting first. They are the caller's for the length of a lease."""
        now = self._now()
        rows = self._db.execute(
            "SELECT id, key, amount FROM outbox WHERE claimed_until <= ?"
            " ORDER BY claimed_until LIMIT ?",
            (now, limit),
        ).fetchall()
        self._db.executemany(
            "UPDATE outbox SET claimed_until = ? WHERE id = ?",
            [(now + LEASE_S, row[0]) for row in rows],
        )
        return rows

    def delivered(self, ids: Sequence[str]) -> None:
        self._db.executemany("DELETE FROM outbox WHERE id = ?", [(id,) for id in ids])

    def expired(self) -> bool:
        """Whether `sweep` would find anything."""
        found = self._db.execute(
            "SELECT 1 FROM keys WHERE expires <= ? LIMIT 1", (self._now(),)
        ).fetchone()
        return found is not None

    def sweep(self, limit: int) -> int:
        """Delete up to `limit` expired keys; how many there were. O(limit log keys)."""
        return self._db.execute(
            "DELETE FROM keys WHERE key IN (SELECT key FROM keys WHERE expires <= ? LIMIT ?)",
            (self._now(), limit),
        ).rowcount

    def forget(self) -> None:
        self._db.execute("DELETE FROM keys")

    def counts(self) -> dict[str, int]:
        """Rows of both tables, and bytes of the database without its log."""
        answers = {
            table: self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("keys", "outbox")
        }
        (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        (size,) = self._db.execute("PRAGMA page_size").fetchone()
        return {**answers, "file_bytes": pages * size}

    def _now(self) -> float:
        return self._offset + self._clock()

    def _notified(self, charge_id: str) -> bool:
        waiting = self._db.execute("SELECT 1 FROM outbox WHERE id = ?", (charge_id,)).fetchone()
        return waiting is None
