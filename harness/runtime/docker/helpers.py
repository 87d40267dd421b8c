"""Helper containers: they do in a node's network, or with its volumes, what the node itself has
neither the rights nor the programs for."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from harness.errors import BrokenError
from harness.runtime.docker import images
from harness.runtime.docker.containers import Containers, volume_mount
from harness.runtime.docker.engine import Engine
from harness.runtime.docker.labels import labels_of
from harness.runtime.docker.node import Life, Node

_FOREVER = ("sleep", "infinity")


class NodeDownError(BrokenError):
    """A helper has nowhere to be: the node is down."""


class Helpers:
    """The helper containers of one cluster. Each is made when it is first needed (a third of a
    second) and carries the cluster's labels, by which it is removed with everything else.

    Its own processes have no rights but those named. May be used by several threads.
    """

    def __init__(
        self,
        engine: Engine,
        cluster: str,
        run_id: str,
        own: Containers,
        tell: Callable[[str], object],
    ) -> None:
        self._engine = engine
        self._cluster = cluster
        self._run_id = run_id
        self._own = own
        self._tell = tell
        self._beside: dict[str, tuple[Life, str]] = {}
        self._locks = {name: threading.Lock() for name in own.subnet.nodes}
        self._lock = threading.Lock()
        self._image: str | None = None
        self._numbers = itertools.count(1)

    def beside(self, node: Node) -> str:
        """The id of a container in the node's network, with the right to change it. A network ends
        with its node's life: for the next one another helper is made.

        It shares the node's `/etc/hosts`, too. Raises `NodeDownError`, `BrokenError`.
        """
        with self._lock:
            lock = self._locks.setdefault(node.name, threading.Lock())
        with lock:
            life = node.life
            if life.exited.is_set():
                raise NodeDownError(f"{node.name} is down, and has no network.")
            known = self._beside.get(node.name)
            if known is not None and known[0] is life:
                return known[1]
            if known is not None:
                del self._beside[node.name]
                # Nobody waits for the end of one that has nothing to do any more. What is left of
                # it goes with the cluster.
                threading.Thread(target=self._remove, args=(known[1],), daemon=True).start()
            try:
                id = self._start(
                    node.name,
                    network_mode=f"container:{node.id}",
                    cap_add=["NET_ADMIN", "NET_RAW"],
                )
            except BrokenError as error:
                if life.exited.is_set() or "non running container" in (error.why or ""):
                    raise NodeDownError(f"{node.name} is down, and has no network.") from None
                raise
            self._beside[node.name] = life, id
            return id

    def keeping(self, name: str, volumes: Sequence[str]) -> str:
        """A container that keeps volumes of a node mounted, at `/v/0` and so on, whatever becomes
        of the node. It may write where it wants there."""
        mounts = [
            volume_mount(volume, f"/v/{number}", self._labels(name))
            for number, volume in enumerate(volumes)
        ]
        return self._start(name, network_mode="none", cap_add=["DAC_OVERRIDE"], mounts=mounts)

    def run_alone(self, script: str) -> tuple[int, str]:
        """Run a shell script in a network that nobody else has: status and output."""
        id = self._start(None, network_mode="none", cap_add=["NET_ADMIN", "NET_RAW"])
        try:
            return self.run(id, ["sh", "-c", script])
        finally:
            self._remove(id)

    def run(self, id: str, argv: Sequence[str]) -> tuple[int, str]:
        """Run a command in a helper: its status, and what it said."""
        return self._own.run(id, argv, "root")

    def python(self, id: str, script: str, *args: str) -> str:
        """Run a Python script in a helper: what it said. Raises `BrokenError` if it fails."""
        status, said = self.run(id, ["python3", "-S", "-c", script, *args])
        if status:
            raise BrokenError("A helper's script failed.", why=said)
        return said

    def shell(self, id: str, script: str) -> str:
        """Run a shell script in a helper: what it said. Raises `BrokenError` if it fails."""
        status, said = self.run(id, ["sh", "-c", script])
        if status:
            raise BrokenError("A helper's script failed.", why=said or script)
        return said

    def file(self, path: str) -> bytes:
        """A file of the image that helpers run in."""
        import io
        import tarfile

        api = self._engine.api
        id = api.create_container(self._tools(), labels=self._labels(None))["Id"]
        try:
            pieces, _ = api.get_archive(id, path)
            with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
                content = archive.extractfile(archive.getmembers()[0])
                return b"" if content is None else content.read()
        finally:
            self._remove(id)

    def _start(self, node: str | None, **options: Any) -> str:
        from docker.errors import APIError

        api = self._engine.api
        name = self._own.name_of(f"{node or 'nobody'}-helper-{next(self._numbers)}")
        id = None
        try:
            id = api.create_container(
                self._tools(),
                list(_FOREVER),
                name=name,
                user="root",
                labels=self._labels(node),
                host_config=api.create_host_config(cap_drop=["ALL"], **options),
            )["Id"]
            api.start(id)
        except APIError as error:
            if id is not None:
                self._remove(id)
            why = str(error.explanation or error).strip()
            raise BrokenError(f"A helper for {node or 'a test'} cannot be made.", why=why) from None
        return str(id)

    def _remove(self, id: str) -> None:
        from docker.errors import APIError

        with contextlib.suppress(APIError, OSError):
            self._engine.api.remove_container(id, force=True, v=True)

    def _labels(self, node: str | None) -> dict[str, str]:
        return labels_of(self._cluster, self._run_id, node)

    def _tools(self) -> str:
        with self._lock:
            if self._image is None:
                self._image = images.tools_image(self._engine, self._tell)
            return self._image
