"""Compose files as targets."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path

import orjson
import pytest

from harness.compose import ComposeTarget, compose_target
from harness.compose.stand_ins import with_stand_in
from harness.container import Build, Container, Image, Limits
from harness.errors import MissingPartError, UsageError
from harness.faults import Members
from harness.network.links import mesh
from harness.runtimes import create_runtime
from harness.target import Node

ROOT = Path(__file__).parents[3]
SHOP = Path("fixtures/compose/shop/docker-compose.yml")
BLOG = Path("fixtures/compose/wordpress.yml")

EXPOSED = {"db": [5432], "cache": [6379]}


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DB_PASSWORD", "DB_USER", "SHOP_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(ROOT)


@pytest.fixture
def shop() -> ComposeTarget:
    return compose_target(SHOP).with_image_ports(EXPOSED)


def node(name: str, target: ComposeTarget) -> Node:
    container = target.container(name)
    return Node(name, "127.0.0.1", Path("/data"), target.ports_of(name), container.image)


def test_an_application_with_postgresql_and_redis(shop: ComposeTarget) -> None:
    assert shop.name == "shop"
    assert shop.node_names == ("web",)
    assert shop.all_names == ("db", "cache", "web")
    assert shop.nodes == 1
    assert Members.of(shop) == Members(("web",), (), ("db", "cache"))
    assert shop.start_groups == (("db", "cache"), ("web",))
    assert shop.ports == {"web-8000": 8000}
    assert shop.dependencies == {"db": {"db-5432": 5432}, "cache": {"cache-6379": 6379}}
    assert shop.all_ports == {"web-8000": 8000, "db-5432": 5432, "cache-6379": 6379}
    assert not shop.unknown_ports
    assert set(shop.ignored) == {
        "services.web.restart",
        "services.web.logging",
        "services.db.restart",
        "services.db.logging",
        "services.cache.restart",
    }


def test_what_its_services_run_in(shop: ComposeTarget) -> None:
    web = shop.container("web")
    assert web.image == Image(build=Build(Path("fixtures/compose/shop/app")))
    assert (web.health, web.limits, web.home) == (None, Limits(), "/data")
    db = shop.container("db")
    assert db.image == with_stand_in("postgres:15")
    assert db.health == ("/bin/sh", "-c", "pg_isready -U shop -d shop")
    assert db.health_timeout_s == 3.0
    assert db.home == "/var/lib/postgresql/data"
    schema = "/docker-entrypoint-initdb.d/schema.sql"
    assert db.mounts == {schema: Path.cwd() / SHOP.with_name("schema.sql")}
    assert shop.environment(node("web", shop)) == {
        "DATABASE_URL": "postgresql://shop:shop@db:5432/shop",
        "REDIS_URL": "redis://cache:6379/0",
    }
    argv = ("redis-server", "--save", "", "--appendonly", "no")
    assert shop.command(node("cache", shop), ()) == argv
    assert shop.command(node("db", shop), ()) == ()


def test_a_service_with_several_nodes() -> None:
    shop = compose_target(SHOP, scale={"web": 3}).with_image_ports(EXPOSED)
    assert shop.node_names == ("web-1", "web-2", "web-3")
    assert shop.groups == {"web": ("web-1", "web-2", "web-3")}
    assert shop.ports_of("web-2") == {"web-8000": 8000}
    assert shop.container("db").names == {"web": ("web-1", "web-2", "web-3")}
    addresses = {name: f"10.0.0.{number}" for number, name in enumerate(shop.all_names, start=1)}
    links = mesh(
        shop.all_names,
        shop.ports_of,
        lambda name: addresses[name],
        lambda source, name: f"10.1.{len(source)}.{addresses[name][-1]}",
    )
    assert "web-2>db:db-5432" in {link.name for link in links}


def test_every_container_of_a_service_has_the_same_image(shop: ComposeTarget) -> None:
    assert shop.container("web").image is shop.container("web").image
    assert shop.service_images["web"] is shop.container("web").image


def test_members_can_be_chosen() -> None:
    shop = compose_target(SHOP, members=["db", "web"])
    assert shop.node_names == ("web", "db")
    assert tuple(shop.dependencies) == ("cache",)
    assert shop.start_groups == (("db", "cache"), ("web",))


def test_ports_come_from_the_file_from_options_and_from_images() -> None:
    shop = compose_target(SHOP, expose={"cache": [7000], "web": [9100]})
    assert shop.unknown_ports == ("db",)
    exposed = {"db": {5432}, "cache": {6379}, "web": {1}, "no-service": {2}}
    found = shop.with_image_ports(exposed)
    assert found.all_ports == {
        "web-8000": 8000,
        "web-9100": 9100,
        "db-5432": 5432,
        "cache-7000": 7000,
    }
    assert "services.db" not in found.ignored
    silent = shop.with_image_ports({"db": []})
    assert not silent.unknown_ports
    assert 'expose={"db": [port]}' in silent.ignored["services.db"]


def test_the_engine_is_asked_for_the_ports_of_one_node_of_a_service() -> None:
    asked = []

    def exposed(name: str) -> list[int]:
        asked.append(name)
        return [6379]

    shop = compose_target(SHOP, scale={"cache": 2}, expose={"db": [5432]}).completed(exposed)
    assert asked == ["cache-1"]
    assert shop.ports_of("cache-2") == {"cache-6379": 6379}
    assert shop.completed(exposed) is shop


def test_probes_are_asked_for_by_the_name_of_the_port() -> None:
    probes = {"cache-6379": b"PING\r\n"}
    shop = compose_target(SHOP, probes=probes)
    assert shop.probes == probes
    assert shop.with_image_ports(EXPOSED).probes == probes
    orjson.dumps(shop.to_json())
    with pytest.raises(UsageError, match=r"probes names 'cache-6379'.*\n.*cache-7000"):
        shop.with_image_ports({"db": [5432], "cache": [7000]})


def test_images_can_be_replaced_by_service_and_by_name() -> None:
    ours, other = Image(packages=("postgresql",)), Image(stock="other")
    shop = compose_target(SHOP, images={"postgres:15": ours, "web": other})
    assert shop.container("db").image is ours
    assert shop.container("web").image is other
    assert shop.to_json()["services"] == {
        "web": "replaced",
        "db": "postgres:15",
        "cache": "redis:7",
    }


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"members": ["wbe"]}, "members names 'wbe'"),
        ({"scale": {"wbe": 2}}, "scale names 'wbe'"),
        ({"images": {"postgres:16": Image()}}, "images names 'postgres:16'"),
        ({"expose": {"wbe": [1]}}, "expose names 'wbe'"),
        ({"only": ["web"], "members": ["db"]}, "members names 'db'"),
        ({"only": "web"}, "only='web'"),
        ({"scale": {"web": 101}}, "has 103 nodes"),
        ({"expose": {"db": [0]}}, "expose names the port 0"),
        ({"only": ["web"], "probes": {"web-80": b""}}, "probes names 'web-80'"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        compose_target(SHOP, **options)  # type: ignore[arg-type]
    assert complaint in str(caught.value)


def test_it_stands_in_a_plan_and_can_be_made_again_from_it() -> None:
    shop = compose_target(Path.cwd() / SHOP, scale={"web": 2}, expose={"db": [5432]})
    plan = json.loads(orjson.dumps(shop.to_json()))
    assert plan["file"] == str(SHOP)
    assert plan["services"]["web"] == "build fixtures/compose/shop/app"
    assert "postgresql://" not in json.dumps(plan)  # passwords are in there
    options = {one.name for one in dataclasses.fields(shop) if one.init}
    # `nodes` follows from the file.
    again = ComposeTarget(
        **{n: v for n, v in plan.items() if n in options - {"images", "asked", "nodes"}}
    )
    assert orjson.dumps(again.to_json()) == orjson.dumps(shop.to_json())


def test_the_plan_tells_whether_something_else_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    before = compose_target(SHOP).to_json()["digest"]
    assert compose_target(SHOP).to_json()["digest"] == before
    monkeypatch.setenv("DB_PASSWORD", "other")
    assert compose_target(SHOP).to_json()["digest"] != before


def test_it_has_no_processes(shop: ComposeTarget, tmp_path: Path) -> None:
    with pytest.raises(MissingPartError, match="chaos-runtime docker"):
        asyncio.run(create_runtime("process", shop, logs=tmp_path, run_id="test"))


def test_it_has_no_mutants() -> None:
    with pytest.raises(UsageError, match="no mutant 'x'"):
        dataclasses.replace(compose_target(SHOP), mutant="x")


def test_services_that_are_run_to_their_end_are_no_nodes(tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    file.write_text("""
services:
  web:
    image: shop
    ports: ["80:8000"]
    depends_on:
      migrate: {condition: service_completed_successfully}
  migrate: {image: shop, expose: [8000], depends_on: [db], scale: 2}
  db: {image: postgres:15, expose: [5432]}
  buckets: {image: mc, depends_on: [web], ports: ["90:90"]}
