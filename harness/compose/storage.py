"""What a service keeps and what it finds: volumes, folders of this machine, secrets, configs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from harness.compose.keys import judge
from harness.compose.model import Volume
from harness.compose.places import At
from harness.compose.values import size_bytes

_HARMLESS_MODES = frozenset({"rw", "z", "Z", "cached", "delegated", "consistent", "nocopy", ""})
_PROPAGATION = frozenset({"shared", "rshared", "slave", "rslave", "private", "rprivate"})
_IS_PATH = re.compile(r"[./~]")


@dataclass
class Storage:
    """Collected over the entries of one service."""

    volumes: list[Volume] = field(default_factory=list)
    mounts: dict[str, Path] = field(default_factory=dict)
    tmpfs: list[str] = field(default_factory=list)

    def add_volume(self, at: At, named: Mapping[str, At], folder: Path) -> None:
        """One entry of `volumes`, in its short or long form. `named` are the volumes of the file,
        `folder` is what relative paths are relative to."""
        if isinstance(at.value, dict):
            self._add_long(at, named, folder)
            return
        source, _, rest = at.text().partition(":")
        if not rest:
            self._add_own(at, source)
            return
        target, _, mode = rest.partition(":")
        modes = set(mode.split(","))
        if unknown := sorted(modes - _HARMLESS_MODES - _PROPAGATION - {"ro"}):
            at.refuse(f"the mode {unknown[0]} is not known")
        elif modes & _PROPAGATION:
            at.refuse("mounts are not propagated")
        elif _IS_PATH.match(source):
            self._bind(at, source, target, folder, read_only="ro" in modes)
        else:
            self._add_named(at, source, target, named, read_only="ro" in modes)

    def _add_long(self, at: At, named: Mapping[str, At], folder: Path) -> None:
        entries = at.entries()
        kind = entries["type"].text() if "type" in entries else "volume"
        if "target" not in entries:
            raise at.wrong("a mount with its `target`")
        target = entries["target"].text()
        source = "" if "source" not in entries else entries["source"].text()
        read_only = "read_only" in entries and entries["read_only"].flag()
        read = {"type", "source", "target", "read_only", "consistency", kind}
        judge(entries, read)
        inner = entries[kind].entries() if kind in entries else {}
        if kind == "bind":
            judge(inner, {"create_host_path", "selinux"}, {}, {"propagation": "is not possible"})
            self._bind(at, source, target, folder, read_only=read_only)
        elif kind == "volume":
            judge(inner, {"nocopy"}, {"labels": "nothing here reads them"})
            if source:
                self._add_named(at, source, target, named, read_only=read_only)
            else:
                self._add_own(at, target)
        elif kind == "tmpfs":
            judge(inner, {"size", "mode"})
            options = [f"size={size_bytes(inner['size'])}"] if "size" in inner else []
            options += [f"mode={_octal(inner['mode'])}"] if "mode" in inner else []
            self.tmpfs.append(":".join([_absolute(at, target), *filter(None, [",".join(options)])]))
        else:
            at.refuse(f"mounts of type {kind} are not possible")

    def _add_own(self, at: At, target: str) -> None:
        self.volumes.append(Volume(_absolute(at, target)))

    def _add_named(
        self, at: At, name: str, target: str, named: Mapping[str, At], *, read_only: bool
    ) -> None:
        if name not in named:
            raise at.wrong(f"a volume of the file's own `volumes`, which has no {name!r}")
        self.volumes.append(Volume(_absolute(at, target), name, read_only))

    def _bind(self, at: At, source: str, target: str, folder: Path, *, read_only: bool) -> None:
        path = here(source, folder)
        target = _absolute(at, target)
        if not read_only and _nothing_in(path):
            # Docker would make the folder, and the service fill it.
            self.volumes.append(Volume(target))
            at.ignore(f"{path} is empty or missing: a volume of the node's own is there instead")
        elif not path.exists():
            at.refuse(f"there is no {path}")
        elif not path.is_file() and not path.is_dir():
            # Docker's own socket, mostly: whoever has that, has the machine.
            at.refuse("only files and folders are mounted")
        else:
            self.mounts[target] = path
            if not read_only:
                at.ignore("is mounted read-only")

    def add_file(self, at: At, declared: Mapping[str, At], default: str, folder: Path) -> None:
        """One entry of `secrets` or `configs`; `default` is where it goes, with `{}` for its
        name. `declared` are those of the file."""
        entries = at.entries() if isinstance(at.value, dict) else {"source": at}
        judge(
            entries,
            {"source", "target"},
            dict.fromkeys(("uid", "gid", "mode"), "the file is mounted as it is"),
        )
        if "source" not in entries:
            raise at.wrong("an entry with its `source`")
        name = entries["source"].text()
        if name not in declared:
            raise at.wrong(f"one of those that the file declares, which has no {name!r}")
        target = entries["target"].text() if "target" in entries else name
        if not PurePosixPath(target).is_absolute():
            target = default.format(target)
        declaration = declared[name].entries()
        if "file" not in declaration:
            declared[name].refuse("only those that are a `file` of this machine can be had")
            return
        path = here(declaration["file"].text(), folder)
        if path.is_file():
            self.mounts[target] = path
        else:
            declaration["file"].refuse(f"there is no file {path}")


def here(said: str, folder: Path) -> Path:
    """A path of the file, as seen from the current directory."""
    return Path(os.path.normpath(folder / Path(said).expanduser()))


def _octal(at: At) -> str:
    return f"{at.value:o}" if isinstance(at.value, int) else at.text()


def _nothing_in(path: Path) -> bool:
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def _absolute(at: At, target: str) -> str:
    if not PurePosixPath(target).is_absolute():
        raise at.wrong("a mount at an absolute path of the container")
    return str(PurePosixPath(target))
