"""What the keys of a compose file come to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.compose.model import HealthCheck, Project, Service, Volume
from harness.compose.project import read_project
from harness.container import Build
from harness.errors import UsageError

Read = Callable[..., Project]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a file with this text, in a folder of its own."""

    def reads(text: str, environ: dict[str, str] | None = None, **options: Any) -> Project:
        file = tmp_path / "compose.yml"
        file.write_text(text)
        return read_project(file, environ or {}, **options)

    return reads


@pytest.fixture
def service(read: Read) -> Callable[[str], Service]:
    """Reads a service with these lines beside its image."""
    return lambda lines: read(web(lines)).services["web"]


def web(lines: str) -> str:
    body = "\n".join(f"    {line}" for line in lines.splitlines())
    return f"services:\n  web:\n    image: app\n{body}\n"


def refusal(read: Read, text: str, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        read(text, **options)
    return str(caught.value)


def test_the_project_is_called_as_it_says_or_as_its_folder(tmp_path: Path, read: Read) -> None:
    assert read("name: my-shop\nservices: {web: {image: a}}").name == "my-shop"
    folder = tmp_path / "My Shop_2"
    folder.mkdir()
    (folder / "compose.yml").write_text("services: {web: {image: a}}")
    assert read_project(folder / "compose.yml", {}).name == "myshop_2"


def test_simple_keys(service: Callable[[str], Service]) -> None:
    found = service(
        "user: '1000:1000'\nworking_dir: /srv\nhostname: host\nstop_signal: SIGINT\n"
        "stop_grace_period: 1m\ninit: true\nshm_size: 64m\nmem_limit: 1g\ncpus: 0.5\n"
        "pids_limit: 100\nulimits: {nofile: {soft: 100, hard: 200}, nproc: 5, memlock: -1}\n"
        "sysctls: [net.core.somaxconn=1024]\ntmpfs: /tmp\ncommand: run --it\n"
        "entrypoint: [/bin/app]\nextra_hosts: ['a:10.0.0.1', 'b=::1', 'c:host-gateway']\n"
        "scale: 2"
    )
    assert found == Service(
        name="web",
        image="app",
        user="1000:1000",
        working_dir="/srv",
        hostname="host",
        aliases=("host",),
        stop_signal="SIGINT",
        stop_timeout_s=60.0,
        init=True,
        shm_bytes=64 * 1024**2,
        memory_bytes=1024**3,
        cpus=0.5,
        processes=100,
        ulimits={"nofile": (100, 200), "nproc": (5, 5), "memlock": (-1, -1)},
        sysctls={"net.core.somaxconn": "1024"},
        tmpfs=["/tmp"],
        command=("run", "--it"),
        entrypoint=("/bin/app",),
        hosts={"a": "10.0.0.1", "b": "::1", "c": "host-gateway"},
        replicas=2,
        volumes=[],
    )


def test_deploy(service: Callable[[str], Service], read: Read) -> None:
    text = (
        "deploy:\n  replicas: 3\n  resources:\n    limits: {cpus: '0.25', memory: 50M, pids: 9}\n"
        "    reservations: {memory: 20M}\n  placement: {constraints: [a]}"
    )
    found = service(text)
    assert (found.replicas, found.cpus, found.memory_bytes, found.processes) == (
        3,
        0.25,
        50 * 1024**2,
        9,
    )
    assert list(read(web(text)).ignored) == [
        "services.web.deploy.placement",
        "services.web.deploy.resources.reservations.memory",
    ]
    said = refusal(read, web("deploy: {mode: global, resources: {reservations: {devices: [x]}}}"))
    assert "services.web.deploy.mode: global (" in said
    assert "services.web.deploy.resources.reservations.devices (" in said


@pytest.mark.parametrize(
    ("lines", "health"),
    [
        ("test: curl -f localhost", HealthCheck(("/bin/sh", "-c", "curl -f localhost"))),
        ("test: [CMD, pg_isready, -U, me]", HealthCheck(("pg_isready", "-U", "me"))),
        ("test: [CMD-SHELL, a && b]", HealthCheck(("/bin/sh", "-c", "a && b"))),
        (
            "test: a\ninterval: 5s\ntimeout: 500ms\nretries: 4\nstart_period: 1m",
            HealthCheck(("/bin/sh", "-c", "a"), 5.0, 0.5, 60.0, 4),
        ),
        ("test: [NONE]", False),
        ("disable: true", False),
        ("test: a\ndisable: true", False),
        ("interval: 5s", None),
    ],
)
def test_health_checks(
    service: Callable[[str], Service], lines: str, health: HealthCheck | bool | None
) -> None:
    indented = lines.replace("\n", "\n  ")
    assert service(f"healthcheck:\n  {indented}").health == health


@pytest.mark.parametrize("test", ["[CMD]", "[pg_isready]", "[]"])
def test_what_is_no_health_check(read: Read, test: str) -> None:
    said = refusal(read, web(f"healthcheck: {{test: {test}}}"))
    assert "services.web.healthcheck.test is" in said


def test_ports_are_collected_once(service: Callable[[str], Service]) -> None:
    found = service("ports: ['8080:80', {target: 443}]\nexpose: [80, 9000]")
    assert found.ports == (80, 443, 9000)
    assert found.published
    assert not service("expose: [80]").published


def test_a_build(tmp_path: Path, read: Read) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "Dockerfile").touch()
    (tmp_path / "app" / "Other").touch()
    short = read("services: {web: {build: ./app}}").services["web"]
    assert short.build == Build(tmp_path / "app")
    text = (
        "services:\n  web:\n    image: tagged\n    build:\n      context: app\n"
        "      dockerfile: Other\n      args: [A=1, B, C]\n      target: slim\n"
        "      cache_from: [x]"
    )
    project = read(text, {"B": "b"})
    assert project.services["web"].image == "tagged"
    assert project.services["web"].build == Build(
        tmp_path / "app", "Other", {"A": "1", "B": "b"}, "slim"
    )
    assert list(project.ignored) == ["services.web.build.cache_from"]


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        ("nowhere", "services.web.build: nowhere (there is no folder"),
        (".", "Dockerfile)"),
        ("https://example.org/app.git", "folders of this machine"),
        ("{context: ., ssh: [default], dockerfile_inline: FROM x}", "services.web.build.ssh"),
        ("{context: ., invented: true}", "services.web.build.invented: true (this key is not kn"),
    ],
)
def test_builds_that_cannot_be_had(read: Read, build: str, complaint: str) -> None:
    assert complaint in refusal(read, f"services: {{web: {{build: {build}}}}}")