""")
    shop = compose_target(file, once=["buckets"])
    assert shop.once == ("migrate", "buckets")
    assert shop.tasks == ("migrate-1", "migrate-2", "buckets")
    assert (shop.node_names, shop.all_names) == (("web",), ("db", "web"))
    assert shop.groups == {}
    assert shop.start_groups == (("db",), ("migrate-1", "migrate-2"), ("web",), ("buckets",))
    assert shop.all_ports == {"web-8000": 8000, "db-5432": 5432}
    assert shop.ports_of("migrate-1") == {}
    assert shop.unknown_ports == ()
    assert shop.container("migrate-2").image == Image(stock="shop")
    assert dataclasses.replace(shop) == shop
    for options in ({"members": ["migrate"]}, {"expose": {"migrate": [1]}}):
        with pytest.raises(UsageError, match="names 'migrate', which is run once"):
            compose_target(file, **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no service that clients could talk to"):
        compose_target(file, once=["web", "db", "buckets"])


def test_a_node_that_does_not_exist(shop: ComposeTarget) -> None:
    with pytest.raises(UsageError, match="no node 'node-1'"):
        shop.container("node-1")


def test_a_blog_with_everything_that_files_have() -> None:
    blog = compose_target(BLOG)
    assert blog.name == "blog"
    assert blog.node_names == ("nginx",)
    assert blog.start_groups == (
        ("database", "object-cache"),
        ("wordpress-1", "wordpress-2", "worker"),
        ("nginx",),
    )
    assert blog.ports_of("nginx") == {"nginx-80": 80, "nginx-443": 443}
    assert blog.ports_of("wordpress-2") == {"wordpress-9000": 9000}
    assert blog.unknown_ports == ("worker", "database", "object_cache")
    exposed = {"database": [3306], "object_cache": [6379], "worker": [9000]}
    assert blog.with_image_ports(exposed).ports_of("object-cache") == {"object-cache-6379": 6379}
    worker = blog.services["worker"]
    assert worker.environment["WORDPRESS_DEBUG"] == "yes"
    assert worker.environment["WORDPRESS_DB_USER"] == "wp"
    assert blog.services["wordpress"].environment["WORDPRESS_DEBUG"] == "no"
    assert worker.command[:2] == ("php", "-r")
    assert set(blog.ignored) == {
        "services.nginx.container_name",
        "services.adminer",
        "networks",
    }


def test_what_the_blog_runs_in() -> None:
    blog = compose_target(BLOG)
    wordpress = blog.container("wordpress-1")
    assert wordpress.limits == Limits(memory_bytes=256 * 1024**2, cpus=0.5)
    # Its files are nginx's as well; the node's own volume is elsewhere.
    assert wordpress.shared == {"/var/www/html": "html"}
    assert (wordpress.home, wordpress.volumes) == ("/data", [])
    assert blog.container("nginx").shared == {"/var/www/html": "html"}
    names = {
        "wordpress": ("wordpress-1", "wordpress-2"),
        "object_cache": ("object-cache",),
        "www": ("nginx",),
        "blog_nginx": ("nginx",),
    }
    assert wordpress.names == names
    database = blog.container("database")
    assert database.home == "/var/lib/mysql"
    assert not database.shared
    assert database.health == ("healthcheck.sh", "--connect", "--innodb_initialized")


def test_how_long_is_waited() -> None:
    blog = compose_target(BLOG)
    assert (blog.ready_timeout_s, blog.stop_timeout_s) == (120.0 + 6 * 10, 60.0)
    assert blog.container("database").stop_timeout_s == 60.0
    shop = compose_target(SHOP)
    assert (shop.ready_timeout_s, shop.stop_timeout_s) == (60.0, 10.0)
    told = compose_target(BLOG, ready_timeout_s=5, stop_timeout_s=1)
    assert (told.ready_timeout_s, told.stop_timeout_s) == (5, 1)


def container_with(tmp_path: Path, lines: str) -> Container:
    file = tmp_path / "compose.yml"
    body = "".join(f"    {line}\n" for line in lines.splitlines())
    file.write_text(f"services:\n  web:\n    image: app\n{body}")
    return compose_target(file).container("web")


def test_the_volume_of_a_node_is_where_nothing_else_is(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").touch()
    assert container_with(tmp_path, "user: app").home == "/data"
    assert container_with(tmp_path, "volumes: [/a, /b]").home == "/a"
    assert container_with(tmp_path, "volumes: [/a, /b]").volumes == ["/b"]
    assert container_with(tmp_path, "volumes: ['./data:/data:ro']").home != "/data"
    assert container_with(tmp_path, "tmpfs: ['/data:size=1m']").home != "/data"


def test_replicas_share_what_the_file_names_and_a_single_node_has_it_alone(tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    file.write_text(
        "services: {web: {image: app, volumes: ['data:/x', /own]}}\nvolumes: {data: }\n"
    )
    three = compose_target(file, scale={"web": 3}).container("web-2")
    assert (three.shared, three.home) == ({"/x": "data"}, "/own")
    one = compose_target(file).container("web")
    assert (one.shared, one.home, one.volumes) == ({}, "/x", ["/own"])


def test_health_checks_that_are_switched_off(tmp_path: Path) -> None:
    assert container_with(tmp_path, "healthcheck: {disable: true}").health == ()
    assert container_with(tmp_path, "user: app").health is None


def test_limits(tmp_path: Path) -> None:
    found = container_with(
        tmp_path, "cpus: 0\nmem_limit: 1m\npids_limit: -1\nulimits: {nofile: 99, memlock: -1}"
    )
    assert found.limits == Limits(memory_bytes=1024**2, open_files=99)
    assert found.ulimits == {"memlock": (-1, -1)}


async def _serving(target: ComposeTarget) -> list[bool]:
    """Whether the node is ready while none, one and both of its two ports accept connections."""

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    first = await asyncio.start_server(close, "127.0.0.1", 0)
    second = await asyncio.start_server(close, "127.0.0.1", 0)
    ports = [server.sockets[0].getsockname()[1] for server in (first, second)]
    one = Node("web", "127.0.0.1", Path("/data"), {f"web-{port}": port for port in ports})
    found = []
    async with asyncio.timeout(10):
        found.append(await target.ready(one))
        for server in (first, second):
            server.close()
            await server.wait_closed()
            found.append(await target.ready(one))
    return found[::-1]


@pytest.mark.parametrize(
    ("lines", "ready"),
    [
        # Ports that the file names are meant; of those of an image some may not be used.
        ("expose: [1, 2]", [False, False, True]),
        ("user: app", [False, True, True]),
        ("healthcheck: {test: 'true'}\n    expose: [1, 2]", [True, True, True]),
    ],
)
def test_when_a_node_is_ready(tmp_path: Path, lines: str, ready: list[bool]) -> None:
    file = tmp_path / "compose.yml"
    file.write_text(f"services:\n  web:\n    image: app\n    {lines}\n")
    assert asyncio.run(_serving(compose_target(file))) == ready


def test_what_docker_compose_config_writes_is_read(tmp_path: Path) -> None:
    """With everything resolved, as its documents recommend for files that extend others."""
    file = tmp_path / "resolved.yml"
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a").touch()
    file.write_text(
        f"""
name: demo
services:
  web:
    command: null
    entrypoint: null
    environment: {{A: "1"}}
    image: app
    networks: {{default: null}}
    ports:
      - {{mode: ingress, target: 80, published: "8080", protocol: tcp}}
    volumes:
      - {{type: volume, source: data, target: /var/data, volume: {{}}}}
      - type: bind
        source: {tmp_path}/conf
        target: /etc/conf
        read_only: true
        bind: {{create_host_path: true}}
    depends_on:
      db: {{condition: service_started, required: true}}
  db:
    image: db
    networks: {{default: null}}
networks:
  default: {{name: demo_default}}
volumes:
  data: {{name: demo_data}}
"""
    )
    target = compose_target(file)
    assert target.command(node("web", target), ()) == ()
    assert target.container("web").home == "/var/data"
    assert set(target.ignored) == {"networks", "volumes.data.name"}
