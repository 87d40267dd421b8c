"""The logs on this node's disk: its own, and its copies of the others'.

SQLite, in write-ahead mode. Entries are only ever added. What is written in one turn of the loop is
one transaction (a group commit), and nobody is told of an entry before that has ended: not the
writer, not the readers, not the other nodes. A commit has reached the operating system when it
ends, so it survives whatever happens to the process; with `fsync` it has reached the disk. SQLite
is called from the loop itself: such a write is some tens of microseconds, with `fsync` what the
disk takes.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

from .entries import SEPARATOR, Cursor, Entry, Kind

PAGE: Final = 500
PAGE_BYTES: Final = 128 * 1024
"""Of bodies in one page, counted in characters: as JSON that is a frame of the mesh at the most."""

MOST_PENDING: Final = 5000
LATE_S: Final = 0.3
"""Of the mutant `ack-before-write` alone."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    origin TEXT NOT NULL, seq INTEGER NOT NULL, clock INTEGER NOT NULL, topic TEXT NOT NULL,
    kind TEXT NOT NULL, id TEXT NOT NULL, user TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (origin, seq)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_of_topic ON entries (topic, origin, seq);
CREATE INDEX IF NOT EXISTS entries_by_id ON entries (topic, id);
CREATE INDEX IF NOT EXISTS questions ON entries (origin, seq) WHERE kind = 'ask';
CREATE TABLE IF NOT EXISTS answers (stream TEXT PRIMARY KEY, said INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS entries_stay BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'entries are only ever added'); END;
CREATE TRIGGER IF NOT EXISTS entries_are_final BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'entries are only ever added'); END;
"""

_COLUMNS: Final = "origin, seq, clock, topic, kind, id, user, body"


class StorageError(Exception):
    """The disk took nothing of it."""


class OverloadedError(StorageError):
    """More is waiting to be written than may wait."""


class Store:
    """`origin` names this node's own log: with a number drawn when the store was made, so that a
    node that lost its disk writes another log and never the same places again. `have` says how far
    each log is known here, `reached` how far it will be when what waits is written. `clock` is the
    greatest seen."""

    def __init__(
        self, path: Path, node: str, random: Random, *, fsync: bool, mutant: str | None = None
    ) -> None:
        self._mutant = mutant
        self._db = sqlite3.connect(path, isolation_level=None, cached_statements=64)
        # One process alone: so SQLite keeps its index of the write-ahead log in memory, and not in
        # a mapped file, which a full disk would make a fatal signal of.
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={'FULL' if fsync else 'OFF'}")
        self._db.executescript(_SCHEMA)
        self.origin = self._own_origin(node, random)
        self.have: dict[str, int] = dict(
            self._db.execute("SELECT origin, MAX(seq) FROM entries GROUP BY origin")
        )
        self.clock: int = self._row("SELECT COALESCE(MAX(clock), 0) FROM entries")[0]
        self.reached: dict[str, int] = dict(self.have)
        self._writing: dict[tuple[str, str], Entry] = {}
        self._entries: list[Entry] = []
        self._said: dict[str, int | None] = {}
        self._done: asyncio.Future[None] | None = None
        self._timer: asyncio.Handle | None = None
        self._listeners: list[Callable[[Sequence[Entry]], None]] = []

    def listen(self, callback: Callable[[Sequence[Entry]], None]) -> None:
        """Have `callback` told of all entries, in the step that wrote them, in their order."""
        self._listeners.append(callback)

    async def append(self, topic: str, kind: Kind, name: str, user: str, body: str) -> Entry:
        """Add to this node's log; the entry as it now stands there. Raises `StorageError`."""
        if len(self._entries) >= MOST_PENDING:
            raise OverloadedError
        self.clock += 1
        seq = self.reached.get(self.origin, 0) + 1
        entry = Entry(self.origin, seq, self.clock, topic, kind, name, user, body)
        self.reached[self.origin] = seq
        self._writing[topic, name] = entry
        self._entries.append(entry)
        if kind == "ask":
            self._said[entry.stream] = 0
        elif kind == "end":
            self._said[name] = None
        written = self._written()
        if self._mutant == "ack-before-write":  # Mutant: it will be written, some day soon.
            return entry
        await asyncio.shield(written)
        return entry

    def add(self, entries: Iterable[Entry]) -> asyncio.Future[None]:
        """Add to copies of other logs, each at the end of what is here of it. The future ends when
        they are written, with a `StorageError` if none was."""
        for entry in entries:
            self.clock = max(self.clock, entry.clock)
            self.reached[entry.origin] = entry.seq
            self._entries.append(entry)
        return self._written()

    def answering(self, stream: str, said: int) -> None:
        """Remember how many tokens of an answer that has not ended were given out."""
        self._said[stream] = said
        self._written()

    async def find(self, topic: str, name: str) -> Entry | None:
        """What `name` is in `topic`, as soon as it is written. Raises `StorageError`."""
        if (topic, name) in self._writing:
            entry = self._writing[topic, name]
            await asyncio.shield(self._written())
            return entry
        return next(iter(self.named(topic, name)), None)

    def named(self, topic: str, name: str) -> list[Entry]:
        """What is called `name` in `topic`, in the order of people. More than one if it was pushed
        at several nodes, none of which knew of the others."""
        found = self._read("WHERE topic = ? AND id = ?", topic, name)
        return sorted(found, key=lambda entry: entry.order)

    def after(self, topic: str, cursor: Cursor, limit: int) -> list[Entry]:
        """The first `limit` of the topic that the cursor does not cover, in the order of people."""
        found: list[Entry] = []
        for origin, last in self.have.items():
            since = cursor.get(origin, 0)
            if since < last:
                where = "WHERE topic = ? AND origin = ? AND seq > ? ORDER BY seq LIMIT ?"
                found += self._read(where, topic, origin, since, limit)
        found.sort(key=lambda entry: entry.order)
        return found[:limit]

    def last(self, topic: str, kind: Kind, limit: int) -> list[Entry]:
        """The last `limit` of one kind, in the order of people."""
        found: list[Entry] = []
        for origin in self.have:
            where = "WHERE topic = ? AND origin = ? AND kind = ? ORDER BY seq DESC LIMIT ?"
            found += self._read(where, topic, origin, kind, limit)
        found.sort(key=lambda entry: entry.order)
        return found[-limit:]

    def part(self, origin: str, after: int, limit: int = PAGE) -> list[Entry]:
        """Of one log, what follows `after`: at most `limit` entries of about `PAGE_BYTES`."""
        where = "WHERE origin = ? AND seq > ? ORDER BY seq LIMIT ?"
        return fitting(self._read(where, origin, after, limit))

    def at(self, origin: str, seq: int) -> Entry | None:
        return next(iter(self._read("WHERE origin = ? AND seq = ?", origin, seq)), None)

    def unfinished(self) -> list[tuple[Entry, int]]:
        """Questions of this node whose answer has not ended, and how many tokens were said."""
        rows = self._db.execute("SELECT stream, said FROM answers").fetchall()
        found = []
        for stream, said in rows:
            origin, _, seq = stream.rpartition(SEPARATOR)
            entry = self.at(origin, int(seq))
            if entry is not None:
                found.append((entry, said))
        return found

    def open_questions(self) -> list[Entry]:
        """Questions of all nodes whose end is not known here."""
        return self._read(
            "AS ask WHERE kind = 'ask' AND NOT EXISTS (SELECT 1 FROM entries AS done WHERE"
            " done.topic = ask.topic AND done.kind = 'end'"
            f" AND done.id = ask.origin || '{SEPARATOR}' || ask.seq)"
        )

    async def flush(self) -> None:
        """Wait until all is written. Raises `StorageError`."""
        if self._done is not None:
            await asyncio.shield(self._done)

    def close(self) -> None:
        """Write what waits, and end."""
        if self._done is not None:
            self._commit()
        self._db.close()

    def _written(self) -> asyncio.Future[None]:
        """The end of the transaction that takes what is waiting now."""
        if self._done is None:
            loop = asyncio.get_running_loop()
            self._done = loop.create_future()
            self._done.add_done_callback(_seen)  # also if nobody waits for it any more
            if self._mutant == "ack-before-write":
                self._timer = loop.call_later(LATE_S, self._commit)
            else:
                # A turn later: whoever was woken in this one writes into the same transaction.
                self._timer = loop.call_soon(self._commit)
        return self._done

    def _commit(self) -> None:
        entries, said, done = self._entries, self._said, self._done
        self._entries, self._said, self._done = [], {}, None
        self._writing.clear()
        if self._timer is not None:
            self._timer.cancel()
        assert done is not None
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                f"INSERT INTO entries ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (entry.packed() for entry in entries),
            )
            for stream, number in said.items():
                if number is None:
                    self._db.execute("DELETE FROM answers WHERE stream = ?", (stream,))
                else:
                    self._db.execute("REPLACE INTO answers VALUES (?, ?)", (stream, number))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            # Nobody knew of the places that these entries had here: others take them.
            self.reached = dict(self.have)
            done.set_exception(StorageError(str(error)))
            return
        for entry in entries:
            self.have[entry.origin] = entry.seq
        try:
            if entries:
                for listener in self._listeners:
                    listener(entries)
        finally:
            done.set_result(None)

    def _own_origin(self, node: str, random: Random) -> str:
        known = self._row("SELECT value FROM meta WHERE name = 'origin'")
        if known is not None:
            return str(known[0])
        origin = f"{node}~{random.getrandbits(32):08x}"
        self._db.execute("INSERT INTO meta VALUES ('origin', ?)", (origin,))
        return origin

    def _row(self, sql: str, *given: Any) -> Any:
        return self._db.execute(sql, given).fetchone()

    def _read(self, where: str, *given: Any) -> list[Entry]:
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM entries {where}", given)
        return [Entry(*row) for row in rows]


def fitting(entries: list[Entry]) -> list[Entry]:
    """The first of them that fit into a page of `PAGE_BYTES`; one always does."""
    size = 0
    for number, entry in enumerate(entries):
        size += len(entry.body)
        if number and size > PAGE_BYTES:
            return entries[:number]
    return entries


def _seen(done: asyncio.Future[None]) -> None:
    if not done.cancelled():
        done.exception()