def test_how_a_replaced_image_is_built_does_not_matter(read: Read) -> None:
    text = "services: {web: {build: nowhere}}"
    assert read(text, replaced=["web"]).services["web"].build is None


def test_environment_goes_before_files_of_variables(tmp_path: Path, read: Read) -> None:
    (tmp_path / "one.env").write_text("A=one\nB=one\nTAKEN\n")
    (tmp_path / "two.env").write_text("B=two\nC=$LATER\n")
    text = web(
        "env_file: [one.env, {path: two.env}, {path: missing.env, required: false}]\n"
        "environment: {A: given}"
    )
    found = read(text, {"TAKEN": "outside", "LATER": "now"}).services["web"]
    assert found.environment == {"A": "given", "B": "two", "C": "now", "TAKEN": "outside"}
    assert "missing.env" in refusal(read, web("env_file: missing.env"))


def test_variables_come_from_outside_and_from_the_file_beside(tmp_path: Path, read: Read) -> None:
    (tmp_path / ".env").write_text("TAG=7\nWHO=file\n")
    project = read(
        "services: {web: {image: 'app:${TAG}', user: '${WHO}', command: 'a $UNSET'}}",
        {"WHO": "outside"},
    )
    found = project.services["web"]
    assert (found.image, found.user, found.command) == ("app:7", "outside", ("a",))
    assert project.ignored == {
        "services.web.command": "the variable UNSET is not set: taken as empty"
    }


def test_a_variable_that_is_required_names_its_place(read: Read) -> None:
    said = refusal(read, web("environment: ['A=${SECRET:?give one}']"))
    assert "services.web.environment[0]: the variable SECRET is not set: give one." in said


