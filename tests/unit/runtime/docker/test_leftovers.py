"""What clusters have on an engine, found by its labels and removed: what, in which order, and what
is never touched. The engine is played by an object here; live tests ask a real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from docker.errors import APIError, NotFound

from harness.cli import main
from harness.errors import BrokenError, MissingPartError
from harness.runtime import ledger
from harness.runtime.docker import engine as engines
from harness.runtime.docker import leftovers
from harness.runtime.docker.labels import CLUSTER, LEASE, LEDGERS, RUN, Lease
from harness.runtime.docker.leftovers import OnEngine, Remains
from harness.runtime.ledger import Owner
from harness.runtime.proc import Process
from tests.support.nodes import wait_until

Output = pytest.CaptureFixture[str]

DEAD = Process(2**22 - 1, 1)


def dead_lease(**changes: str) -> str:
    """Of a harness of this user on this machine that is gone."""
    now = Lease.current()
    return str(Lease(changes.get("machine", now.machine), Owner(DEAD, now.owner.machine)))


def api_error(status: int, text: str) -> APIError:
    response = requests.Response()
    response.status_code = status
    return APIError(text, response=response, explanation=text)


@dataclass
class Fake:
    """An engine: kind → id → labels. `refusals` are raised, one for each try to remove that id."""

    things: dict[str, dict[str, dict[str, str]]] = field(
        default_factory=lambda: {"container": {}, "network": {}, "volume": {}}
    )
    refusals: dict[str, list[Exception]] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def add(self, cluster: str, lease: str = "", ledgers: str = "") -> None:
        """Two containers, a network and a volume of a cluster."""
        labels = {CLUSTER: cluster, RUN: "run-1", LEASE: lease, LEDGERS: ledgers}
        for number in (1, 2):
            self.things["container"][f"{cluster}-c{number}"] = labels
        self.things["network"][f"{cluster}-n"] = labels
        self.things["volume"][f"{cluster}-v"] = labels

    def left(self) -> set[str]:
        return {id for found in self.things.values() for id in found}

    # As the docker package has it

    def containers(self, *, all: bool, filters: dict[str, str]) -> list[dict[str, Any]]:
        assert all, "those that have ended as well"
        return self._list("container", filters)

    def networks(self, *, filters: dict[str, str]) -> list[dict[str, Any]]:
        return self._list("network", filters)

    def volumes(self, *, filters: dict[str, str]) -> dict[str, Any]:
        return {"Volumes": self._list("volume", filters) or None}

    def remove_container(self, id: str, *, force: bool, v: bool) -> None:
        assert force and v
        self._remove("container", id)

    def remove_network(self, id: str) -> None:
        self._remove("network", id)

    def remove_volume(self, id: str, *, force: bool) -> None:
        self._remove("volume", id)

    def _list(self, kind: str, filters: dict[str, str]) -> list[dict[str, Any]]:
        name, equals, value = filters["label"].partition("=")
        return [
            {"Id": id, "Name": id, "Labels": labels}
            for id, labels in self.things[kind].items()
            if name in labels and (not equals or labels[name] == value)
        ]

    def _remove(self, kind: str, id: str) -> None:
        with self.lock:
            if self.refusals.get(id):
                raise self.refusals[id].pop(0)
            if self.things[kind].pop(id, None) is None:
                raise NotFound("no such thing")
            self.removed.append(id)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fake:
    """The engine that is found, and a directory for temporary files with no ledgers in it."""
    made = Fake()
    found = SimpleNamespace(api=made, where="an engine", host="unix:///fake")
    monkeypatch.setattr(engines, "connect", lambda: found)
    monkeypatch.setattr(engines, "connect_to", lambda host: found)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return made


def place(base: Path, number: int = 99, process: Process = DEAD) -> tuple[str, Path]:
    """The ledger of a cluster that has something on an engine, and whose harness is gone."""
    id, made = ledger.create(base, "run-1")
    where = made.rename(base / f"127.{number}")
    data = json.loads((where / "owner.json").read_text())
    data |= {"pid": process.pid, "started": process.started}
    (where / "owner.json").write_text(json.dumps(data))
    leftovers.announce(where, "unix:///nowhere.sock")
    return id, where


# On the engine


def test_what_a_cluster_has_is_removed_containers_first(fake: Fake) -> None:
    fake.add("a")
    fake.add("ab")
    assert leftovers.remove(fake, "a") == []
    assert set(fake.removed[:2]) == {"a-c1", "a-c2"}
    assert set(fake.removed) == {"a-c1", "a-c2", "a-v", "a-n"}
    assert fake.left() == {"ab-c1", "ab-c2", "ab-v", "ab-n"}
    assert leftovers.remove(fake, "a") == []


def test_what_would_not_go_yet_is_tried_again(fake: Fake) -> None:
    fake.add("a")
    fake.refusals = {
        "a-c1": [api_error(409, "removal of container a-c1 is already in progress")],
        "a-n": [api_error(403, "network a-n has active endpoints")] * 2,
        "a-v": [api_error(409, "volume is in use")],
    }
    assert leftovers.remove(fake, "a") == []
    assert fake.left() == set()


def test_what_never_goes_is_said(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "_REMOVE_TIMEOUT_S", 0.3)
    fake.add("a")
    fake.refusals = {"a-n": [api_error(403, "network a-n has active endpoints")] * 1000}
    assert leftovers.remove(fake, "a") == ["network a-n has active endpoints"]
    assert fake.left() == {"a-n"}


def test_an_engine_that_goes_away_is_an_error_of_ours(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.add("a")
    fake.refusals = {"a-c1": [requests.ConnectionError("reset by peer")]}
    with pytest.raises(BrokenError, match="reset by peer"):
        leftovers.remove(fake, "a")


def test_what_turns_up_late_is_removed_as_well(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "_SETTLE_S", 0.3)
    fake.add("a")
    late = threading.Timer(0.1, lambda: fake.add("a"))
    late.start()
    assert leftovers.remove(fake, "a", settle=True) == []
    late.join()
    assert fake.left() == set()
    assert len(fake.removed) == 8


def test_what_there_is_is_counted_by_cluster(fake: Fake) -> None:
    fake.add("b", dead_lease(), "/tmp/x")
    fake.add("a")
    del fake.things["volume"]["a-v"]
    fake.things["container"]["other"] = {"some.label": "a"}
    assert leftovers.remains(fake) == [
        Remains("a", "run-1", "", "", 2, 1, 0),
        Remains("b", "run-1", dead_lease(), "/tmp/x", 2, 1, 1),
    ]
    assert [one.words for one in leftovers.remains(fake)] == [
        "2 containers, 1 network",
        "2 containers, 1 network, 1 volume",
    ]


# What nobody looks after


def test_only_what_has_certainly_run_out_and_is_in_no_ledger_is_forgotten(
    fake: Fake, tmp_path: Path
) -> None:
    own, _ = place(ledger.clusters_dir())
    base = tmp_path / "elsewhere" / "harness-clusters"
    base.mkdir(parents=True)
    elsewhere, _ = place(base)
    fake.add(own, dead_lease())
    fake.add(elsewhere, dead_lease(), str(base))
    fake.add("wiped", dead_lease(), str(tmp_path / "gone" / "harness-clusters"))
    fake.add("running", str(Lease.current()))
    fake.add("far", dead_lease(machine="another"))
    fake.add("strange", "a lease of another kind")
    found = leftovers.look()
    assert [one.cluster for one in found.forgotten] == ["wiped"]
    spared = {one.cluster: why for one, why in found.spared}
    assert spared == {
        "far": "of a harness that cannot be seen from here",
        "strange": "of a harness that cannot be seen from here",
        elsewhere: f"its ledger is in {base}: use TMPDIR={base.parent}",
    }


def test_cleanup_removes_what_is_forgotten_and_names_the_rest(fake: Fake, capsys: Output) -> None:
    fake.add("wiped", dead_lease())
    fake.add("far", dead_lease(machine="another"))
    fake.things["container"]["harness-wiped-node-1"] = {}
    spared = (
        "left alone far on an engine (of a harness that cannot be seen from here, "
        "2 containers, 1 network, 1 volume)\n"
    )
    what = "wiped on an engine (its ledger is gone, 2 containers, 1 network, 1 volume)\n"
    assert main(["cleanup", "--dry-run"]) == 0
    assert capsys.readouterr().out == f"would remove {what}{spared}"
    assert fake.removed == []
    assert main(["cleanup"]) == 0
    assert capsys.readouterr().out == f"removed {what}{spared}"
    assert fake.left() == {"harness-wiped-node-1", "far-c1", "far-c2", "far-n", "far-v"}
    assert main(["cleanup"]) == 0
    assert capsys.readouterr().out == f"{spared}Nothing is left over.\n"


def test_cleanup_says_what_the_engine_would_not_remove(
    fake: Fake, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "_REMOVE_TIMEOUT_S", 0.2)
    fake.add("wiped", dead_lease())
    fake.refusals = {"wiped-v": [api_error(500, "the disk is on fire")] * 1000}
    assert main(["cleanup"]) == 4
    assert "the disk is on fire" in capsys.readouterr().err


@pytest.mark.parametrize("why", ["no engine", "an engine that fails"])
def test_cleanup_works_without_an_engine(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: Output, why: str
) -> None:
    def connect() -> Any:
        raise MissingPartError("No engine.")

    def fail(**_: Any) -> Any:
        raise requests.ConnectionError("went away")

    if why == "no engine":
        monkeypatch.setattr(engines, "connect", connect)
    else:
        monkeypatch.setattr(fake, "networks", fail)
    assert leftovers.look() == OnEngine()
    assert main(["cleanup"]) == 0
    assert capsys.readouterr().out == "Nothing is left over.\n"


def test_cleanup_works_without_the_docker_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = (
        "import sys; sys.modules['docker'] = None; from harness.cli import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "cleanup"],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Nothing is left over.\n", "")


# The ledgers that name an engine


def test_a_ledger_says_how_to_reach_its_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CERT_PATH", "/certs")
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    leftovers.announce(tmp_path, "tcp://far:2376")
    told = json.loads((tmp_path / "engine.json").read_text())
    assert told["host"] == "tcp://far:2376"
    assert told["variables"]["DOCKER_CERT_PATH"] == "/certs"
    assert "DOCKER_CONTEXT" not in told["variables"]
    assert not told["variables"].keys() & {"PATH", "DOCKER_AUTH_CONFIG"}


def test_undoing_asks_the_engine_of_the_ledger_and_no_other(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str | None]] = []

    def connect_to(host: str) -> Any:
        seen.append((host, os.environ.get("DOCKER_HOST")))
        return SimpleNamespace(api=fake)

    monkeypatch.setattr(engines, "connect_to", connect_to)
    monkeypatch.setattr(leftovers, "_SETTLE_S", 0.0)
    monkeypatch.setattr(os, "environ", {"PATH": "/bin"})
    leftovers.announce(tmp_path, "tcp://then:1")
    os.environ["DOCKER_HOST"] = "tcp://now:1"
    fake.add("a")
    fake.add("b")
    monkeypatch.setattr(sys, "argv", ["leftovers", str(tmp_path), "a"])
    assert leftovers.main() == 0
    assert seen == [("tcp://then:1", None)]
    assert fake.left() == {"b-c1", "b-c2", "b-n", "b-v"}


def test_undoing_what_somebody_else_has_undone_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["leftovers", str(tmp_path / "gone"), "a"])
    assert leftovers.main() == 0


def test_an_engine_that_is_gone_keeps_the_ledger_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(leftovers, "look", OnEngine)
    id, where = place(ledger.clusters_dir())
    (left_over,) = ledger.find_left_over()
    assert left_over.engine
    with pytest.raises(BrokenError) as caught:
        ledger.undo(left_over)
    assert "there is no /nowhere.sock" in str(caught.value.why)
    assert "Traceback" not in str(caught.value)
    assert where.exists()
    assert main(["cleanup", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert (
        printed == f"would remove {id} at {where} (its harness is gone, 0 processes, containers)\n"
    )
    assert main(["cleanup"]) == 4
    printed = capsys.readouterr().err
    assert f"What {id} has on its Docker engine could not be removed." in printed
    assert f"If it is gone for good, remove {where}." in printed


def undoing(say: Callable[[list[str]], object]) -> Any:
    def run(command: list[str], **_: Any) -> Any:
        say(command)
        return SimpleNamespace(returncode=0, stderr="")

    return run


def test_the_sweep_does_not_wait_for_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answer = threading.Event(), threading.Event()

    def hang(command: list[str]) -> None:
        asked.set()
        assert answer.wait(10)

    monkeypatch.setattr(subprocess, "run", undoing(hang))
    _, containers = place(tmp_path, 97)
    _, processes = place(tmp_path, 98)
    (processes / ledger.ENGINE).unlink()
    began = time.monotonic()
    assert len(ledger.sweep(tmp_path)) == 2
    assert time.monotonic() - began < 5
    assert asked.wait(5)
    assert containers.exists()
    assert not processes.exists()
    answer.set()
    wait_until(lambda: not containers.exists())


def test_the_sweep_leaves_an_engine_that_fails_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fail(command: list[str], **_: Any) -> Any:
        asked.append(command[-1])
        if len(asked) == 1:
            raise subprocess.TimeoutExpired(command, 60)
        return SimpleNamespace(returncode=-9, stderr="")

    monkeypatch.setattr(subprocess, "run", fail)
    ids = [place(tmp_path, number)[0] for number in (97, 98)]
    ledger.sweep(tmp_path)
    wait_until(lambda: len(asked) == 2)
    wait_until(lambda: "harness-sweep" not in {t.name for t in threading.enumerate()})
    assert asked == ids
    assert [found.id for found in ledger.find_left_over(tmp_path)] == ids
