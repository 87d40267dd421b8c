"""Compose files as targets, with real containers: the example of the documentation, as it stands
there; and what compose files promise their services."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from fixtures.compose import HASTY_WEB, SHOP, WEB
from harness import compose_target, faults
from harness.compose import ComposeTarget
from harness.errors import BrokenError, MissingPartError, UsageError
from harness.history import History
from harness.record.journal import read_journal
from harness.runtime.docker.engine import Engine
from harness.runtime.docker.images import ensure
from tests.support.containers import IMAGE, PYTHON, SCRIPT, on_engine
from tests.support.live_cluster import Live, on_cluster
from tests.support.nodes import PORT
from tests.support.projects import ROOT, left_over, run_pytest, runs_of

pytest_plugins = "pytester"
pytestmark = pytest.mark.live

EXAMPLE = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "compose.md").read_text(), flags=re.DOTALL
)[0]


# The example


@pytest.fixture(scope="module")
def images(engine: Engine) -> None:
    """Made beforehand, because `pytester` moves HOME away, with the cache of wheels in it."""
    for image in (WEB, HASTY_WEB):
        try:
            ensure(engine, image, lambda _: None)
        except MissingPartError as error:
            pytest.skip(str(error))


@pytest.fixture
def shop(project: None, pytester: pytest.Pytester) -> None:
    """The shop's folder with the experiment, as somebody has it who follows the documentation."""
    shutil.copytree(SHOP.parent, pytester.path, dirs_exist_ok=True)


def with_image(name: str) -> str:
    """The example with another image for `web`: that of its own Dockerfile cannot be built where
    no registry answers."""
    plain = 'compose_target("docker-compose.yml")'
    assert plain in EXAMPLE
    other = f'compose_target("docker-compose.yml", images={{"web": {name}}})'
    return f"from fixtures.compose import {name}\n" + EXAMPLE.replace(plain, other)


def test_an_order_that_was_acknowledged_is_kept_and_a_shop_that_loses_it_is_caught(
    engine: Engine, images: None, shop: None, pytester: pytest.Pytester
) -> None:
    assert len([line for line in EXAMPLE.splitlines() if line.strip()]) < 20
    pytester.makepyfile(test_1_sound=with_image("WEB"), test_2_hasty=with_image("HASTY_WEB"))
    result = run_pytest(pytester, "--chaos-runtime", "docker", "-s")
    result.assert_outcomes(passed=1, failed=1)
    sound, hasty = runs_of(pytester)
    assert (sound["outcome"], hasty["outcome"]) == ("passed", "failed")
    result.stdout.fnmatch_lines(["set: invalid (expected valid)*lost)."])

    # While it was cut off, the sound one said so, and placed no order.
    ops = History.read(sound["path"] / "history.jsonl").ops
    begin, end = (fault_step(sound["path"], name) for name in ("proved", "healing"))
    meanwhile = [op for op in ops if begin < op.start < end and op.f == "add"]
    assert [op for op in meanwhile if op.outcome == "ok" and op.end < end] == []
    assert [op for op in meanwhile if "503" in str(op.error)]

    # What has no effect is told once in each run.
    places = "services.web.restart, services.db.restart, services.cache.restart"
    told = f"{places}: nodes are started again by faults and by nothing else"
    assert result.stdout.str().count(told) == 2
    assert left_over(pytester) == {}
    for run in (sound, hasty):
        assert on_engine(engine, f"harness.run={run['path'].name}") == []


def fault_step(run: Path, name: str) -> int:
    """When the first fault of a run came to this step."""
    events = read_journal(run / "journal.jsonl")
    return next(one.time for one in events if one.name == "fault" and one.data["step"] == name)


@pytest.mark.usefixtures("shop")
def test_on_processes_it_is_skipped(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(EXAMPLE)
    result = run_pytest(pytester, "--chaos-runtime", "process")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["*Target test_on_processes* runs in containers only.*", "*--chaos-runtime docker*"]
    )


@pytest.mark.usefixtures("project")
def test_images_that_are_not_to_be_had_are_named(engine: Engine, pytester: pytest.Pytester) -> None:
    (pytester.path / "blog.yml").write_text(
        "services:\n"
        "  web: {image: no-such-registry.invalid/blog:1, ports: ['80:80'], depends_on: [db]}\n"
        "  db: {image: no-such-registry.invalid/mariadb:11}\n"
    )
    pytester.makepyfile(EXAMPLE.replace("docker-compose.yml", "blog.yml"))
    result = run_pytest(pytester, "--chaos-runtime", "docker")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["*no-such-registry.invalid/mariadb:11 is not to be had here*", "*Do: Load it*"]
    )