def test_a_service_that_is_left_out_needs_no_variables_and_is_not_judged(read: Read) -> None:
    text = "services: {web: {image: a}, odd: {image: '${X:?}', privileged: true}}"
    assert list(read(text, only=["web"]).services) == ["web"]


def test_volumes_and_mounts(tmp_path: Path, read: Read) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a").touch()
    (tmp_path / "empty").mkdir()
    text = """
    services:
      web:
        image: app
        volumes:
          - data:/var/data
          - data:/var/again:ro
          - /cache
          - ./conf:/etc/conf:ro
          - ./conf/a:/etc/a
          - ./empty:/var/empty
          - ./missing:/var/missing:rw
          - {type: volume, source: data, target: /long, read_only: true}
          - {type: volume, target: /nameless, volume: {nocopy: true}}
          - {type: bind, source: ./conf, target: /long-bind, read_only: true}
          - {type: tmpfs, target: /scratch, tmpfs: {size: 1m, mode: 0o700}}
    volumes:
      data:
      unused: {driver: nfs}
    """
    project = read(text)
    found = project.services["web"]
    assert found.volumes == [
        Volume("/var/data", "data"),
        Volume("/var/again", "data", read_only=True),
        Volume("/cache"),
        Volume("/var/empty"),
        Volume("/var/missing"),
        Volume("/long", "data", read_only=True),
        Volume("/nameless"),
    ]
    conf = tmp_path / "conf"
    assert found.mounts == {"/etc/conf": conf, "/etc/a": conf / "a", "/long-bind": conf}
    assert found.tmpfs == ["/scratch:size=1048576,mode=700"]
    assert project.ignored == {
        "services.web.volumes[4]": "is mounted read-only",
        "services.web.volumes[5]": f"{tmp_path / 'empty'} is empty or missing: a volume of the "
        "node's own is there instead",
        "services.web.volumes[6]": f"{tmp_path / 'missing'} is empty or missing: a volume of the "
        "node's own is there instead",
    }


@pytest.mark.parametrize(
    ("volume", "complaint"),
    [
        ("./missing:/x:ro", "services.web.volumes[0]: ./missing:/x:ro (there is no"),
        ("./a:/x:shared", "not propagated"),
        ("data:/x:sideways", "the mode sideways is not known"),
        ("{type: npipe, target: /x}", "mounts of type npipe"),
        ("{type: volume, target: /x, volume: {subpath: a}}", "volumes[0].volume.subpath"),
        ("unknown:/x", "which has no 'unknown'"),
        ("data:relative", "absolute path"),
        ("{type: volume, source: data}", "with its `target`"),
    ],
)
def test_volumes_that_cannot_be_had(
    tmp_path: Path, read: Read, volume: str, complaint: str
) -> None:
    (tmp_path / "a").mkdir()
    said = refusal(
        read,
        web(f"volumes: ['{volume}']" if volume[0] != "{" else f"volumes: [{volume}]")
        + "volumes: {data: }\n",
    )
    assert complaint in said


def test_the_engine_itself_is_not_given_to_a_service(tmp_path: Path, read: Read) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "docker.sock"))
        said = refusal(read, web("volumes: ['./docker.sock:/var/run/docker.sock']"))
    assert "only files and folders are mounted" in said


def test_what_is_said_of_named_volumes(read: Read) -> None:
    used = web("volumes: ['data:/x']")
    project = read(used + "volumes: {data: {external: true, driver: local}}")
    assert list(project.ignored) == ["volumes.data.external"]
    said = refusal(read, used + "volumes: {data: {driver: nfs, driver_opts: {a: b}}}")
    assert "volumes.data.driver: nfs" in said
    assert "volumes.data.driver_opts" in said


