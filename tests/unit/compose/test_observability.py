"""The stack in compose/ and what it mounts fit together, as far as shows without starting it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.compose.model import Project
from harness.compose.project import read_project
from harness.errors import UsageError

ROOT = Path(__file__).parents[3]
FILE = Path("compose/observability.yml")
HOST_NETWORK = [f"services.{name}.network_mode" for name in ("prometheus", "grafana")]


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def stack() -> Project:
    return read_project(
        FILE, {"PROMETHEUS_PORT": "9191", "GRAFANA_PORT": "3131"}, ignore=HOST_NETWORK
    )


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_it_is_a_compose_file_that_needs_the_hosts_network_and_nothing_else(stack: Project) -> None:
    assert set(stack.ignored) == set(HOST_NETWORK)
    with pytest.raises(UsageError, match=r"services.grafana.network_mode: host"):
        read_project(FILE, {}, ignore=HOST_NETWORK[:1])


def test_it_listens_on_the_loopback_only(stack: Project) -> None:
    prometheus, grafana = stack.services["prometheus"], stack.services["grafana"]
    assert "--web.listen-address=127.0.0.1:9191" in prometheus.command
    assert grafana.environment["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert grafana.environment["GF_SERVER_HTTP_PORT"] == "3131"
    assert not prometheus.ports
    assert not grafana.ports


def test_versions_are_pinned_and_everything_has_a_health_check(stack: Project) -> None:
    for service in stack.services.values():
        assert service.image is not None
        assert service.image.rpartition(":")[2].count(".") == 2
        assert service.health


def test_what_it_mounts_is_there_and_refers_to_one_another(stack: Project) -> None:
    prometheus = stack.services["prometheus"].mounts["/etc/prometheus"]
    (job,) = read(prometheus / "prometheus.yml")["scrape_configs"]
    (pattern,) = job["file_sd_configs"][0]["files"]
    assert (prometheus / pattern).parent.is_dir()

    grafana = stack.services["grafana"]
    provisioning = grafana.mounts["/etc/grafana/provisioning"]
    (provider,) = read(provisioning / "dashboards" / "files.yml")["providers"]
    assert grafana.mounts[provider["options"]["path"]].is_dir()
    (source,) = read(provisioning / "datasources" / "prometheus.yml")["datasources"]
    assert grafana.environment[source["url"].removeprefix("$")] == "http://127.0.0.1:9191"
