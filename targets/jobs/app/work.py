"""What the jobs do. Small, but of three kinds: waiting for somebody, computing, reading the
database.

What a job did counts when its row is in the ledger, and that row is `execution`'s to write; so a
run that is cut off, or that another worker has overtaken, has done nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from .accounts import Accounts

SLICE = 64 * 1024
"""Bytes computed before the others on the loop have their turn: below 1 ms."""

SLICES_PER_S = 20

Work: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[None]]


class JobError(Exception):
    """The job could not be done this time."""


def works(accounts: Accounts) -> Mapping[str, Work]:
    """By queue. Other queues have `emails`'s."""

    async def sync(args: Mapping[str, Any]) -> None:
        account = args.get("account")
        # Through the scope, as everybody: there is nothing to be done for one that was deleted.
        if account is not None:
            await accounts.get(str(account))
        await emails(args)

    return {"emails": emails, "images": images, "sync": sync}


async def emails(args: Mapping[str, Any]) -> None:
    """As long as the mail provider takes to answer."""
    await asyncio.sleep(_seconds(args))


async def images(args: Mapping[str, Any]) -> None:
    """Computes, in slices, and is held up by the disk in between."""
    slices = max(1, round(_seconds(args) * SLICES_PER_S))
    digest = hashlib.blake2b()
    pixels = bytes(SLICE)
    for _ in range(slices):
        digest.update(pixels)
        await asyncio.sleep(_seconds(args) / slices)


def fail_if_told(args: Mapping[str, Any], failures: int) -> None:
    """The first `args["fails"]` runs fail: a provider that is down for a while. Raises
    `JobError`."""
    if failures < int(args.get("fails", 0)):
        raise JobError(f"the provider refused (failure {failures + 1})")


def _seconds(args: Mapping[str, Any]) -> float:
    return float(args.get("work_ms", 0)) / 1000