def test_secrets_and_configs_from_files(tmp_path: Path, read: Read) -> None:
    (tmp_path / "password.txt").touch()
    text = web(
        "secrets: [password, {source: password, target: other, mode: 0400}]\n"
        "configs: [settings, {source: settings, target: /etc/app.conf}]"
    )
    declared = (
        "secrets: {password: {file: ./password.txt}}\nconfigs: {settings: {file: ./password.txt}}\n"
    )
    project = read(text + declared)
    file = tmp_path / "password.txt"
    assert project.services["web"].mounts == dict.fromkeys(
        ("/run/secrets/password", "/run/secrets/other", "/settings", "/etc/app.conf"), file
    )
    assert list(project.ignored) == ["services.web.secrets[1].mode"]
    said = refusal(
        read, text + "secrets: {password: {environment: X}}\nconfigs: {settings: {file: no}}\n"
    )
    assert "secrets.password (only those that are a `file`" in said
    assert "configs.settings.file: no (there is no file" in said


def test_who_starts_before_whom(read: Read) -> None:
    text = """
    services:
      web: {image: a, depends_on: [db, cache]}
      job: {image: a, depends_on: {db: {condition: service_healthy, restart: true}}}
      old: {image: a, links: ['db:database', cache]}
      db: {image: b}
      cache: {image: c}
    """
    project = read(text)
    found = {name: dict(service.depends_on) for name, service in project.services.items()}
    assert found == {
        "web": {"db": "service_started", "cache": "service_started"},
        "job": {"db": "service_healthy"},
        "old": {"db": "service_started", "cache": "service_started"},
        "db": {},
        "cache": {},
    }
    assert project.services["old"].links == {"database": "db"}
    assert list(project.ignored) == ["services.job.depends_on.db.restart"]


ONE_SHOT = """
services:
  web:
    image: a
    depends_on:
      migrate: {condition: service_completed_successfully}
      db: {condition: service_healthy}
  migrate: {image: a, command: migrate, depends_on: [db]}
  db: {image: b}
"""


def test_a_service_that_others_wait_for_to_end(read: Read) -> None:
    project = read(ONE_SHOT)
    assert dict(project.services["web"].depends_on) == {
        "migrate": "service_completed_successfully",
        "db": "service_healthy",
    }
    # Left out, nobody waits for it.
    project = read(ONE_SHOT, only=["web", "db"])
    assert dict(project.services["web"].depends_on) == {"db": "service_healthy"}
    assert project.ignored == {"services.web.depends_on.migrate": "migrate is left out"}


def test_what_is_inherited_from_elsewhere_has_to_be_resolved(read: Read) -> None:
    text = "services: {web: {extends: {file: common.yml, service: base}, ports: ['80']}}"
    assert "services.web.extends (`docker compose config`" in refusal(read, text)
    # Without it, too little is left.
    said = refusal(read, text, ignore=["services.web.extends"])
    assert "It must be a service with an `image` or a `build`" in said


def test_a_condition_that_there_is_not(read: Read) -> None:
    said = refusal(read, ONE_SHOT.replace("service_healthy", "service_ready"))
    assert "services.web.depends_on.db.condition is 'service_ready'" in said
    assert "service_completed_successfully" in said


def test_profiles(read: Read) -> None:
    text = """
    services:
      web: {image: a, depends_on: [debug]}
      debug: {image: b, profiles: [debug, all]}
    """
    project = read(text)
    assert list(project.services) == ["web"]
    assert project.ignored == {
        "services.debug": "it is of the profile debug or all only",
        "services.web.depends_on.debug": "debug is left out",
    }
    assert list(read(text, profiles=["all"]).services) == ["web", "debug"]
    assert list(read(text, profiles=["*"]).services) == ["web", "debug"]
    assert list(read(text, only=["debug"]).services) == ["debug"]
    assert "profiles=[…]" in refusal(read, "services: {a: {image: a, profiles: [x]}}")


def test_names_in_networks(read: Read) -> None:
    text = (
        web("container_name: my_web\nnetworks: {front: {aliases: [www, site]}, back: }")
        + "networks: {front: {driver: overlay}, back: {internal: true}}\n"
    )
    project = read(text)
    assert project.services["web"].aliases == ("my_web", "www", "site")
    assert project.ignored == {
        "services.web.container_name": "containers have names of their own; it is a host name here",
        "networks": "all services are on the one network of the cluster",
    }
    said = refusal(read, web("networks: {default: {ipv4_address: 172.16.0.2}}"))
    assert "services.web.networks.default.ipv4_address: 172.16.0.2 (" in said


