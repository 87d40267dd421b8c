"""Group commit: durable answers, shared transactions, failures told to all who share one."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from targets.payments.app.dependencies.database import GROUP, GroupCommit, open_database
from targets.payments.app.dependencies.ledger import Ledger


def rows(path: Path) -> int:
    """What another process sees."""
    other = sqlite3.connect(path)
    try:
        return int(other.execute("SELECT count(*) FROM entries").fetchone()[0])
    finally:
        other.close()


def test_what_was_answered_is_on_disk(tmp_path: Path) -> None:
    async def work() -> None:
        connection = open_database(tmp_path / "db")
        ledger, commit = Ledger(connection), GroupCommit(connection)
        assert await commit.run(lambda: ledger.add("c1", "k", 5))
        assert rows(tmp_path / "db") == 1
        assert not await commit.run(lambda: ledger.add("c1", "k", 5))
        assert ledger.entries() == [("k", "c1", 5)]
        connection.close()

    asyncio.run(work())


def test_requests_of_one_moment_share_a_commit(tmp_path: Path) -> None:
    async def work() -> None:
        connection = open_database(tmp_path / "db")
        ledger, commit = Ledger(connection), GroupCommit(connection)
        begun: list[str] = []
        connection.set_trace_callback(begun.append)
        await asyncio.gather(
            *(commit.run(lambda n=n: ledger.add(f"c{n}", "k", n)) for n in range(GROUP + 1))
        )
        connection.set_trace_callback(None)
        assert sum(text.startswith("BEGIN") for text in begun) == 2
        assert [row[1] for row in ledger.entries()] == [f"c{n}" for n in range(GROUP + 1)]
        connection.close()

    asyncio.run(work())


def test_a_failure_is_told_to_the_group_and_the_next_one_works(tmp_path: Path) -> None:
    async def work() -> None:
        connection = open_database(tmp_path / "db")
        ledger, commit = Ledger(connection), GroupCommit(connection)
        told = await asyncio.gather(
            commit.run(lambda: ledger.add("c1", "k", 1)),
            commit.run(lambda: connection.execute("INSERT INTO entries (id) VALUES (1)")),
            return_exceptions=True,
        )
        assert [type(one) for one in told] == [sqlite3.IntegrityError] * 2
        assert ledger.entries() == []
        assert await commit.run(lambda: ledger.add("c1", "k", 1))
        connection.close()

    asyncio.run(work())


def test_whoever_stopped_waiting_disturbs_nobody(tmp_path: Path) -> None:
    async def work() -> None:
        connection = open_database(tmp_path / "db")
        ledger, commit = Ledger(connection), GroupCommit(connection)
        gone = asyncio.create_task(commit.run(lambda: ledger.add("c1", "k", 1)))
        stays = asyncio.create_task(commit.run(lambda: ledger.add("c2", "k", 1)))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays
        with pytest.raises(asyncio.CancelledError):
            await gone
        connection.close()

    asyncio.run(work())
