"""However a session ends, nothing of it stays on the engine; what was kept stays until it is
cleaned up; and what is not ours is never touched."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.runtime.docker import labels, leftovers
from harness.runtime.docker.engine import Engine
from tests.support.containers import IMAGE, on_engine
from tests.support.nodes import wait_until
from tests.support.projects import SOUND, STALE, left_over, run_pytest, runs_of
from tests.support.sessions import session

pytest_plugins = "pytester"
pytestmark = pytest.mark.live

TIMEOUT_S = 60
GONE_S = 30

DOCKER = ("--chaos-runtime", "docker")
LEDGERS = "harness-clusters"


@pytest.fixture(autouse=True)
def own_ledgers(
    engine: Engine, project: None, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Ledgers that nobody else looks at; by where they are, all that a test has on the engine is
    known. Should a test fail, what is left is removed here."""
    monkeypatch.setenv("TMPDIR", str(pytester.path))
    yield
    for cluster in {name.split("-")[2] for name in remains(engine, pytester)}:
        leftovers.remove(engine.api, f"cluster-{cluster}")


def remains(engine: Engine, pytester: pytest.Pytester) -> list[str]:
    """All that the project under test has on the engine."""
    return on_engine(engine, f"harness.ledgers={pytester.path / LEDGERS}")


def ledgers(pytester: pytest.Pytester) -> list[Path]:
    return list((pytester.path / LEDGERS).glob("*"))


