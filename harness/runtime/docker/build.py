"""Build an image from files of this machine: the same files give the same name, and an image with
that name is not built again."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import stat
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

from harness.errors import BrokenError, UsageError
from harness.parts.cache import workshop
from harness.runtime.docker.engine import Engine

Tell: TypeAlias = Callable[[str], object]
"""Who is told of what takes long."""

CONTENT_LABEL = "harness.content"
NAME_LABEL = "harness.image"
SOURCE_LABEL = "harness.source"

TIMEOUT_S = 900.0
"""How long a process waits for another one that builds the same image."""

_LOG_LINES = 20
_KEEP_S = 3600.0
_TIME = 315532800  # 1980, the first moment that every archive format knows
_FORMAT = "1"  # of the hash: another one builds all images again
_PART = re.compile(r" ---> ([0-9a-f]{12})")
_LEFT_OUT = frozenset({"__pycache__", ".DS_Store", ".git"})


@dataclass(frozen=True)
class Entry:
    """A file, folder or symbolic link of a build context. `name` is where it is there."""

    name: str
    path: Path

    @property
    def kind(self) -> str:
        """`d`, `l`, or for files `x` (executable) or `f`."""
        mode = self.path.lstat().st_mode
        if stat.S_ISDIR(mode):
            return "d"
        if stat.S_ISLNK(mode):
            return "l"
        return "x" if mode & stat.S_IXUSR else "f"


def tree(path: Path, name: str, *, ignore: Sequence[str] = ()) -> list[Entry]:
    """`path` (a file, or a folder with all in it) as it will be called in the context.

    `ignore` are patterns of a `.dockerignore`. Raises `UsageError` if there is no such path.
    """
    if not path.exists():
        raise UsageError(f"{path} is to be part of an image, and is not there.")
    if not path.is_dir():
        return [Entry(name, path.resolve())]
    if ignore:
        from docker.utils import exclude_paths

        inside = sorted(exclude_paths(str(path), list(ignore)))
    else:
        inside = sorted(_inside(path))
    return [Entry(name, path), *(Entry(f"{name}/{there}", path / there) for there in inside)]


def _inside(path: Path) -> Iterable[str]:
    for folder, folders, files in os.walk(path):
        folders[:] = [each for each in folders if each not in _LEFT_OUT]
        here = Path(folder).relative_to(path)
        for each in (*folders, *files):
            if each not in _LEFT_OUT and not each.endswith(".pyc"):
                yield (here / each).as_posix()


@dataclass(frozen=True)
class Build:
    """What an image is built from. `source` says where from: an image and the next one, after a
    change, have it in common. `more` goes into the hash beside the context: what stands for files
    that are made only when they are needed (`late`)."""

    name: str
    source: Sequence[str]
    entries: Sequence[Entry]
    args: Mapping[str, str]
    base_id: str
    more: Sequence[str] = ()
    late: Callable[[Path], Sequence[Entry]] | None = None
    dockerfile: str = "Dockerfile"
    target: str | None = None
    network: str | None = None

    @functools.cached_property
    def content(self) -> str:
        """A hash over all that the image is made of."""
        digest = hashlib.sha256()
        said = (_FORMAT, self.base_id, self.dockerfile, self.target or "", *self.more)
        for word in (*said, *(f"{key}={value}" for key, value in sorted(self.args.items()))):
            digest.update(f"{word}\0".encode())
        for entry in sorted(self.entries, key=lambda entry: entry.name):
            digest.update(f"{entry.name}\0{entry.kind}\0{_fingerprint(entry)}\0".encode())
        return digest.hexdigest()

    @property
    def tag(self) -> str:
        return f"harness-{self.name}:{self.content[:16]}"


def find_image(engine: Engine, name: str) -> str | None:
    """The id of a local image, None if there is none with that name. Raises `BrokenError`."""
    import requests
    from docker.errors import DockerException, ImageNotFound

    try:
        return str(engine.api.inspect_image(name)["Id"])  # type: ignore[no-untyped-call]
    except ImageNotFound:
        return None
    except (DockerException, requests.RequestException, OSError) as error:
        raise BrokenError(
            f"The Docker engine at {engine.where} was asked for the image {name}, and failed.",
            why=str(error),
        ) from None


def build(engine: Engine, wanted: Build, tell: Tell) -> str:
    """Build an image, unless it is there, and return its tag.

    Of several processes of this machine one builds and the others wait for it. Raises `BrokenError`
    with the end of the build's log.
    """
    if find_image(engine, wanted.tag):
        return wanted.tag
    with exclusive(f"image-{wanted.name}", wanted.name, tell) as scratch:
        if find_image(engine, wanted.tag):
            return wanted.tag
        tell(f"building the image {wanted.name} …")
        entries = [*wanted.entries, *(wanted.late(scratch) if wanted.late else ())]
        with (scratch / "context.tar").open("w+b") as file:
            write_context(entries, file)
            _build(engine, wanted, file)
        _remove_older(engine, wanted)
    return wanted.tag


def exclusive(lock: str, name: str, tell: Tell) -> AbstractContextManager[Path]:
    """A folder to work in, for one process of this machine at a time. Raises `MissingPartError` if
    another one keeps it for too long."""

    def say(_: str) -> None:
        tell(f"another process is making the image {name}; waiting for it …")

    return workshop(lock, timeout_s=TIMEOUT_S, say=say)


def write_context(entries: Iterable[Entry], file: IO[bytes]) -> None:
    """A tar archive that is the same for the same files, whoever has them, wherever and since
    whenever."""
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for entry in sorted(entries, key=lambda entry: entry.name):
            info = tarfile.TarInfo(entry.name)
            info.mtime = _TIME
            kind = entry.kind
            info.mode = 0o644 if kind == "f" else 0o755
            if kind == "d":
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            elif kind == "l":
                info.type = tarfile.SYMTYPE
                info.linkname = str(entry.path.readlink())
                archive.addfile(info)
            else:
                info.size = entry.path.stat().st_size
                with entry.path.open("rb") as content:
                    archive.addfile(info, content)


def _build(engine: Engine, wanted: Build, context: IO[bytes]) -> None:
    import requests
    from docker.errors import DockerException

    context.seek(0)
    lines: list[str] = []
    problem: str | None = None
    try:
        answer = engine.api.build(
            fileobj=context,
            custom_context=True,
            dockerfile=wanted.dockerfile,
            tag=wanted.tag,
            buildargs=dict(wanted.args),
            labels={
                CONTENT_LABEL: wanted.content,
                NAME_LABEL: wanted.name,
                SOURCE_LABEL: _source(wanted),
            },
            target=wanted.target,
            network_mode=wanted.network,
            # What did not change is found by its name. Parts that images share would be lost to one
            # that is being built if another one is removed at that moment.
            nocache=True,
            rm=True,
            forcerm=True,
            decode=True,
            timeout=int(TIMEOUT_S),
        )
        for event in answer:
            lines += str(event.get("stream", "")).splitlines()
            problem = str(event["error"]) if "error" in event else problem
    except (DockerException, requests.RequestException, OSError) as error:
        problem = str(error)
    if problem is None and find_image(engine, wanted.tag) is None:
        problem = "The engine says nothing of an error, and there is no image."
    if problem is not None:
        _remove_parts(engine, lines)
        log = [line for line in lines if line.strip()][-_LOG_LINES:]
        raise BrokenError(
            f"The image {wanted.name} could not be built.", why="\n".join([*log, problem])
        )


def _remove_parts(engine: Engine, lines: Sequence[str]) -> None:
    """Remove what a build that failed has made so far. An image that has a name is none of it."""
    from docker.errors import APIError

    for line in reversed(lines):
        made = _PART.fullmatch(line)
        if made is None:
            continue
        with contextlib.suppress(APIError):
            part = engine.api.inspect_image(made.group(1))  # type: ignore[no-untyped-call]
            if part.get("RepoTags"):
                return
            engine.api.remove_image(made.group(1))


def _source(wanted: Build) -> str:
    return hashlib.sha256("\0".join((wanted.name, *wanted.source)).encode()).hexdigest()[:16]


def _remove_older(engine: Engine, wanted: Build) -> None:
    """Remove images that were built from the same place before it changed, unless containers use
    them, or another session may be about to."""
    from docker.errors import APIError

    label = {"label": f"{SOURCE_LABEL}={_source(wanted)}"}
    for image in engine.api.images(filters=label):
        tags = image.get("RepoTags") or []
        if wanted.tag in tags or time.time() - image["Created"] < _KEEP_S:
            continue
        for tag in tags:
            with contextlib.suppress(APIError):
                engine.api.remove_image(tag)


def _fingerprint(entry: Entry) -> str:
    kind = entry.kind
    if kind == "d":
        return ""
    if kind == "l":
        return str(entry.path.readlink())
    now = entry.path.stat()
    return _digest(entry.path, now.st_ino, now.st_size, now.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _digest(path: Path, inode: int, size: int, mtime_ns: int) -> str:
    """Of a file as it is: servers of many megabytes are read once in a process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