def test_everything_that_cannot_be_had_is_named_at_once(read: Read) -> None:
    text = """
    include: [other.yml]
    services:
      web:
        image: a
        network_mode: host
        cap_add: [NET_ADMIN]
        privileged: true
        devices: [/dev/x]
        extends: {service: base}
        invented: 1
      db: {image: b, pid: host, command: []}
      fine: {image: c, privileged: false, cap_add: [], labels: {}, x-mine: 1}
    """
    said = refusal(read, text)
    for place in (
        "include (`docker compose config` writes one file",
        "services.web.network_mode: host (every node needs a network of its own",
        "services.web.cap_add (",
        "services.web.privileged: true (",
        "services.web.devices (",
        "services.web.extends (`docker compose config`",
        "services.web.invented: 1 (this key is not known)",
        "services.db.pid: host (",
        "services.db.command (the image's own cannot be replaced by nothing)",
    ):
        assert f"\n  {place}" in said
    assert "services.fine" not in said


def test_what_the_user_accepts_is_ignored(read: Read) -> None:
    text = web("privileged: true\ndevices: [/dev/x]\nbuild: {context: nowhere}")
    places = ["services.web.privileged", "services.web.devices", "services.web.build"]
    project = read(text, ignore=places)
    assert project.services["web"].build is None
    assert set(project.ignored) == {*places[:2], "services.web.build.context"}
    assert all(why.endswith("; ignored as asked") for why in project.ignored.values())
    assert "services.web.devices" in refusal(read, text, ignore=["services.web.dev", *places[::2]])


@pytest.mark.parametrize(
    "key",
    [
        "container_name: x",
        "labels: [a]",
        "restart: always",
        "logging: {driver: x}",
        "security_opt: [a]",
        "platform: linux/amd64",
        "tty: true",
    ],
)
def test_what_makes_no_difference_is_listed(read: Read, key: str) -> None:
    assert list(read(web(key)).ignored) == [f"services.web.{key.partition(':')[0]}"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("services: {}", "has no services"),
        ("name: x", "has no services"),
        ("services: [web]", "services is ['web']"),
        ("services: {web: app}", "services.web is 'app'"),
        ("services: {web: {command: x}}", "an `image` or a `build`"),
        ("services: {web: {image: [a]}}", "services.web.image is ['a']"),
        ("services: {web: {image: a, ports: 80}}", "services.web.ports is 80"),
        ("services: {web: {image: a, scale: many}}", "services.web.scale is 'many'"),
        ("services: {web: {image: a, cpus: nan}}", "services.web.cpus is 'nan'"),
        ("services: {web: {image: a, init: maybe}}", "services.web.init is 'maybe'"),
        ("services: {web: {image: a, ulimits: {nofile: {soft: 1}}}}", "`soft` and `hard`"),
        ("services: {web: {image: a, depends_on: {b: {condition: odd}}}}", "condition is 'odd'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(
    read: Read, text: str, complaint: str
) -> None:
    assert complaint in refusal(read, text)


def test_services_that_do_not_exist(read: Read) -> None:
    assert "no service 'wbe'" in refusal(read, web(""), only=["wbe"])


def test_scale(read: Read) -> None:
    text = "services: {a: {image: a, scale: 2}, b: {image: a, deploy: {replicas: 0}}}"
    project = read(text, scale={"a": 4})
    assert {name: one.replicas for name, one in project.services.items()} == {"a": 4}
    assert project.ignored == {"services.b": "it is scaled to nothing"}
    assert read(text, scale={"b": 1}).services["b"].replicas == 1
    assert "cannot be scaled to 0" in refusal(read, text, scale={"a": 0})


def test_a_dependency_that_is_no_service_is_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    file.write_text("services: {web: {image: a, depends_on: [dp]}, db: {image: b}}")
    with pytest.raises(
        UsageError, match=r"services.web.depends_on names 'dp', which is no service"
    ):
        read_project(file, {})
