"""SQLite in an asyncio process: durable commits, shared by all requests that wait for one."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

GROUP = 256
"""How many requests share a transaction at most."""

T = TypeVar("T")


def open_database(path: Path | str) -> sqlite3.Connection:
    """A database whose commits survive a SIGKILL and a power cut."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


class GroupCommit:
    """Runs work in transactions, and answers when it is on disk.

    A commit blocks the loop (1 to 2 ms; a thread would buy nothing, as there is one writer). What
    arrives meanwhile is read in the next turn of the loop and shares the next transaction, so that
    the cost of a commit is spread the wider the more there is to do.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._waiting: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._due = False

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, once it is durable. If one of a group raises, none of the group is
        done and each is told."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append((work, future))
        if not self._due:
            self._due = True
            loop.call_soon(self._commit)
        return await future

    def _commit(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
        self._due = bool(self._waiting)
        if self._due:
            asyncio.get_running_loop().call_soon(self._commit)
        try:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                answers = [work() for work, _ in group]
        except Exception as error:
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(group, answers, strict=True):
            if not future.done():
                future.set_result(answer)
