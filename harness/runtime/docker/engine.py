"""The engine that containers run on: found where the docker CLI would find it, asked once what it
is like."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, MissingPartError, UsageError

if TYPE_CHECKING:
    from docker import APIClient

TIMEOUT_S = 60.0
"""For one request. Starting a container takes an engine under load some seconds."""

ANSWER_TIMEOUT_S = 5.0
"""How long an engine may take to answer at all, before there counts as none."""

THREADS = 32
"""How many threads may have a request each without one of them making its own connection."""

_DEFAULT_HOST = "unix:///var/run/docker.sock"
_INSTALL = "pip install 'chaos-harness[docker]'"
_START = (
    "Start it (`systemctl start docker`, or `dockerd &` as root), or name another one with "
    "DOCKER_HOST or `docker context use`. Debian has it in the package docker.io."
)

_lock = threading.Lock()
_connected: dict[tuple[int, str], Engine] = {}


@dataclass(frozen=True)
class Facts:
    """What an engine says of itself. `memory_bytes` and `cpus` are of its machine; `machine` is in
    the words of `uname -m`."""

    version: str
    api_version: str
    storage_driver: str
    cgroup_version: str
    cgroup_driver: str
    cpus: int
    memory_bytes: int
    rootless: bool
    userns: bool
    machine: str
    kernel: str


@dataclass(frozen=True, eq=False)
class Engine:
    """An engine that has answered. `api` may be used by many threads at once.

    `where` says in words which one it is and how it was found, `host` is its address as in
    DOCKER_HOST. `local`: the processes of its containers are processes of this machine. That is
    false of an engine behind ssh or TCP, and of one in a virtual machine behind a socket of this
    machine (Docker Desktop).
    """

    api: APIClient
    where: str
    host: str
    local: bool
    facts: Facts


@dataclass(frozen=True)
class Place:
    """Where an engine should be: an address as in DOCKER_HOST, how it was found, and how to talk to
    it (`tls` as the docker package wants it)."""

    host: str
    found: str
    tls: Any = False

    @property
    def words(self) -> str:
        return f"{self.host} ({self.found})"


def connect() -> Engine:
    """The engine of `DOCKER_HOST`, else of the docker CLI's current context, else of the default
    socket. The first call in a process asks it, later ones are answered from memory.

    Raises `MissingPartError` if the docker package is not installed or no engine answers within
    `ANSWER_TIMEOUT_S`, and `UsageError` for a host or a context that cannot be one.
    """
    return _once(find_place())


def connect_to(host: str) -> Engine:
    """The engine at an address that `connect` once found. Raises as `connect` does."""
    try:
        place = find_place()
    except UsageError:  # the settings have changed since
        place = None
    if place is None or place.host != host:
        place = Place(host, "recorded", _tls())
    return _once(place)


def _once(place: Place) -> Engine:
    # The process is part of the key: connections must not be shared with a fork.
    key = (os.getpid(), place.host)
    with _lock:
        if key not in _connected:
            _connected[key] = _connect(place)
        return _connected[key]


def installed() -> bool:
    """Whether the docker package is there. Says nothing of an engine."""
    try:
        import docker  # noqa: F401
    except ImportError:
        return False
    return True


def find_place() -> Place:
    """Where the engine should be, without asking it. Raises as `connect` does."""
    if not installed():
        raise MissingPartError("The package `docker` is not installed.", do=_INSTALL)
    from docker.errors import DockerException

    host = os.environ.get("DOCKER_HOST")
    try:
        if host:
            return Place(host, "DOCKER_HOST", _tls())
        return _of_context() or Place(_DEFAULT_HOST, "default")
    except (DockerException, OSError, ValueError) as error:
        raise UsageError(
            "The engine that the docker CLI is set to cannot be made out.",
            why=str(error),
            do="Look at DOCKER_HOST, DOCKER_CERT_PATH and `docker context ls`.",
        ) from None


def _tls() -> Any:
    from docker.utils import kwargs_from_env

    return kwargs_from_env().get("tls", False)


def _of_context() -> Place | None:
    """The engine of the current context, None for the default one."""
    from docker import ContextAPI
    from docker.context.config import get_current_context_name

    # The package looks at the CLI's settings alone; to the CLI this variable comes first.
    name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name() or "default"
    if name == "default":
        return None
    try:
        context = ContextAPI.get_context(name)
    except Exception as error:  # the package raises just that for a file it cannot read
        raise UsageError(f"The docker context {name!r} is damaged.", why=str(error)) from None
    if context is None or not context.Host:
        raise UsageError(
            f"There is no docker context {name!r}.",
            do="Choose one of `docker context ls` with `docker context use`.",
        )
    host = context.Host.removeprefix("http+")  # contexts that the package itself has written
    return Place(host, f"context {name}", context.TLSConfig or False)


def _connect(place: Place) -> Engine:
    import requests
    from docker.errors import DockerException, InvalidVersion

    _look_at_socket(place)
    asked: APIClient | None = None
    try:
        asked = _client(place, "auto", ANSWER_TIMEOUT_S)
        facts = _facts(asked.info(), asked.api_version)
        api = _client(place, facts.api_version, TIMEOUT_S)
    except InvalidVersion as error:
        raise MissingPartError(
            f"The engine at {place.words} is too old.", why=str(error), do="Update it."
        ) from None
    except (DockerException, requests.RequestException, OSError, ValueError) as error:
        raise _no_answer(place, error) from None
    finally:
        if asked is not None:
            asked.close()
    return Engine(api, place.words, place.host, _is_local(place, facts), facts)


def _client(place: Place, version: str, timeout_s: float) -> APIClient:
    import requests
    from docker import APIClient
    from docker.errors import APIError

    class Client(APIClient):
        """The package tells an engine that says no (`APIError`) from one that says nothing, of
        which it leaves the errors to others. Whoever uses ours handles one kind."""

        def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
            try:
                return super().send(request, **options)
            except requests.RequestException as error:
                raise APIError(f"The engine does not answer: {error}") from None

    return Client(
        base_url=place.host,
        tls=place.tls,
        version=version,
        timeout=timeout_s,  # type: ignore[arg-type]
        max_pool_size=THREADS,
        # The ssh of this machine knows the user's keys, agent and jump hosts.
        use_ssh_client=place.host.startswith("ssh://"),
    )


def _look_at_socket(place: Place) -> None:
    """Raise for a socket of this machine that leads nowhere. The package would say it less plainly,
    and leave its own end of a connection that failed to the collector."""
    path = _socket(place)
    if path is None:
        return
    if not path.exists():
        raise MissingPartError(
            f"No Docker engine runs here: there is no {path} ({place.found}).", do=_START
        )
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise UsageError(f"{path} ({place.found}) is not a socket.", do="Correct it.")
    if not os.access(path, os.R_OK | os.W_OK):
        raise _forbidden(place, f"{path} may not be used by this user.")
    with socket.socket(socket.AF_UNIX) as tried:
        tried.settimeout(ANSWER_TIMEOUT_S)
        try:
            tried.connect(str(path))
        except OSError as error:
            raise _no_answer(place, error) from None


def _no_answer(place: Place, error: Exception) -> HarnessError:
    reason = str(error)
    if "Permission denied" in reason or "PermissionError" in reason:
        return _forbidden(place, reason)
    if "paramiko" in reason:
        return MissingPartError(
            f"{place.words} needs a package that is not installed.",
            why=reason,
            do="pip install 'docker[ssh]'",
        )
    return MissingPartError(
        f"No Docker engine answers at {place.words}.",
        why=reason,
        do=_START,
    )


def _forbidden(place: Place, reason: str) -> MissingPartError:
    return MissingPartError(
        f"The Docker engine at {place.words} may not be used by this user.",
        why=reason,
        do="Join the group `docker` (`sudo usermod -aG docker $USER`, then log in again), or use "
        "sudo. Whoever is in that group can do all that root can.",
    )


def _socket(place: Place) -> Path | None:
    if place.host.startswith("unix://"):
        return Path("/" + place.host.removeprefix("unix://").lstrip("/"))
    return None


def _facts(info: Mapping[str, Any], api_version: str) -> Facts:
    options = [str(option) for option in info.get("SecurityOptions") or ()]
    return Facts(
        version=str(info.get("ServerVersion", "")),
        api_version=api_version,
        storage_driver=str(info.get("Driver", "")),
        cgroup_version=str(info.get("CgroupVersion", "1")),
        cgroup_driver=str(info.get("CgroupDriver", "")),
        cpus=int(info.get("NCPU", 0)),
        memory_bytes=int(info.get("MemTotal", 0)),
        rootless=any("rootless" in option for option in options),
        userns=any("userns" in option for option in options),
        machine=str(info.get("Architecture", "")),
        kernel=str(info.get("KernelVersion", "")),
    )


def _is_local(place: Place, facts: Facts) -> bool:
    """A socket of this machine, and this kernel behind it: a virtual machine has its own."""
    return _socket(place) is not None and facts.kernel == os.uname().release
