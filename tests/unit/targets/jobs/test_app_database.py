"""Nobody waits for ever for a database, and everybody learns what is certain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from targets.jobs.app import database
from targets.jobs.app.database import Address, Database, UnavailableError


@asynccontextmanager
async def silent_server() -> AsyncIterator[Address]:
    """Accepts connections, and says nothing."""
    held: list[asyncio.StreamWriter] = []

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield Address("127.0.0.1", "jobs", "jobs", "jobs", server.sockets[0].getsockname()[1])
    finally:
        for writer in held:
            writer.close()
        server.close()


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CONNECT_S", 0.03)
    monkeypatch.setattr(database, "WAIT_S", 0.03)


def test_a_server_that_says_nothing_is_given_up() -> None:
    async def work() -> None:
        async with silent_server() as address:
            pool = Database(address, 1)
            with pytest.raises(UnavailableError, match="no connection") as caught:
                async with pool.transaction():
                    raise AssertionError("there was none")
            assert caught.value.certain
            await pool.close()

    asyncio.run(work())


def test_a_server_that_is_not_there_is_told_at_once_and_the_place_is_free_again() -> None:
    async def work() -> None:
        async with silent_server() as address:
            pass
        pool = Database(address, 1)
        for _ in range(3):
            with pytest.raises(UnavailableError, match="no connection"):
                await pool.fetch_one("SELECT 1")

    asyncio.run(work())


def test_whoever_finds_no_free_connection_waits_for_a_while() -> None:
    async def work() -> None:
        async with silent_server() as address:
            pool = Database(address, 1)
            first = asyncio.create_task(pool.fetch_one("SELECT 1"))
            database.CONNECT_S = 10.0
            await asyncio.sleep(0)
            with pytest.raises(UnavailableError, match="in use") as caught:
                await pool.fetch_one("SELECT 1")
            assert caught.value.certain
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)

    asyncio.run(work())


def test_the_password_is_not_told() -> None:
    assert "secret" not in repr(Address("h", "d", "u", "secret"))
