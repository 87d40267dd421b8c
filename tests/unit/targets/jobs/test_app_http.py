"""Requests are read strictly, named, answered with their effect, and drained."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import psycopg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from targets.jobs.app.accounts import RefusedError
from targets.jobs.app.database import UnavailableError
from targets.jobs.app.http import (
    BadRequestError,
    Server,
    answer,
    name_of,
    request_id,
    seconds_of,
    whole_of,
)
from targets.jobs.app.logs import Log
from targets.jobs.app.settings import Settings
from targets.jobs.app.web import _order

SETTINGS = Settings(name="node-1", role="web", address="127.0.0.1")
QUEUES: Mapping[str, int] = SETTINGS.queues

Test = Callable[[TestClient[Any, Any], Server], Awaitable[None]]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def carry_out(handler: Callable[[web.Request], Awaitable[web.Response]], test: Test) -> None:
    async def work() -> None:
        clock = asyncio.get_running_loop().time
        log = Log("node-1", "blue", clock, lambda line: None)
        server = Server(SETTINGS, clock, random.Random(1), log)
        application = server.application()
        application.router.add_route("*", "/asked", handler)
        async with TestClient(TestServer(application)) as client:
            await test(client, server)

    asyncio.run(work())


@settings(max_examples=50)
@given(anything)
def test_names_numbers_and_seconds_are_accepted_or_refused(value: Any) -> None:
    for read in (
        lambda: name_of(value, "key"),
        lambda: whole_of(value, "limit", 0, 10),
        lambda: seconds_of(value, "wait_s", 5.0),
    ):
        try:
            read()
        except BadRequestError:
            continue


@settings(max_examples=60)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "key": st.just("k") | anything,
            "queue": st.sampled_from([*QUEUES]) | anything,
            "args": st.dictionaries(st.sampled_from(["work_ms", "fails", "x"]), anything)
            | anything,
            "priority": st.integers() | anything,
            "run_in_s": st.floats() | anything,
            "unique": anything,
        },
    )
)
def test_an_order_is_read_or_refused(body: dict[str, Any]) -> None:
    try:
        order = _order(body, QUEUES)
    except BadRequestError:
        return
    assert order.key == body["key"]
    assert order.queue in QUEUES
    assert order.fingerprint == _order(body, QUEUES).fingerprint


def test_orders_that_differ_have_other_fingerprints() -> None:
    base = {"key": "k", "queue": "emails"}
    others: list[dict[str, Any]] = [
        {"args": {"work_ms": 1}},
        {"queue": "sync"},
        {"priority": 1},
        {"run_in_s": 1},
        {"unique": "u"},
    ]
    prints = {_order({**base, **other}, QUEUES).fingerprint for other in ({}, *others)}
    assert len(prints) == 6
    assert _order({**base, "key": "other"}, QUEUES).fingerprint in prints


@pytest.mark.parametrize(
    ("raised", "status", "effect"),
    [
        (BadRequestError("no"), 400, "no"),
        (RefusedError(409, "no"), 409, "no"),
        (UnavailableError("gone", certain=True), 503, "no"),
        (UnavailableError("gone", certain=False), 503, "unknown"),
        (psycopg.DataError("a NUL"), 400, "no"),
        (ZeroDivisionError(), 500, "unknown"),
    ],
)
def test_every_error_says_whether_it_had_an_effect(
    raised: Exception, status: int, effect: str
) -> None:
    async def handler(_request: web.Request) -> web.Response:
        raise raised

    async def test(client: TestClient[Any, Any], _server: Server) -> None:
        response = await client.post("/asked")
        assert response.status == status
        assert (await response.json())["effect"] == effect

    carry_out(handler, test)


def test_a_request_keeps_its_id_and_gets_one_if_it_has_none() -> None:
    async def handler(_request: web.Request) -> web.Response:
        return answer(200, {"id": request_id()})

    async def test(client: TestClient[Any, Any], _server: Server) -> None:
        response = await client.get("/asked", headers={"X-Request-Id": "r-1"})
        assert response.headers["X-Request-Id"] == "r-1" == (await response.json())["id"]
        assert response.headers["X-Deployment"] == "blue"
        for wrong in ({}, {"X-Request-Id": "with space"}):
            response = await client.get("/asked", headers=wrong)
            assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-Id"])

    carry_out(handler, test)


def test_those_inside_are_counted_and_told_to_close_when_it_drains() -> None:
    going_on, inside = asyncio.Event(), asyncio.Event()

    async def handler(_request: web.Request) -> web.Response:
        inside.set()
        await going_on.wait()
        return answer(200, {})

    async def test(client: TestClient[Any, Any], server: Server) -> None:
        asked = asyncio.ensure_future(client.get("/asked"))
        await inside.wait()
        server.drain_begins()
        assert server.inside == 1
        assert (await client.get("/health")).status == 200  # which is no request of anybody's
        assert server.inside == 1
        going_on.set()
        response = await asked
        assert response.headers["Connection"] == "close"
        assert (server.inside, server.answered) == (0, 1)

    carry_out(handler, test)
