"""What a node runs in on the docker runtime: its image, and what the container may use.

A target says it once; on the process runtime it has no meaning:

    class Shop(Target):
        image = Image("compose/images/shop", requirements=("aiohttp",), copies={APP: "/srv/app"})
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from harness.errors import UsageError
from harness.parts import Part

HOME = "/data"
"""Where a node's home is in its container, on a volume of its own."""

USER_ID = 1000
"""The user and group of the images that are built here; their `/data` belongs to it."""


@dataclass(frozen=True)
class Build:
    """How an image is built where its Dockerfile is somebody's own: `docker build` of the folder
    `context`, as it stands. `dockerfile` is relative to it."""

    context: Path
    dockerfile: str = "Dockerfile"
    args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None


@dataclass(frozen=True)
class Image:
    """An image and how it is to be had.

    `stock` is pulled where its registry answers. Otherwise the image is built from the Dockerfile
    in `folder` (a path, relative to the folder that pytest was called for), or without one from
    the base alone. Beside the Dockerfile the build finds

    - `files/`: `copies` (file or folder here → absolute path in the image), and `parts`, programs
      of this machine, which go to `/usr/local/bin`; `COPY files/ /` puts all of it in place;
    - `site/`: `requirements` (of Python, with their versions where those matter) unpacked from
      wheels; `COPY site/ /usr/local/lib/harness-site/`, which is on `PYTHONPATH` in our base.

    `packages` are Debian packages that the base is made with where the base is made here. `build`
    instead of all these is a Dockerfile that knows nothing of us.
    """

    folder: Path | str | None = None
    stock: str | None = None
    packages: Sequence[str] = ()
    parts: Sequence[Part] = ()
    copies: Mapping[Path | str, str] = field(default_factory=dict)
    requirements: Sequence[str] = ()
    build: Build | None = None

    def __post_init__(self) -> None:
        for here, there in self.copies.items():
            if not PurePosixPath(there).is_absolute():
                raise UsageError(
                    f"An image cannot have {here} at {there!r}.", do="Give an absolute path."
                )

    @property
    def paths(self) -> dict[Path, str]:
        """`copies`, with paths."""
        return {Path(here): there for here, there in self.copies.items()}

    def inside(self, path: Path) -> str:
        """Where a file of this machine is in the image. Raises `UsageError` if it is not."""
        for here, there in self.paths.items():
            if path == here or path.is_relative_to(here):
                return str(PurePosixPath(there) / path.relative_to(here).as_posix())
        raise UsageError(
            f"{path} is not in the image of its node.",
            do="Add it, or a folder that holds it, to the image's copies.",
        )


@dataclass(frozen=True)
class Limits:
    """What a container may use. Memory in bytes, swap included; `cpus` in cores, None for all;
    `open_files` None for as many as the engine gives (which may itself not be allowed more)."""

    memory_bytes: int = 2 * 1024**3
    cpus: float | None = None
    processes: int = 4096
    open_files: int | None = None


@dataclass(frozen=True)
class Container:
    """How one node is put into a container. Everything but `image` is for services that were
    described elsewhere (a compose file); what is None is as the image says.

    `home` is where the node's volume is, `volumes` are further paths with a volume of their own,
    `shared` those that several nodes of the cluster have (path → name), `mounts` files and folders
    of this machine, read-only (path in the container → path here). `read_only` are those paths of
    volumes, own or shared, at which this node may not write.

    `health` is a command that exits with 0 once the node serves, within `health_timeout_s`; None
    for the image's own health check, empty for none at all. `names` are further host names and the
    nodes that they mean, `hosts` those of addresses outside the cluster. `hostname` is what the
    node believes to be called. `ulimits` are soft and hard ones beside that of open files.
    """

    image: Image
    limits: Limits = Limits()
    home: str = HOME
    entrypoint: Sequence[str] | None = None
    user: str | None = None
    working_dir: str | None = None
    volumes: Sequence[str] = ()
    mounts: Mapping[str, Path] = field(default_factory=dict)
    tmpfs: Sequence[str] = ()
    health: Sequence[str] | None = None
    health_timeout_s: float | None = None
    shared: Mapping[str, str] = field(default_factory=dict)
    read_only: Collection[str] = ()
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    hostname: str | None = None
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    shm_bytes: int | None = None
    stop_signal: str | None = None
    stop_timeout_s: float | None = None
