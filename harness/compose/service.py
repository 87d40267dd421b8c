"""One service of a compose file."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from harness.compose import keys
from harness.compose.files import read_variables
from harness.compose.model import Condition, HealthCheck, Service
from harness.compose.places import At
from harness.compose.storage import Storage, here
from harness.compose.values import (
    duration_s,
    environment,
    pairs,
    ports,
    size_bytes,
    texts,
    words,
)
from harness.container import Build

_REMOTE = re.compile(r"[a-z]+://|git@|github\.com/")

_READ = frozenset(
    (
        "build",
        "command",
        "configs",
        "cpus",
        "depends_on",
        "deploy",
        "entrypoint",
        "env_file",
        "environment",
        "expose",
        "extra_hosts",
        "healthcheck",
        "hostname",
        "image",
        "init",
        "links",
        "mem_limit",
        "networks",
        "pids_limit",
        "ports",
        "profiles",
        "scale",
        "secrets",
        "shm_size",
        "stop_grace_period",
        "stop_signal",
        "sysctls",
        "tmpfs",
        "ulimits",
        "user",
        "volumes",
        "working_dir",
    )
)


@dataclass(frozen=True)
class Surroundings:
    """What a service may refer to: variables, the folder of the file, what the file declares.
    Services and images that are `replaced` are not built."""

    folder: Path
    values: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, At] = field(default_factory=dict)
    secrets: Mapping[str, At] = field(default_factory=dict)
    configs: Mapping[str, At] = field(default_factory=dict)
    replaced: Collection[str] = ()


def read_service(name: str, at: At, around: Surroundings) -> Service:
    """The service `name`. Raises `UsageError` for values that make no sense; what makes sense and
    cannot be had is noted."""
    entries = at.entries()
    given = {key: entry for key, entry in entries.items() if not entry.missing}
    keys.judge(given, _READ, keys.SERVICE_IGNORED, keys.SERVICE_REFUSED)

    def one(key: str, read: Any, default: Any = None) -> Any:
        return read(given[key]) if key in given else default

    storage = _storage(given, around)
    linked, link_names = _links(given)
    deploy = _Deploy.read(given["deploy"]) if "deploy" in given else _Deploy()
    image = one("image", At.text)
    replaced = name in around.replaced or image in around.replaced
    return Service(
        name=name,
        image=image,
        build=None if replaced else one("build", lambda build: _build(build, around)),
        command=_command(given, "command") or (),
        entrypoint=_command(given, "entrypoint"),
        environment=_environment(given, around),
        ports=_ports(given),
        published=bool(given["ports"].value) if "ports" in given else False,
        volumes=storage.volumes,
        mounts=storage.mounts,
        tmpfs=storage.tmpfs,
        depends_on={**linked, **_depends_on(given)},
        health=one("healthcheck", _health),
        replicas=one("scale", At.whole, deploy.replicas),
        memory_bytes=one("mem_limit", size_bytes, deploy.memory_bytes),
        cpus=one("cpus", At.number, deploy.cpus) or None,
        processes=one("pids_limit", _processes, deploy.processes),
        ulimits=_ulimits(given),
        sysctls={key: entry.text() for key, entry in one("sysctls", pairs, {}).items()},
        shm_bytes=one("shm_size", size_bytes),
        user=one("user", At.text),
        working_dir=one("working_dir", At.text),
        hostname=one("hostname", At.text),
        aliases=_aliases(given),
        links=link_names,
        hosts=one("extra_hosts", _hosts, {}),
        stop_signal=one("stop_signal", At.text),
        stop_timeout_s=one("stop_grace_period", duration_s),
        init=one("init", At.flag, False),
    )


def profiles_of(at: At) -> tuple[str, ...]:
    """The profiles of a service that is not read yet."""
    entries = at.entries()
    return texts(entries["profiles"]) if "profiles" in entries else ()


def _command(given: Mapping[str, At], key: str) -> tuple[str, ...] | None:
    if key not in given:
        return None
    said = words(given[key])
    if not said:
        given[key].refuse("the image's own cannot be replaced by nothing")
        return None
    return said


def _build(at: At, around: Surroundings) -> Build | None:
    entries = {"context": at} if isinstance(at.value, str) else at.entries()
    keys.judge(
        entries, {"context", "dockerfile", "args", "target"}, keys.BUILD_IGNORED, keys.BUILD_REFUSED
    )
    context = entries["context"].text() if "context" in entries else "."
    if _REMOTE.match(context):
        entries["context"].refuse("images are built from folders of this machine")
        return None
    folder = here(context, around.folder)
    if not folder.is_dir():
        entries.get("context", at).refuse(f"there is no folder {folder}")
        return None
    dockerfile = entries["dockerfile"].text() if "dockerfile" in entries else "Dockerfile"
    if "dockerfile_inline" not in entries and not (folder / dockerfile).is_file():
        entries.get("dockerfile", at).refuse(f"there is no {here(dockerfile, folder)}")
        return None
    target = entries.get("target")
    return Build(
        context=folder,
        dockerfile=dockerfile,
        args=environment(entries["args"], around.values) if "args" in entries else {},
        target=None if target is None or target.missing else target.text(),
    )


def _environment(given: Mapping[str, At], around: Surroundings) -> dict[str, str]:
    found: dict[str, str] = {}
    if "env_file" in given:
        at = given["env_file"]
        for item in at if isinstance(at.value, list) else (at,):
            found |= _env_file(item, around)
    if "environment" in given:
        found |= environment(given["environment"], around.values)
    return found


def _env_file(at: At, around: Surroundings) -> dict[str, str]:
    entries = at.entries() if isinstance(at.value, dict) else {"path": at}
    keys.judge(entries, {"path", "required", "format"})
    if "path" not in entries:
        raise at.wrong("a file, or a mapping with its `path`")
    path = here(entries["path"].text(), around.folder)
    required = "required" not in entries or entries["required"].flag()
    if not required and not path.exists():
        return {}
    raw = "format" in entries and entries["format"].text() == "raw"
    read = read_variables(path, around.values, raw=raw)
    taken = {
        name: around.values.get(name) if value is None else value for name, value in read.items()
    }
    return {name: value for name, value in taken.items() if value is not None}


def _ports(given: Mapping[str, At]) -> tuple[int, ...]:
    found: set[int] = set()
    for key in ("ports", "expose"):
        for item in given.get(key, ()):
            found |= ports(item)
    return tuple(sorted(found))


def _storage(given: Mapping[str, At], around: Surroundings) -> Storage:
    storage = Storage()
    for item in given.get("volumes", ()):
        storage.add_volume(item, around.volumes, around.folder)
    for item in given.get("secrets", ()):
        storage.add_file(item, around.secrets, "/run/secrets/{}", around.folder)
    for item in given.get("configs", ()):
        storage.add_file(item, around.configs, "/{}", around.folder)
    if "tmpfs" in given:
        storage.tmpfs += texts(given["tmpfs"])
    return storage


def _depends_on(given: Mapping[str, At]) -> dict[str, Condition]:
    if "depends_on" not in given:
        return {}
    at = given["depends_on"]
    if isinstance(at.value, list):
        return {item.text(): "service_started" for item in at}
    found: dict[str, Condition] = {}
    for name, entry in at.entries().items():
        entries = entry.entries()
        keys.judge(
            entries,
            {"condition", "required"},
            {"restart": "nodes are started again by faults and by nothing else"},
        )
        said = entries["condition"].text() if "condition" in entries else "service_started"
        condition = next((one for one in get_args(Condition) if one == said), None)
        if condition is None:
            raise entries["condition"].wrong(" or ".join(get_args(Condition)))
        found[name] = condition
    return found


def _health(at: At) -> HealthCheck | Literal[False] | None:
    entries = {key: entry for key, entry in at.entries().items() if not entry.missing}
    times = ("interval", "timeout", "start_period", "start_interval")
    keys.judge(entries, {"test", "disable", "retries", *times})
    if "disable" in entries and entries["disable"].flag():
        return False
    if "test" not in entries:
        return None  # the image's own, at other intervals
    test = entries["test"]
    if isinstance(test.value, list):
        kind, *command = [item.text() for item in test] or [""]
        if kind == "NONE":
            return False
        if kind not in ("CMD", "CMD-SHELL") or not command:
            raise test.wrong('a text, or a list that begins with "CMD", "CMD-SHELL" or "NONE"')
    else:
        kind, command = "CMD-SHELL", [test.text()]
    if kind == "CMD-SHELL":
        command = ["/bin/sh", "-c", command[0]]
    said = {key: duration_s(entries[key]) for key in times if key in entries}
    return HealthCheck(
        command=tuple(command),
        interval_s=said.get("interval"),
        timeout_s=said.get("timeout"),
        start_period_s=said.get("start_period"),
        retries=entries["retries"].whole() if "retries" in entries else None,
    )


@dataclass(frozen=True)
class _Deploy:
    replicas: int = 1
    memory_bytes: int | None = None
    cpus: float | None = None
    processes: int | None = None

    @classmethod
    def read(cls, at: At) -> _Deploy:
        entries = at.entries()
        keys.judge(entries, {"mode", "replicas", "resources"}, keys.DEPLOY_IGNORED)
        if "mode" in entries and entries["mode"].text() != "replicated":
            entries["mode"].refuse("replicas are counted, because there is one engine only")
        resources = entries["resources"].entries() if "resources" in entries else {}
        keys.judge(resources, {"limits", "reservations"})
        if "reservations" in resources:
            reserved = resources["reservations"].entries()
            keys.judge(
                reserved,
                (),
                dict.fromkeys(("cpus", "memory", "generic_resources"), "nothing is reserved"),
                {"devices": keys.SERVICE_REFUSED["devices"]},
            )
        limits = resources["limits"].entries() if "limits" in resources else {}
        keys.judge(limits, {"cpus", "memory", "pids"})
        return cls(
            entries["replicas"].whole() if "replicas" in entries else 1,
            size_bytes(limits["memory"]) if "memory" in limits else None,
            limits["cpus"].number() if "cpus" in limits else None,
            _processes(limits["pids"]) if "pids" in limits else None,
        )


def _processes(at: At) -> int | None:
    number = at.whole(least=-1)
    return number if number > 0 else None


def _ulimits(given: Mapping[str, At]) -> dict[str, tuple[int, int]]:
    found = {}
    for name, entry in given["ulimits"].entries().items() if "ulimits" in given else ():
        if isinstance(entry.value, dict):
            both = entry.entries()
            if not {"soft", "hard"} <= set(both):
                raise entry.wrong("a number, or a mapping with `soft` and `hard`")
            found[name] = (both["soft"].whole(least=-1), both["hard"].whole(least=-1))
        else:
            found[name] = (entry.whole(least=-1), entry.whole(least=-1))
    return found


def _aliases(given: Mapping[str, At]) -> tuple[str, ...]:
    """The names, beside its own, that other services may use for it."""
    found = [given[key].text() for key in ("container_name", "hostname") if key in given]
    networks = given.get("networks")
    if networks is not None and isinstance(networks.value, dict):
        for network in networks.entries().values():
            entries = network.entries()
            keys.judge(entries, {"aliases"}, keys.NETWORK_IGNORED, keys.NETWORK_REFUSED)
            found += texts(entries["aliases"]) if "aliases" in entries else ()
    return tuple(dict.fromkeys(found))


def _links(given: Mapping[str, At]) -> tuple[dict[str, Condition], dict[str, str]]:
    """The services of `links`, which are started before, and the names that they have here."""
    services: dict[str, Condition] = {}
    names = {}
    for item in given.get("links", ()):
        service, _, alias = item.text().partition(":")
        services[service] = "service_started"
        if alias:
            names[alias] = service
    return services, names


def _hosts(at: At) -> dict[str, str]:
    """Host names and addresses: `name=address`, or `name:address` as it was once written."""
    if isinstance(at.value, dict):
        return {name: entry.text() for name, entry in at.entries().items()}
    found = {}
    for item in at:
        match = re.fullmatch(r"([^=:]+)[=:](.+)", item.text())
        if match is None:
            raise item.wrong("a host name and its address, such as somehost=10.0.0.1")
        found[match[1]] = match[2].strip("[]")
    return found