# What files promise

SERVICES = f"""
services:
  web:
    image: nodes
    command:
      - sh
      - -c
      - grep migrated /shared/state && exec {" ".join(PYTHON)} {SCRIPT} 0.0.0.0 {PORT}
    expose: ["{PORT}"]
    scale: 2
    depends_on:
      migrate: {{condition: service_completed_successfully}}
    volumes:
      - shared:/shared:ro
      - ./settings:/etc/shop
  migrate:
    image: nodes
    user: "0"
    command: ["sh", "-c", "test -e /shared/healthy && echo migrated > /shared/state"]
    depends_on:
      cache: {{condition: service_healthy}}
    volumes: ["shared:/shared"]
  cache:
    image: redis:7
    user: "0"
    healthcheck:
      test: test -e /shared/asked && touch /shared/healthy || {{ touch /shared/asked; exit 1; }}
    volumes: ["shared:/shared"]
volumes:
  shared:
"""
"""The cache is healthy when it is asked for the second time; migrate fails unless that was waited
for, and web unless migrate was. What each finds is on a volume that all have."""


@pytest.fixture
def file(engine: Engine, tmp_path: Path) -> Path:
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "name").write_text("shop\n")
    made = tmp_path / "compose.yml"
    made.write_text(SERVICES)
    return made


def target(file: Path) -> ComposeTarget:
    return compose_target(file, images={"nodes": IMAGE})


def test_a_file_is_started_as_it_says(engine: Engine, file: Path, tmp_path: Path) -> None:
    made = target(file)
    assert made.unknown_ports == ("cache",)
    assert made.ignored == {"services.web.volumes[1]": "is mounted read-only"}
    ids = []

    async def work(live: Live) -> None:
        cluster = live.cluster
        runtime: Any = cluster.runtime
        ids.append(runtime.id)
        assert cluster.all_names == ("cache", "web-1", "web-2")
        assert [cluster.state(name) for name in cluster.all_names] == ["running"] * 3
        # What is run once has ended, and nothing waits for it, or can mean it.
        assert (runtime.state("migrate"), runtime.exit_status("migrate")) == ("down", 0)
        with pytest.raises(UsageError, match="no node and no role 'migrate'"):
            live.resolved(faults.kill(who="migrate"))
        # A port that only the image names.
        (link,) = cluster.network.links("client", "cache")
        assert link.port == "cache-6379"
        assert await exchange(link.listen, b"PING\r\n") == b"+PONG\r\n"
        # From there, a service is its nodes, and a name is a link.
        said = await exchange(
            cluster.network.links("client", "web-1")[0].listen, b"resolve cache\n"
        )
        assert said.decode().strip() == runtime.link_address("web-1", "cache")
        _, known = await runtime.inside("cache", ["getent", "ahostsv4", "web"])
        links = {runtime.link_address("cache", name) for name in ("web-1", "web-2")}
        assert {line.split()[0] for line in known.splitlines()} == links
        # The volume is shared, and read-only where the file says so; so is what is mounted.
        for name in ("web-1", "web-2"):
            assert await runtime.inside(name, ["cat", "/shared/state"]) == (0, "migrated")
            assert await runtime.inside(name, ["cat", "/etc/shop/name"]) == (0, "shop")
            for path in ("/shared/other", "/etc/shop/name"):
                status, said = await runtime.inside(name, ["sh", "-c", f"echo x > {path}"])
                assert status != 0 and "Read-only" in said
        # The name of a service means all of its nodes.
        site = await live.inject(faults.kill(who="web", at=0, restart_after=1))
        assert [cluster.state(name) for name in cluster.names] == ["down", "down"]
        assert cluster.state("cache") == "running"
        await live.nemesis.heal(site)
        assert await cluster.wait_serving(20) == []

    on_cluster(tmp_path, work, target=made, runtime="docker")
    assert on_engine(engine, f"harness.cluster={ids[0]}") == []


def test_what_is_run_once_and_fails_ends_the_start(file: Path, tmp_path: Path) -> None:
    file.write_text(
        SERVICES.replace("test -e /shared/healthy && echo migrated", "echo no table; exit 3; true")
    )
    with pytest.raises(BrokenError, match=r"migrate.*failed: exit status 3") as caught:
        on_cluster(tmp_path, never, target=target(file), runtime="docker")
    assert "no table" in str(caught.value)


async def never(_live: Live) -> None:
    raise AssertionError


async def exchange(address: tuple[str, int], line: bytes) -> bytes:
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(line)
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
    return answer
