"""The jobs service on a real PostgreSQL: what its transactions, fences and drains promise."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from harness.cluster import Cluster
from targets.jobs.app.accounts import Accounts
from targets.jobs.app.audit import Audit, Who
from targets.jobs.app.cron import JOBS as CRON_JOBS
from targets.jobs.app.database import Database, as_user
from targets.jobs.app.settings import (
    GATE_PORT,
    POSTGRES_PORT,
    WEB_PORT,
    WORKER_PORT,
    Settings,
)
from targets.jobs.target import Jobs
from tests.support.live_cluster import Live, on_cluster, until

pytestmark = pytest.mark.live

WAIT_S = 15.0

Answer = tuple[int, Any]


class Web:
    """Asks one node, past all links."""

    def __init__(self, session: aiohttp.ClientSession, cluster: Cluster, name: str, port: int):
        self._session = session
        self._base = f"http://{cluster.node(name).address}:{port}"

    async def get(self, path: str) -> Answer:
        return await self._ask("GET", path)

    async def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return await self._ask("POST", path, body, headers)

    async def delete(self, path: str) -> Answer:
        return await self._ask("DELETE", path)

    async def enqueue(self, key: str, queue: str = "emails", **order: Any) -> Answer:
        return await self.post("/jobs", {"key": key, "queue": queue, **order})

    async def job(self, key: str) -> Mapping[str, Any]:
        """The job of that key, when it has finished."""

        async def finished() -> Any:
            _, job = await self.get(f"/jobs/{key}?wait_s=2")
            return job if job["state"] in ("done", "dead", "cancelled") else None

        return dict(await until(finished, WAIT_S))

    async def _ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        async with self._session.request(
            method, f"{self._base}{path}", json=body, headers=headers
        ) as response:
            return response.status, await response.json()


def test_jobs_accounts_and_drains(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        async with aiohttp.ClientSession() as session:
            blue = Web(session, live.cluster, "node-1", WEB_PORT)
            green = Web(session, live.cluster, "node-2", WEB_PORT)
            await keys_and_unique_texts(blue, green)
            await failures_become_dead_letters_and_are_queued_again(blue)
            await limits_hold_over_all_workers(blue)
            await accounts_are_deleted_softly(blue, green)
            await accounts_are_purged_when_nobody_wants_them_back(live.cluster, blue)
            await the_audit_log_cannot_be_changed(live.cluster, blue)
            await a_worker_that_is_paused_writes_nothing_afterwards(live.cluster, blue, session)
            await a_worker_hands_back_what_it_cannot_finish(live.cluster, blue, session)
            await a_web_node_answers_those_who_wait(live.cluster, green)
            assert live.cluster.strays() == {}
            _, effects = await blue.get("/effects")
            assert set(Counter(row[0] for row in effects).values()) == {1}
            _, cron = await blue.get("/cron")
            windows = Counter((job, window) for job, window, *_ in cron)
            assert set(windows.values()) == {1}
            for job in CRON_JOBS:
                ran = sorted(window for name, window in windows if name == job)
                assert ran == list(range(ran[0], ran[-1] + 1))
                assert len(ran) > 1

    on_cluster(
        tmp_path, work, target=Jobs(workers=2, stalled_after_s=1.0, max_attempts=2, drain_s=1.5)
    )


async def keys_and_unique_texts(blue: Web, green: Web) -> None:
    answers = await asyncio.gather(
        *(web.enqueue("k1", args={"work_ms": 5}) for _ in range(3) for web in (blue, green))
    )
    assert sorted(status for status, _ in answers) == [200] * 5 + [201]
    job = answers[0][1]
    assert (await green.enqueue("k1", args={"work_ms": 5}))[0] == 200
    assert (await green.enqueue("k1", args={"work_ms": 6}))[0] == 422
    assert (await blue.job("k1"))["id"] == job["id"]
    assert (await blue.enqueue("k1", args={"work_ms": 5}))[1]["state"] == "done"

    answers = await asyncio.gather(
        *(
            web.enqueue(f"u{n}", unique="one", run_in_s=60)
            for n in range(3)
            for web in (blue, green)
        )
    )
    assert sorted(status for status, _ in answers) == [200] * 5 + [201]
    (holder,) = {job["key"] for _, job in answers}
    assert (await blue.post(f"/jobs/{holder}/cancel"))[0] == 200
    assert (await green.enqueue("v", unique="one"))[0] == 201
    assert (await green.job("v"))["state"] == "done"
    assert (await green.post("/jobs/v/cancel"))[0] == 409


async def failures_become_dead_letters_and_are_queued_again(web: Web) -> None:
    await web.enqueue("dead", args={"fails": 3})
    job = await web.job("dead")
    assert (job["state"], job["failures"]) == ("dead", 2)
    assert (await web.get("/queues"))[1]["queues"]["emails"]["dead"] == 1
    assert (await web.post("/jobs/dead/requeue"))[0] == 200
    assert (await web.job("dead"))["state"] == "dead"  # the provider refuses again
    await web.enqueue("late", args={"fails": 1})
    assert (await web.job("late"))["state"] == "done"


async def limits_hold_over_all_workers(web: Web) -> None:
    keys = [f"i{n}" for n in range(6)]
    await asyncio.gather(*(web.enqueue(key, "images", args={"work_ms": 60}) for key in keys))
    for key in keys:
        assert (await web.job(key))["state"] == "done"
    _, effects = await web.get("/effects")
    spans = [(row[4], row[5]) for row in effects if row[3] == "images"]
    running = [sum(start <= one < end for start, end in spans) for one, _ in spans]
    assert max(running) == 2


async def accounts_are_deleted_softly(blue: Web, green: Web) -> None:
    named = {"X-Request-Id": "create-a", "X-Actor": "ann"}
    for web in (blue, green, blue):  # the same request, repeated elsewhere
        status, account = await web.post("/accounts/a", {"name": "Ann"}, **named)
        assert (status, account["version"]) == (201, 1)
    assert (await blue.post("/accounts/a", {"name": "Ann"}))[0] == 409
    paths = ("/accounts", "/accounts?prefix=a", "/accounts/search?name=Ann")
    for deleted in (False, True, False):
        assert (await green.get("/accounts/a"))[0] == (404 if deleted else 200)
        for path in paths:
            _, found = await green.get(path)
            assert len(found["accounts"]) == (0 if deleted else 1), path
        assert (await green.get("/accounts/count?prefix=a"))[1]["count"] == (0 if deleted else 1)
        change = blue.post("/accounts/a/restore") if deleted else blue.delete("/accounts/a")
        assert (await change)[0] == 200
    _, page = await blue.get("/audit?subject=a")
    actions = [row["action"] for row in page["rows"]]
    changes = ("created", "deleted", "restored", "deleted")
    assert actions == [f"account.{change}" for change in changes]
    assert (page["rows"][0]["actor"], page["rows"][0]["request_id"]) == ("ann", "create-a")


async def accounts_are_purged_when_nobody_wants_them_back(cluster: Cluster, web: Web) -> None:
    settings = Settings(name="test", role="worker", address="127.0.0.1")
    database = Database(as_user(settings, cluster.node("postgres").address), 1)
    accounts = Accounts(database, Audit(settings), settings)
    try:
        assert await accounts.purge(3600, Who("test", "p1")) == 0  # a was deleted just now
        assert await accounts.purge(0, Who("test", "p2")) == 1
    finally:
        await database.close()
    assert (await web.post("/accounts/a/restore"))[0] == 409
    _, page = await web.get("/audit?subject=a")
    assert (page["rows"][-1]["action"], page["rows"][-1]["after"]) == ("account.purged", None)
    assert (await web.post("/accounts/a", {"name": "Another"}))[0] == 201


async def the_audit_log_cannot_be_changed(cluster: Cluster, web: Web) -> None:
    for how in ("update", "delete", "truncate"):
        assert (await web.post("/audit/tamper", {"how": how}))[0] == 403
    host = cluster.node("postgres").address
    owner = await psycopg.AsyncConnection.connect(
        host=host,
        port=POSTGRES_PORT,
        dbname="jobs",
        user="jobs_owner",
        password="jobs_owner",
        autocommit=True,
    )
    async with owner:
        for statement in ("UPDATE audit SET actor = ''", "DELETE FROM audit", "TRUNCATE audit"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
                await owner.execute(statement.encode())


async def a_worker_that_is_paused_writes_nothing_afterwards(
    cluster: Cluster, web: Web, session: aiohttp.ClientSession
) -> None:
    await web.enqueue("paused", args={"work_ms": 300})
    name = await until(lambda: runs(cluster, session, "paused"))
    await cluster.pause(name, "test")
    job = await web.job("paused")
    assert (job["state"], job["takeovers"]) == ("done", 1)
    await cluster.resume(name, "test")
    await until(lambda: said(cluster, name, "fenced"))


async def a_worker_hands_back_what_it_cannot_finish(
    cluster: Cluster, web: Web, session: aiohttp.ClientSession
) -> None:
    await asyncio.gather(
        web.enqueue("short", args={"work_ms": 400}), web.enqueue("long", args={"work_ms": 8000})
    )
    short = await until(lambda: runs(cluster, session, "short"))
    name = await until(lambda: runs(cluster, session, "long"))
    assert await cluster.stop(name, "test") == "exit status 0"
    (drained,) = said(cluster, name, "drained")
    assert (drained["handed_back"], drained["lost"]) == (1, 0)
    assert drained["jobs"] == (1 if short == name else 0)
    other = await until(lambda: runs(cluster, session, "long"))
    assert other != name
    await cluster.revive(name, "test")
    assert (await web.job("short"))["state"] == "done"
    await cluster.kill(other, "test")

    async def taken_over() -> bool:
        _, job = await web.get("/jobs/long")
        return bool(job["takeovers"] == 1)

    await until(taken_over, WAIT_S)
    await cluster.revive(other, "test")
    assert await cluster.wait_serving(20) == []


async def a_web_node_answers_those_who_wait(cluster: Cluster, web: Web) -> None:
    await web.enqueue("far", run_in_s=60)
    waiting = [asyncio.create_task(web.get("/jobs/far?wait_s=5")) for _ in range(20)]
    await web.get("/jobs/far")
    assert await cluster.stop("node-2", "test") == "exit status 0"
    for status, job in await asyncio.gather(*waiting):
        assert (status, job["state"]) == (200, "scheduled")
    (drained,) = said(cluster, "node-2", "drained")
    assert (drained["http"], drained["lost"]) == (20, 0)


def test_the_gate_takes_a_bad_release_back(tmp_path: Path) -> None:
    async def work(live: Live) -> None:
        async with aiohttp.ClientSession() as session:
            gate = Web(session, live.cluster, "gate", GATE_PORT)
            answers: list[int] = []
            asking = asyncio.create_task(ask_for_ever(gate, answers))
            status, switched = await gate.post("/gate/switch", {"to": "green"})
            assert (status, switched["rolled_back"], switched["active"]) == (409, True, "blue")
            await live.cluster.kill("node-2", "test")
            status, switched = await gate.post("/gate/switch", {"to": "green"})
            assert (status, switched["rolled_back"], switched["active"]) == (409, False, "blue")
            asking.cancel()
            assert answers
            assert set(answers) == {201}
            _, page = await gate.get("/audit")
            deployments = [row["action"] for row in page["rows"] if "deploy" in row["action"]]
            assert deployments == ["deploy.switched", "deploy.rolled-back", "deploy.refused"]

    on_cluster(tmp_path, work, target=Jobs(workers=1, green="fails-later"))


async def ask_for_ever(gate: Web, answers: list[int]) -> None:
    for number in range(100_000):
        status, _ = await gate.enqueue(f"g{number}", run_in_s=600)
        answers.append(status)
        await asyncio.sleep(0.01)


async def runs(cluster: Cluster, session: aiohttp.ClientSession, key: str) -> str:
    """The worker that runs the job, by its own account; nothing if none says so."""
    for name in ("worker-1", "worker-2"):
        if not cluster.serving(name):
            continue
        _, role = await Web(session, cluster, name, WORKER_PORT).get("/role")
        if key in role["running"]:
            return name
    return ""


def said(cluster: Cluster, name: str, event: str) -> list[dict[str, Any]]:
    """The lines of that event in the node's log."""
    lines = (json.loads(line) for line in cluster.log_tail(name, 5000).splitlines())
    return [line for line in lines if line["event"] == event]
