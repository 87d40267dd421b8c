"""The containers, network and volumes of one cluster, made and told what to do on its engine."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from harness.container import USER_ID, Container
from harness.errors import BrokenError, UsageError
from harness.runtime.docker.engine import Engine
from harness.runtime.docker.labels import labels_of
from harness.runtime.docker.node import Life, Node, exit_status, follow
from harness.runtime.docker.subnet import Subnet, candidates, routes_here
from harness.runtime.spec import TOXIPROXY_NODE, Address, NodeSpec

if TYPE_CHECKING:
    from docker.errors import APIError

    from harness.runtime.docker.means import Means

PERIOD_US = 100_000
"""Of the accounts of processor time, as the engine has it by default."""

DOOR_PORTS = 20000
"""The first of the ports at which Toxiproxy's container takes what comes from outside."""

_SUBNET_TRIES = 40
_ENGINE_BACK_S = 5.0  # for an engine that does not answer, before its containers count as ended
_ENGINE_POLL_S = 0.2


class Containers:
    """What one cluster has on `engine`. Every call waits for the engine: milliseconds, a third of a
    second where a container is started. All raise `BrokenError` with what the engine said.

    `containers` and `image_ids` say what each node runs in. `hear` is called in the loop that this
    was made in when a container has ended, with its exit status if that is known.
    """

    def __init__(
        self,
        engine: Engine,
        cluster: str,
        run_id: str,
        containers: Mapping[str, Container],
        image_ids: Mapping[str, str],
        logs: Path,
        hear: Callable[[Node, Life, int | None], None],
    ) -> None:
        self.nodes: dict[str, Node] = {}
        """Those that were made, Toxiproxy's among them."""
        self.subnet = Subnet((0, 0), tuple(containers))
        self.doors: dict[Address, int] = {}
        """The links that are published → the ports of Toxiproxy's container that lead there."""
        self._engine = engine
        self._api = engine.api
        self._cluster = cluster
        self._run_id = run_id
        self._containers = containers
        self._image_ids = image_ids
        self._logs = logs
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self.means: Means | None = None
        """What its nodes are prepared for, beside running."""

    def make_network(self) -> None:
        """A network of its own, in a subnet that the engine and this machine's routes leave free.
        The engine decides between workers that want the same one."""
        from docker.errors import APIError
        from docker.types import IPAMConfig, IPAMPool

        routes = routes_here() if self._engine.local else []
        tried = []
        for subnet in candidates(tuple(self._containers), routes):
            pool = IPAMPool(subnet=subnet.cidr, gateway=subnet.gateway)
            try:
                self._api.create_network(
                    self.name_of(),
                    driver="bridge",
                    ipam=IPAMConfig(pool_configs=[pool]),
                    labels=labels_of(self._cluster, self._run_id),
                    check_duplicate=True,
                )
            except APIError as error:
                tried.append(f"{subnet.cidr}: {error.explanation or error}")
                if "overlap" in str(error) and len(tried) < _SUBNET_TRIES:
                    continue
                break
            self.subnet = subnet
            return
        raise BrokenError(
            "The engine makes no network for the cluster.",
            why="\n".join(tried) or "This machine's routes leave no private /16 free.",
            do="Look at `docker network ls`; `harness cleanup` removes what is left of clusters.",
        )

    def make(self, spec: NodeSpec) -> Node:
        """The node's container, with its files in place: what there is, or a new one."""
        if spec.name in self.nodes:
            return self.nodes[spec.name]
        from docker.types import Ulimit

        container = self._containers[spec.name]
        if not spec.argv and container.entrypoint is None:
            config = self.image_config(spec.name)
            if not config.get("Cmd") and not config.get("Entrypoint"):
                raise UsageError(
                    f"Nothing says what {spec.name} is to run: it has no command, and neither has "
                    "its image.",
                    do="Give the image a CMD in its Dockerfile, or the service a `command`.",
                )
        limits = container.limits
        ulimits = dict(container.ulimits)
        if limits.open_files is not None:
            ulimits["nofile"] = (limits.open_files, limits.open_files)
        node = self._create(
            spec.name,
            self._image_ids[spec.name],
            self.subnet.address(spec.name),
            command=list(spec.argv) or None,
            environment={**spec.env, **(self.means.environment if self.means else {})},
            entrypoint=None if container.entrypoint is None else list(container.entrypoint),
            user=container.user,
            working_dir=container.working_dir,
            hostname=container.hostname or spec.name,
            host_config={
                "mounts": self._mounts(spec.name, container),
                "extra_hosts": self._hosts(spec.name, container),
                "mem_limit": limits.memory_bytes,
                "memswap_limit": limits.memory_bytes,
                # Not `nano_cpus`, beside which the engine allows no other limit while it runs.
                "cpu_period": PERIOD_US,
                "cpu_quota": None if limits.cpus is None else int(limits.cpus * PERIOD_US),
                "pids_limit": limits.processes,
                "ulimits": [
                    Ulimit(name=name, soft=soft, hard=hard)
                    for name, (soft, hard) in ulimits.items()
                ],
                "tmpfs": [*container.tmpfs] or None,
                "sysctls": dict(container.sysctls) or None,
                "shm_size": container.shm_bytes,
                "init": True,
            },
        )
        if spec.files:
            self._api.put_archive(node.id, container.home, _archive(spec.files))
        if self.means is not None:
            self.means.made(spec.name)
        return node

    def _mounts(self, name: str, container: Container) -> list[Any]:
        """What is mounted where, with the volumes made: those of the node, those it shares."""
        from docker.types import Mount

        labels = labels_of(self._cluster, self._run_id, name)
        own = [container.home, *container.volumes]
        volumes = {path: f"{self.name_of(name)}-{number}" for number, path in enumerate(own)}
        options = self.means.volume_options if self.means else None
        for volume in volumes.values():
            self._api.create_volume(volume, driver_opts=dict(options or {}), labels=labels)
        if self.means is not None:
            self.means.volumes_made(name, list(volumes.values()))
        shared = {path: f"{self.name_of()}-{word}" for path, word in container.shared.items()}
        for volume in set(shared.values()):
            self._api.create_volume(volume, labels=labels)
        return [
            *(
                volume_mount(volume, path, labels, read_only=path in container.read_only)
                for path, volume in (volumes | shared).items()
            ),
            *(
                Mount(path, str(here), type="bind", read_only=True)
                for path, here in container.mounts.items()
            ),
        ]

    def _hosts(self, name: str, container: Container) -> list[str]:
        """The lines of the node's hosts file: to each other node the link from this one."""
        others = [(other, other) for other in self._containers if other != name]
        for group, members in container.names.items():
            others += [(group, member) for member in members]
        meant = [
            (
                word,
                self.subnet.address(name) if node == name else self.subnet.link_address(name, node),
            )
            for word, node in others
        ]
        return [f"{word}:{where}" for word, where in (*meant, *container.hosts.items())]

    def health(self, name: str) -> list[str]:
        """The command that tells whether a node serves: its own, or that of its image. Empty for
        none, and where the engine's own word for it (`NONE`) switches it off."""
        told = self._containers[name].health
        if told is not None:
            return list(told)
        kind, *words = (self.image_config(name).get("Healthcheck") or {}).get("Test") or ["NONE"]
        return ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words if kind == "CMD" else []

    def make_toxiproxy(self) -> Node:
        """The container of Toxiproxy: what there is, or a new one. It holds all addresses of links,
        and no right that it does not need."""
        node = self.nodes.get(TOXIPROXY_NODE)
        if node is None:
            doors = sorted(self.doors.values())
            node = self._create(
                TOXIPROXY_NODE,
                self._image_ids[TOXIPROXY_NODE],
                self.subnet.toxiproxy,
                hostname=TOXIPROXY_NODE,
                environment={
                    "LINKS": self.subnet.links,
                    "NODES": " ".join(self.subnet.address(name) for name in self._containers),
                },
                ports=[(door, "tcp") for door in doors],
                host_config={
                    "cap_drop": ["ALL"],
                    "cap_add": ["NET_ADMIN", "SETUID", "SETGID", "SETPCAP"],
                    "port_bindings": dict.fromkeys(doors, ("127.0.0.1", None)),
                },
            )
        return node

    def _create(
        self, name: str, image: str, address: str, host_config: dict[str, Any], **options: Any
    ) -> Node:
        from docker.errors import APIError

        network = self.name_of()
        endpoint = self._api.create_endpoint_config(ipv4_address=address)
        try:
            made = self._api.create_container(
                image,
                name=self.name_of(name),
                labels=labels_of(self._cluster, self._run_id, name),
                host_config=self._api.create_host_config(network_mode=network, **host_config),
                networking_config={"EndpointsConfig": {network: endpoint}},
                **{option: value for option, value in options.items() if value is not None},
            )
        except APIError as error:
            raise _refused(f"{name} cannot be made", error) from None
        life = Life()
        life.exited.set()
        self.nodes[name] = Node(name, made["Id"], self._logs / f"{name}.log", life)
        return self.nodes[name]

    def start(self, node: Node) -> None:
        """Start the container, with its output on the way to the log and its end awaited."""
        from docker.errors import APIError

        if node.starts and self._api.inspect_container(node.id)["State"]["Running"]:
            raise BrokenError(
                f"{node.name} is to be started, and runs already: somebody else started it.",
                why="While it ran, it was not down as the fault demanded, which nobody recorded.",
                do="Leave the containers of a running experiment alone.",
            )
        begin = node.log.stat().st_size if node.log.exists() else 0
        life = Life(log_begin=begin)
        node.starts += 1
        output = _Output(
            self._api.attach(node.id, stdout=True, stderr=True, stream=True, demux=True)
        )
        follow(node.log, output, lambda: self._await_end(node, life))
        try:
            self._api.start(node.id)
            life.pid = self._api.inspect_container(node.id)["State"]["Pid"]
        except APIError as error:
            life.asked = True
            with contextlib.suppress(APIError, OSError):
                output.close()
            raise _refused(f"{node.name} cannot be started", error) from None
        finally:
            node.life = life

    def _await_end(self, node: Node, life: Life) -> None:
        """In the thread of the log: hear how the container ended, and tell the loop."""
        import requests
        from docker.errors import DockerException, NotFound

        status: int | None = None
        deadline = time.monotonic() + _ENGINE_BACK_S
        while True:
            try:
                status = exit_status(int(self._api.wait(node.id)["StatusCode"]))
                break
            except NotFound:
                break  # removed already: how it ended is not known
            except (DockerException, requests.RequestException, OSError):
                # The connection broke, which says nothing of the container.
                if time.monotonic() > deadline:
                    break
                time.sleep(_ENGINE_POLL_S)
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
            self._loop.call_soon_threadsafe(self._hear, node, life, status)

    def stop_signal(self, name: str) -> str:
        own = self._containers[name].stop_signal
        return own or str(self.image_config(name).get("StopSignal") or "SIGTERM")

    def send(self, node: Node, word: str) -> None:
        """Send a signal; a container that has ended is none to complain about."""
        from docker.errors import APIError

        with contextlib.suppress(APIError):
            self._api.kill(node.id, word)

    def tell(self, node: Node, what: str) -> None:
        from docker.errors import APIError

        try:
            getattr(self._api, what)(node.id)
        except APIError as error:
            raise _refused(f"{node.name}: {what} failed", error) from None

    def run(self, id: str, argv: Sequence[str], user: str) -> tuple[int, str]:
        from docker.errors import APIError

        try:
            made = self._api.exec_create(id, list(argv), user=user)["Id"]
            said = self._api.exec_start(made).decode(errors="replace")
            return int(self._api.exec_inspect(made)["ExitCode"] or 0), said.strip()
        except APIError as error:
            raise _refused(f"{argv[0]} cannot be run in a container", error) from None

    def image_config(self, node: str) -> Mapping[str, Any]:
        image: Any = self._api.inspect_image(self._image_ids[node])  # type: ignore[no-untyped-call]
        return dict(image["Config"] or {})

    def name_of(self, part: str = "") -> str:
        return f"harness-{self._cluster}" + (f"-{part}" if part else "")


class _Output:
    """What a container writes. The docker package closes the socket of such a stream, but not what
    reads from it, and leaves the rest to the collector, which complains."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[tuple[bytes | None, bytes | None]]:
        return iter(self._stream)

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._stream._response.close()


def volume_mount(
    volume: str, path: str, labels: Mapping[str, str], *, read_only: bool = False
) -> Any:
    """A volume at a path of a container that is to be made. Should somebody have removed the volume
    meanwhile (the reaper), the engine makes it again: with our labels, so that it is found."""
    from docker.types import Mount

    return Mount(path, volume, type="volume", labels=dict(labels), read_only=read_only)


def _archive(files: Mapping[str, str]) -> bytes:
    """A tar file with `files`, which belong to the user of our images."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        folders = {parent for name in files for parent in PurePosixPath(name).parents}
        for folder in sorted(folders - {PurePosixPath(".")}):
            entry = tarfile.TarInfo(str(folder))
            entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, 0o755, USER_ID, USER_ID
            archive.addfile(entry)
        for name, text in files.items():
            data = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.gid = len(data), 0o644, USER_ID, USER_ID
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _refused(what: str, error: APIError) -> BrokenError:
    return BrokenError(f"{what}.", why=str(error.explanation or error).strip())
