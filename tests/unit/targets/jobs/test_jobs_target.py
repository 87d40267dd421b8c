"""What the harness is told of jobs: options, who there is, settings, events, operations."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from harness import Node, Request
from harness.errors import UsageError
from harness.seeds import stream
from targets import jobs
from targets.jobs import Jobs, JobsClient, busy_workload, jobs_workload
from targets.jobs.app.postgres import Settings as PostgresSettings
from targets.jobs.app.settings import Settings
from targets.jobs.part import POSTGRES, newest_first
from targets.jobs.target import request, startup_message

APP = Path(jobs.__file__).parent / "app"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"nodes": 3}, "two, blue and green"),
        ({"workers": 0}, "workers"),
        ({"stalled_after_s": 0.0}, "stalled_after_s"),
        ({"drain_s": -1.0}, "drain_s"),
        ({"mutant": "no-such"}, "no-fencing"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Jobs(**options)


def test_clients_talk_to_the_web_nodes() -> None:
    target = Jobs(workers=2)
    assert target.node_names == ("node-1", "node-2")
    assert list(target.dependencies) == ["postgres", "worker-1", "worker-2", "gate"]
    assert target.ports_of("node-1") == {"http": 8080}
    assert target.ports_of("worker-2") == {"worker": 8081}


def test_or_to_the_gate() -> None:
    target = Jobs(through_gate=True)
    assert target.node_names == ("gate",)
    assert target.ports_of("gate") == {"gate": 8082}
    assert target.ports_of("node-2") == {"http": 8080}
    assert set(target.dependencies) == {"postgres", *target.web_names, *target.worker_names}


def test_the_class_says_what_there_is_by_default() -> None:
    assert Jobs.dependencies == Jobs().dependencies


@pytest.mark.parametrize("through_gate", [False, True])
def test_everybody_is_started_once_and_the_database_first(through_gate: bool) -> None:
    target = Jobs(through_gate=through_gate)
    started = [name for group in target.start_groups for name in group]
    assert started[0] == "postgres"
    assert sorted(started) == sorted(target.all_names)


def node(target: Jobs, name: str, home: Path) -> Node:
    return Node(name, "127.0.0.9", home, target.ports_of(name))


@pytest.mark.parametrize(
    ("name", "role", "deployment"),
    [
        ("node-1", "web", "blue"),
        ("node-2", "web", "green"),
        ("worker-3", "worker", "worker-3"),
        ("gate", "gate", "gate"),
    ],
)
def test_a_node_reads_back_the_settings_that_it_was_given(
    tmp_path: Path, name: str, role: str, deployment: str
) -> None:
    target = Jobs(mutant="no-fencing", green="fails-later", max_attempts=7)
    here = node(target, name, tmp_path)
    for file, text in target.files(here, [here]).items():
        (tmp_path / file).write_text(text)
    settings = Settings.read(tmp_path / target.command(here, [here])[-1])
    assert (settings.name, settings.role, settings.deployment) == (name, role, deployment)
    assert (settings.mutant, settings.max_attempts) == ("no-fencing", 7)
    assert settings.release == ("fails-later" if name == "node-2" else "sound")
    assert settings.colours == {"blue": "node-1", "green": "node-2"}


def test_the_database_waits_for_its_log_unless_it_is_a_mutant(tmp_path: Path) -> None:
    for mutant, commits in ((None, "on"), ("commits-not-durable", "off")):
        target = Jobs(mutant=mutant)
        (text,) = target.files(node(target, "postgres", tmp_path), []).values()
        settings = PostgresSettings.from_json(text)
        assert settings.settings["synchronous_commit"] == commits
        assert (settings.address, settings.port) == ("127.0.0.9", 5432)
        assert not [line for _database, line in settings.setup if "\n" in line]
    web = target.files(node(target, "node-1", tmp_path), [])
    assert json.loads(web["settings.json"])["mutant"] is None


def test_every_mutant_is_a_branch_of_the_service_or_its_database() -> None:
    files = [path for path in APP.glob("*.py") if path.name != "settings.py"]
    code = "".join(path.read_text() for path in (*files, APP.parent / "target.py"))
    for mutant in Jobs.mutants:
        assert f'"{mutant}"' in code, mutant


def test_probes_are_requests_that_every_server_answers() -> None:
    assert set(Jobs.probes) == {"http", "worker", "gate", "sql"}
    assert request("/health").startswith(b"GET /health HTTP/1.1\r\n")
    message = startup_message("jobs", "jobs")
    assert int.from_bytes(message[:4], "big") == len(message)
    assert message[4:8] == b"\0\3\0\0"
    assert message.endswith(b"user\0jobs\0database\0jobs\0\0")


def test_events_are_the_lines_that_checks_look_at() -> None:
    target = Jobs()
    line = json.dumps({"at": 1.5, "level": "info", "event": "fire", "key": "rollup", "window": 3})
    assert target.event(line) == (1.5, "fire", {"level": "info", "key": "rollup", "window": 3})
    for other in ('{"at":1,"event":"request"}', "LOG:  ready", '{"at":1,"event"', "[]", "3"):
        assert target.event(other) is None


def test_the_newest_postgres_is_tried_first(tmp_path: Path) -> None:
    for folder in ("9", "17", "pginstall18", "pginstall"):
        (tmp_path / folder / "bin").mkdir(parents=True)
        (tmp_path / folder / "bin" / "postgres").touch()
    found = [path.parents[1].name for path in newest_first(tmp_path.glob("*/bin/postgres"))]
    assert found == ["pginstall18", "17", "9", "pginstall"]
    assert POSTGRES.minimum == "15"


def drawn(seed: int, client: int, count: int = 400) -> list[Request]:
    stream_ = stream(seed, "workload", f"client-{client}")
    return list(itertools.islice(jobs_workload().requests(stream_, client, {}), count))


def test_the_same_seed_gives_the_same_operations() -> None:
    assert drawn(7, 1) == drawn(7, 1)
    assert drawn(7, 1) != drawn(8, 1)


def test_the_same_key_is_the_same_job_whoever_sends_it() -> None:
    sent: dict[str, Request] = {}
    repeated = 0
    for client in range(8):
        for one in drawn(7, client):
            if one.f in ("enqueue", "doom", "claim"):
                repeated += one.key in sent
                assert sent.setdefault(one.key, one) == one
    assert repeated > 100


def test_all_kinds_of_operations_come_and_each_change_has_a_request_of_its_own() -> None:
    requests = [one for client in range(8) for one in drawn(7, client)]
    kinds = {one.f for one in requests}
    assert {"enqueue", "doom", "claim", "state", "get", "listed", "found", "counted"} <= kinds
    changes = [one.values[0] for one in requests if one.f in ("create", "rename", "delete")]
    assert len(set(changes)) == len(changes) > 100


@pytest.mark.parametrize("workload", [jobs_workload(), busy_workload()])
def test_the_client_has_a_method_for_every_operation(workload: Any) -> None:
    requests = itertools.islice(workload.requests(stream(1, "w"), 0, {}), 200)
    for one in (*requests, *workload.final):
        assert callable(getattr(JobsClient, one.f)), one.f
    assert {one.at for one in workload.final} == {"postgres"}
    assert {one.f for one in workload.final} <= JobsClient.reads
