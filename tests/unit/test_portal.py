"""The door to the engine's loop: results, errors, interrupts that clean up."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from harness.portal import Portal, sigterm_interrupts
from harness.uninterrupted import uninterrupted


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal()
    yield portal
    portal.close()


def test_a_result_comes_back_from_another_thread(portal: Portal) -> None:
    async def work() -> int:
        return threading.get_ident()

    assert portal.call(work()) != threading.get_ident()


def test_an_error_comes_back_as_it_is(portal: Portal) -> None:
    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        portal.call(work())


def test_an_interrupt_cancels_the_work_and_waits_for_its_clean_up(portal: Portal) -> None:
    cleaned = threading.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await uninterrupted(clean_up())

    async def clean_up() -> None:
        await asyncio.sleep(0)
        cleaned.set()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        portal.call(work(), interrupt)
    assert cleaned.is_set()


def test_uninterrupted_work_ends_before_the_cancellation_goes_on(portal: Portal) -> None:
    ended: list[str] = []
    entered = threading.Event()

    async def slow(leave: asyncio.Event) -> None:
        entered.set()
        await leave.wait()
        ended.append("work")

    async def work() -> None:
        leave = asyncio.Event()
        task = asyncio.create_task(uninterrupted(slow(leave)))
        while not entered.is_set():
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        leave.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        ended.append("cancelled")

    portal.call(work())
    assert ended == ["work", "cancelled"]


def test_sigterm_does_what_ctrl_c_does_and_only_inside() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), sigterm_interrupts():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
