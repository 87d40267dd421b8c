"""The HTTP side of a node, in this process: answers, wrong input, and labels that stay few."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from primitives.limiter import Decision, Limiter
from primitives.telemetry import Metrics

from targets.cluster.app.api import Api
from targets.cluster.app.conflicts import Journal
from targets.cluster.app.runner import Runner


class Ownership:
    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def owners(self) -> dict[str, str | None]:
        return {**dict.fromkeys(self._runner.running, "node-1"), "away": "node-2"}

    async def ensure(self, worker: str, *, here: bool = False) -> tuple[str, bool]:
        if worker == "bug":
            raise ZeroDivisionError
        if not here:
            return "node-2", False
        self._runner.start(worker)
        return "node-1", True

    def drop(self, worker: str) -> bool:
        return worker in self.owners()


class Topics:
    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def publish(self, _topic: str, body: Any) -> None:
        self.messages.append(body)

    def read(self, _topic: str, since: int = 0) -> tuple[list[Any], int]:
        return self.messages[since:], len(self.messages)

    def heads(self) -> dict[str, Any]:
        return {"news": {"node-1/1": len(self.messages) + 1}}


class Fixed:
    """A limiter that decides as it was told to."""

    error = 0.0

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def acquire(self, _key: str) -> Decision:
        return self._decision


class Bench:
    def __init__(self, folder: Path) -> None:
        now = asyncio.get_running_loop().time
        self.events: list[str] = []
        self.lacking: list[str] = []
        self.metrics = Metrics()

        def tell(event: str, **_data: Any) -> None:
            self.events.append(event)

        self.runner = Runner("node-1", 1, tell)
        self.journal = Journal(folder / "conflicts.jsonl", 1, now, tell)
        limiters: dict[str, Limiter] = {
            "strict": Fixed(Decision(False, "unavailable", 0.2)),
            "approximate": Fixed(Decision(False, "limit", 2.4)),
            "open": Fixed(Decision(True, "ok", 0.0)),
        }
        ownership: Any = Ownership(self.runner)
        topics: Any = Topics()
        api = Api(
            ownership=ownership,
            runner=self.runner,
            journal=self.journal,
            topics=topics,
            limiters=limiters,
            members=lambda: {"members": {}},
            ready=lambda: self.lacking,
            metrics=self.metrics,
            tell=tell,
        )
        self.http = TestClient(TestServer(api.application(), host="127.0.0.1"))

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        answer = await self.http.request(method, path, **more)
        return answer.status, await answer.json()


def on_bench(folder: Path, work: Callable[[Bench], Awaitable[None]]) -> None:
    async def whole() -> None:
        bench = Bench(folder)
        async with asyncio.timeout(20), bench.http:
            await work(bench)
        await bench.runner.close()
        bench.journal.close()

    asyncio.run(whole())


def test_workers_are_asked_for_looked_at_and_dropped(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        instance = "node-1/1/1"
        assert await bench.ask("GET", "/running") == (200, {})
        assert await bench.ask("PUT", "/workers/w?at=here") == (
            201,
            {"owner": "node-1", "started": True},
        )
        assert (await bench.ask("PUT", "/workers/v"))[0] == 200
        assert await bench.ask("GET", "/running") == (200, {"w": instance})
        assert await bench.ask("GET", "/workers") == (200, {"w": "node-1", "away": "node-2"})
        status, told = await bench.ask("GET", "/workers/w")
        assert (status, told["owner"], told["instance"]) == (200, "node-1", instance)
        assert await bench.ask("GET", "/workers/away") == (200, {"owner": "node-2"})
        assert (await bench.ask("GET", "/workers/none"))[0] == 404
        assert await bench.ask("DELETE", "/workers/none") == (200, {"wanted": False})

    on_bench(tmp_path, work)


def test_a_limiter_admits_refuses_or_cannot_say(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        assert await bench.ask("POST", "/limit/k?mode=open") == (200, {"admitted": True})
        assert (await bench.ask("POST", "/limit/k"))[0] == 503
        answer = await bench.http.post("/limit/k?mode=approximate")
        assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
        assert (await bench.ask("POST", "/limit/k?mode=other"))[0] == 400

    on_bench(tmp_path, work)


def test_topics_are_published_to_and_read(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        assert (await bench.ask("POST", "/topics/news", json="a"))[0] == 201
        assert (await bench.ask("POST", "/topics/news", data=b"{"))[0] == 400
        assert await bench.ask("GET", "/topics/news") == (200, {"messages": ["a"], "next": 1})
        assert await bench.ask("GET", "/topics/news?since=1") == (200, {"messages": [], "next": 1})
        assert (await bench.ask("GET", "/topics/news?since=-1"))[0] == 400
        assert await bench.ask("GET", "/topics") == (200, {"news": {"node-1/1": 2}})

    on_bench(tmp_path, work)


def test_a_node_is_ready_when_it_lacks_nothing(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        assert (await bench.ask("GET", "/ready"))[0] == 200
        bench.lacking = ["node-3", "leader"]
        assert await bench.ask("GET", "/ready") == (
            503,
            {"status": "not ready", "lacking": ["node-3", "leader"]},
        )
        assert (await bench.ask("GET", "/health"))[0] == 200
        assert (await bench.ask("GET", "/members"))[0] == 200

    on_bench(tmp_path, work)


def test_conflicts_are_told_open_and_resolved(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        bench.journal.saw("w", {"node-1": "a", "node-2": "b"})
        _status, told = await bench.ask("GET", "/conflicts")
        assert [one["before"] for one in told["open"]] == [{"node-1": "a", "node-2": "b"}]
        bench.journal.saw("w", {"node-1": "a"})
        _status, told = await bench.ask("GET", "/conflicts")
        assert [one["after"] for one in told["resolved"]] == [{"node-1": "a"}]

    on_bench(tmp_path, work)


@pytest.mark.parametrize("name", ["a.b", "x" * 65, "%20", "é"])
def test_names_that_cannot_be_are_refused(tmp_path: Path, name: str) -> None:
    async def work(bench: Bench) -> None:
        for method, path in (("PUT", "workers"), ("POST", "limit"), ("GET", "topics")):
            assert (await bench.ask(method, f"/{path}/{name}"))[0] == 400

    on_bench(tmp_path, work)


def test_a_bug_is_told_and_labels_stay_few(tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        assert await bench.ask("PUT", "/workers/bug") == (500, {"error": "internal"})
        assert bench.events == ["failed"]
        for number in range(20):
            await bench.ask("GET", f"/workers/w{number}")
            assert (await bench.ask("PATCH", f"/nothing/{number}"))[0] == 404
        text = await (await bench.http.get("/metrics")).text()
        routes = {
            line.split('route="')[1].split('"')[0]
            for line in text.splitlines()
            if line.startswith("cluster_request_seconds_count")
        }
        assert routes == {"/workers/{name}", "other"}
        assert 'method="other"' in text

    on_bench(tmp_path, work)