def cleanup(pytester: pytest.Pytester, *arguments: str, tmpdir: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "cleanup", *arguments],
        cwd=pytester.path,
        env={**os.environ, "TMPDIR": str(tmpdir or pytester.path)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def in_force(pytester: pytest.Pytester) -> bool:
    """Whether a netsplit and a pause are proved."""
    journals = (pytester.path / "runs").glob("*/journal.jsonl")
    return any(path.read_text().count('"step":"proved"') == 2 for path in journals)


LONG = SOUND.replace("duration=seconds(1.5)", "duration=seconds(60)").replace(
    "lasting=seconds(0.7))",
    "lasting=seconds(50)),\n"
    "        faults.pause(who='node-3', at=seconds(0.5), lasting=seconds(50))",
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_session_that_is_ended_amid_faults_leaves_nothing(
    engine: Engine, pytester: pytest.Pytester, number: signal.Signals
) -> None:
    pytester.makepyfile(test_it=LONG)
    with session(pytester, *DOCKER) as process:
        wait_until(lambda: in_force(pytester), TIMEOUT_S)
        # Toxiproxy and three nodes, one of which is paused; three volumes and a network.
        assert len(remains(engine, pytester)) == 8
        if number is signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        output, _ = process.communicate(timeout=TIMEOUT_S)
    wait_until(lambda: not remains(engine, pytester), GONE_S)
    wait_until(lambda: not ledgers(pytester) and not left_over(pytester), GONE_S)
    (run,) = runs_of(pytester)
    assert (run["path"] / "history.jsonl").read_text().count('"type":"ok"') > 20
    if number is not signal.SIGKILL:
        assert run["outcome"] == "aborted", output.decode()
        assert process.returncode == 2


@pytest.mark.parametrize("moment", ["network", "node"])
def test_a_session_that_is_killed_while_it_starts_leaves_nothing(
    engine: Engine, pytester: pytest.Pytester, moment: str
) -> None:
    pytester.makepyfile(test_it=LONG)
    with session(pytester, *DOCKER) as process:
        at_least = 1 if moment == "network" else 4
        wait_until(lambda: len(remains(engine, pytester)) >= at_least, TIMEOUT_S)
        process.kill()
        process.wait(TIMEOUT_S)
    # What the engine was still making counts as well: the ledger goes last.
    wait_until(lambda: not ledgers(pytester), GONE_S)
    assert remains(engine, pytester) == []


def test_several_workers_leave_nothing_whatever_becomes_of_their_tests(
    engine: Engine, pytester: pytest.Pytester
) -> None:
    pytester.makepyfile(test_sound=SOUND, test_stale=STALE)
    result = run_pytest(pytester, *DOCKER, "-n", "2")
    result.assert_outcomes(passed=1, failed=1)
    assert {run["outcome"] for run in runs_of(pytester)} == {"passed", "failed"}
    assert remains(engine, pytester) == []
    assert ledgers(pytester) == []


def test_a_kept_cluster_stays_until_it_is_cleaned_up(
    engine: Engine, pytester: pytest.Pytester, tmp_path: Path
) -> None:
    pytester.makepyfile(test_it=STALE)
    result = run_pytest(pytester, *DOCKER, "--chaos-keep-failed")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*cluster kept up at *`harness cleanup` ends it*"])
    (run,) = runs_of(pytester)
    kept = remains(engine, pytester)
    assert set(kept) == set(on_engine(engine, f"harness.cluster={run['kept']}"))
    assert len(kept) == 8
    running = engine.api.containers(filters={"label": f"harness.cluster={run['kept']}"})
    assert len(running) == 4

    # A clean-up that does not know its ledger does not touch it.
    elsewhere = cleanup(pytester, tmpdir=tmp_path)
    assert f"left alone {run['kept']} on " in elsewhere
    assert f"TMPDIR={pytester.path}" in elsewhere
    assert set(remains(engine, pytester)) == set(kept)

    said = cleanup(pytester)
    assert f"removed {run['kept']} at " in said
    assert "kept on purpose, 0 processes, containers" in said
    assert remains(engine, pytester) == []
    assert ledgers(pytester) == []


HARNESS = """
import asyncio, json, os, signal, sys
from pathlib import Path
from harness.runtime import reaper
from harness.runtime.ledger import clusters_dir
from harness.runtime.docker import labels, leftovers
from harness.runtime.docker.runtime import DockerRuntime
from tests.support.containers import container, spec

if len(sys.argv) > 2:
    labels.machine = lambda: sys.argv[2]

async def main():
    nodes = {"node-1": container(), "node-2": container()}
    runtime = await DockerRuntime.create(nodes, logs=Path(sys.argv[1]), run_id="test")
    await runtime.start_all([spec(runtime, node) for node in nodes])
    print(json.dumps({"id": runtime.id}), flush=True)
    os.kill(reaper.ensure(clusters_dir()), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
"""A harness that dies, with its reaper, as in a power cut."""


def power_cut(pytester: pytest.Pytester, *machine: str) -> str:
    """The id of a cluster that runs, and that nobody looks after; on a machine of that name."""
    done = subprocess.run(
        [sys.executable, "-c", HARNESS, str(pytester.path / "logs"), *machine],
        stdout=subprocess.PIPE,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == -signal.SIGKILL
    told: dict[str, Any] = json.loads(done.stdout)
    return str(told["id"])


@contextlib.contextmanager
def strangers(engine: Engine, like: str) -> Iterator[list[str]]:
    """A container, a network and a volume of somebody else's, with names like those of a cluster
    and no label of ours."""
    from harness.runtime.docker.images import ensure

    api: Any = engine.api
    mark = f"somebody.else={uuid.uuid4().hex}"
    labels = [mark.partition("=")[::2]]
    name = f"harness-{like}-x"
    network, volume, container = "", "", ""
    try:
        network = api.create_network(name, labels=dict(labels))["Id"]
        volume = api.create_volume(name, labels=dict(labels))["Name"]
        made = api.create_container(
            ensure(engine, IMAGE, lambda _: None),
            ["sleep", "600"],
            name=name,
            labels={**dict(labels), "harness.image": "nodes", "cluster": like},
        )
        container = made["Id"]
        api.start(container)
        yield on_engine(engine, mark)
        assert len(on_engine(engine, mark)) == 3
        assert api.inspect_container(container)["State"]["Running"]
    finally:
        if container:
            api.remove_container(container, force=True, v=True)
        if volume:
            api.remove_volume(volume)
        if network:
            api.remove_network(network)


def test_cleanup_removes_what_a_power_cut_left_and_nothing_else(
    engine: Engine, pytester: pytest.Pytester
) -> None:
    id = power_cut(pytester)
    left = remains(engine, pytester)
    assert len(left) == 5
    with strangers(engine, id):
        assert f"would remove {id} at " in cleanup(pytester, "--dry-run")
        assert remains(engine, pytester) == left
        said = cleanup(pytester)
        assert f"removed {id} at " in said
        assert remains(engine, pytester) == []
        assert ledgers(pytester) == []
    assert id not in cleanup(pytester)


def test_cleanup_finds_what_is_in_no_ledger_any_more(
    engine: Engine,
    pytester: pytest.Pytester,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Any clean-up on this machine would remove it, those of other tests as well: so it is of
    # another machine, which this one then is taken for.
    other = uuid.uuid4().hex
    id = power_cut(pytester, other)
    shutil.rmtree(pytester.path / LEDGERS)  # as machines do with their temporary files
    left = remains(engine, pytester)
    assert len(left) == 5
    assert f"left alone {id} on {engine.where} (of a harness that cannot" in cleanup(pytester)
    assert remains(engine, pytester) == left

    monkeypatch.setattr(labels, "machine", lambda: other)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    what = f"{id} on {engine.where} (its ledger is gone, 2 containers, 1 network, 2 volumes)"
    with strangers(engine, id):
        assert main(["cleanup", "--dry-run"]) == 0
        assert f"would remove {what}" in capsys.readouterr().out
        assert remains(engine, pytester) == left
        assert main(["cleanup"]) == 0
        assert f"removed {what}" in capsys.readouterr().out
        assert remains(engine, pytester) == []


SESSION = """
import asyncio, sys, time
from pathlib import Path
from harness.runtime import ledger
from harness.runtime.process import ProcessRuntime

async def main():
    async with await ProcessRuntime.create(["node-1"], logs=Path(sys.argv[1]), run_id="next"):
        print("up", flush=True)
    deadline = time.monotonic() + float(sys.argv[2])
    while ledger.find_left_over() and time.monotonic() < deadline:
        time.sleep(0.05)

asyncio.run(main())
"""
"""The next session, on processes: it needs no engine itself. It ends after some seconds at most."""


def next_session(pytester: pytest.Pytester, at_most_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SESSION, str(pytester.path / "logs"), str(at_most_s)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def test_the_next_session_sweeps_what_it_can_and_does_not_wait_for_an_engine(
    engine: Engine, pytester: pytest.Pytester
) -> None:
    id = power_cut(pytester)
    (where,) = ledgers(pytester)
    told = json.loads((where / "engine.json").read_text())
    # A place that takes connections and never says anything.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        (where / "engine.json").write_text(json.dumps({**told, "host": host}))
        done = next_session(pytester, 0)
        assert (done.returncode, done.stdout, done.stderr) == (0, "up\n", "")
        assert where.exists()
    with pytest.raises(AssertionError, match=f"What {id} has on its Docker engine could not"):
        cleanup(pytester)
    assert len(remains(engine, pytester)) == 5
    (where / "engine.json").write_text(json.dumps(told))
    next_session(pytester, GONE_S)
    assert remains(engine, pytester) == []
    assert ledgers(pytester) == []
