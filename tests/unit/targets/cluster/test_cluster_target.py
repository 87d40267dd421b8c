"""How the target describes its nodes, its Redis, and what their logs say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from primitives.mesh import PROBE

from harness import Node
from harness.errors import UsageError
from targets.cluster import Cluster
from targets.cluster.app.settings import Settings
from targets.cluster.on_redis import ClusterOnRedis


def node(name: str, home: Path, ports: dict[str, int] | None = None) -> Node:
    return Node(name, "127.0.0.1", home, ports or Cluster.ports)


def test_settings_name_all_members(tmp_path: Path) -> None:
    target = Cluster(nodes=3, limit=5, per_s=2.0, mutant="no-catch-up")
    (text,) = target.files(node("node-2", tmp_path), []).values()
    path = tmp_path / "settings.json"
    path.write_text(text)
    assert Settings.read(path) == Settings(
        name="node-2",
        address="127.0.0.1",
        members=("node-1", "node-2", "node-3"),
        limit=5,
        per_s=2.0,
        mutant="no-catch-up",
    )
    assert "targets/lib" in target.environment(node("node-1", tmp_path))["PYTHONPATH"]


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": 1.5}, {"per_s": 0}])
def test_limits_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="limiter"):
        Cluster(**options)  # type: ignore[arg-type]


def test_the_probe_is_a_heartbeat_of_the_mesh() -> None:
    assert Cluster.probes["mesh"] == PROBE


def test_redis_is_a_dependency_of_its_own(tmp_path: Path) -> None:
    target = ClusterOnRedis(nodes=3)
    assert target.all_names == ("redis", "node-1", "node-2", "node-3")
    redis = node("redis", tmp_path, {"redis": 6379})
    assert target.files(redis, []) == target.environment(redis) == {}
    (text,) = target.files(node("node-1", tmp_path), []).values()
    assert json.loads(text)["adapter"] == "redis"
    images = [target.container(name) for name in ("redis", "node-1")]
    folders = [Path(one.image.folder).name for one in images if one and one.image.folder]
    assert folders == ["redis-sentinel", "cluster"]


def test_events_are_told_of_and_other_lines_are_not() -> None:
    target = Cluster()
    line = json.dumps({"event": "resolved", "at": 5.5, "worker": "w"})
    assert target.event(line) == (5.5, "resolved", {"worker": "w"})
    for other in ("", "{", "[]", '{"event": "dial-failed", "at": 1}', '{"event": "resolved"}'):
        assert target.event(other) is None
